"""Prefork: two processes beside one, and beside two of others; what each of them holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
from kombu import Connection

from eventbus import EventBus
from tests.waiting import wait_until

from ..application import STAMPS_VARIABLE, read_stamps
from ..commands import eventbus
from ..contestants.tally import rate_of
from ..errors import expect
from ..measuring import Contestant, Goal, Measures, Samples
from ..memory import proportional_mib, workers_of
from ..process import compete, running
from ..servers import Place, Servers, declare, publish, queue_stats
from ..workload import PREFETCH, QUEUE, messages
from .case import Case, Size

PREFORK = "eventbus prefork 2"
CELERY = "Celery prefork 2"
DRAMATIQ = "Dramatiq, 2 processes of 1 thread"
ONE = "one process, a handler that computes"
TWO = "prefork 2, a handler that computes"
RATE = "events/s"
CHILD = "MiB a process (PSS)"

#: Turns of an empty loop: half a millisecond to a millisecond.
WORK = 20_000
#: How long all messages may take.
LONGEST_SECONDS = 240.0

#: The names are those of `benchmarks.contestants.prefork_celery`, which needs them to be imported.
_URL = "BENCHMARK_BROKER_URL"
_ARGUMENTS = "BENCHMARK_QUEUE_ARGUMENTS"

Process = AbstractContextManager["subprocess.Popen[bytes]"]


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    count = size.worker
    ours = f"validation and Redis idempotency on, prefetch {PREFETCH} a process"
    theirs = "no idempotency, no validation"
    return [
        Contestant(PREFORK, lambda: _eventbus(servers, count, "prefork"), ours),
        Contestant(
            CELERY, lambda: _celery(servers, count), f"{theirs}; acks_late, prefetch {2 * PREFETCH}"
        ),
        Contestant(
            DRAMATIQ,
            lambda: _dramatiq(servers, count),
            f"{theirs}; classic queue, prefetch {PREFETCH} a process",
        ),
        Contestant(ONE, lambda: _eventbus(servers, count // 4, "solo", WORK), f"{WORK} turns"),
        Contestant(TWO, lambda: _eventbus(servers, count // 4, "prefork", WORK), f"{WORK} turns"),
    ]


def _eventbus(servers: Servers, count: int, pool: str, work: int = 0) -> Measures:
    options = ["worker", "-P", pool, "-c", "2", "--prefetch", str(PREFETCH)]
    with servers.place() as place:
        bus = place.bus()
        declare(bus)
        publish(bus, messages(count))
        found = _measure(count, lambda stamps: eventbus(place, stamps, *options, work=work))
        expect("messages left in the queue", queue_stats(bus, QUEUE).messages, 0)
        bus.engine.dispose()
    return found


def _celery(servers: Servers, count: int) -> Measures:
    command = (
        "-m celery -A benchmarks.contestants.prefork_celery worker --pool=prefork --concurrency=2 "
        "--without-gossip --without-mingle --without-heartbeat --loglevel=ERROR"
    )
    return _other(servers, count, "celery", command, {})


def _dramatiq(servers: Servers, count: int) -> Measures:
    command = "-m dramatiq benchmarks.contestants.prefork_dramatiq --processes 2 --threads 1"
    prefetch = {"dramatiq_queue_prefetch": str(PREFETCH)}
    return _other(servers, count, "dramatiq", command, prefetch)


def _other(
    servers: Servers, count: int, contestant: str, command: str, variables: Mapping[str, str]
) -> Measures:
    with servers.place() as place:
        environment = {**_environment(place), **variables}
        compete("prefork_fill", environment, contestant=contestant, count=count)
        queue = f"bench.{contestant}"
        # They publish without confirms: what is sent is not yet there.
        wait_until(lambda: _depth(place, queue) == count, 30, "all tasks in the queue")

        def start(stamps: Path) -> Process:
            stamped = {**environment, STAMPS_VARIABLE: str(stamps)}
            return running([sys.executable, *command.split()], stamped)

        return _measure(count, start)


def _environment(place: Place) -> dict[str, str]:
    bus: EventBus = place.bus()
    [queue] = [one for one in bus.topology().queues if one.name == bus.subscription(QUEUE).queue]
    assert place.broker_url is not None
    return {**os.environ, _URL: place.broker_url, _ARGUMENTS: json.dumps(dict(queue.arguments))}


def _depth(place: Place, queue: str) -> int:
    with Connection(place.broker_url) as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def _measure(count: int, start: Callable[[Path], Process]) -> Measures:
    with tempfile.NamedTemporaryFile() as file:
        stamps = Path(file.name)
        with start(stamps) as process:
            wait_until(lambda: _handled(stamps) >= count, LONGEST_SECONDS, "all messages handled")
            memory = _mib_a_process(psutil.Process(process.pid))
        rate = rate_of(read_stamps(stamps), count)
    return {RATE: rate, CHILD: memory}


def _handled(stamps: Path) -> int:
    return stamps.stat().st_size // 16


def _mib_a_process(parent: psutil.Process) -> float:
    workers = workers_of(parent) or [parent]
    return sum(map(proportional_mib, workers)) / len(workers)


def _goals(samples: Samples) -> list[Goal]:
    ours = samples.of(PREFORK, RATE)
    memory = samples.of(PREFORK, CHILD).over(samples.of(CELERY, CHILD))
    return [
        Goal("prefork 2 / Celery prefork 2", ours.over(samples.of(CELERY, RATE)), 2.0, "×"),
        Goal("prefork 2 / Dramatiq, 2 processes", ours.over(samples.of(DRAMATIQ, RATE)), 2.0, "×"),
        Goal(
            "prefork 2 / one process", samples.of(TWO, RATE).over(samples.of(ONE, RATE)), 1.6, "×"
        ),
        Goal("memory of a process / Celery", memory, 1.0, "×", below=True),
    ]


CASE = Case(
    name="prefork",
    title="Prefork: two processes",
    notes=(
        "All through their own command lines, with the same bodies; each handler writes 16 bytes "
        "to a file, from which the rate is read; each acknowledges after the handler. The first "
        "tenth of the messages is warm-up. Memory is what a process that handles messages holds "
        "after the last one; what several share is divided among them."
    ),
    contestants=_contestants,
    goals=_goals,
)
