"""Size: what an idle process holds, and how soon a new one works."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import sqlalchemy as sa

from eventbus import EventBus, tables
from tests.waiting import wait_until

from ..application import read_stamps
from ..commands import eventbus
from ..measuring import Contestant, Goal, Measures, Samples
from ..servers import Place, Servers, declare, publish, queue_stats
from ..workload import QUEUE, messages
from .case import Case, Size

WORKER = "idle worker"
DISPATCHER = "idle dispatcher"
START = "process start to first message handled"
IMPORT = "import eventbus"

IDLE_SECONDS = 3.0
_IMPORT = (
    "import time; began = time.perf_counter(); import eventbus; print(time.perf_counter() - began)"
)


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    return [
        Contestant(WORKER, lambda: _idle(servers, "worker", _consumes), "8 threads"),
        Contestant(DISPATCHER, lambda: _idle(servers, "dispatcher", _holds_shards)),
        Contestant(START, lambda: _start(servers), "the message waits in the queue"),
        Contestant(IMPORT, _import, "in a fresh interpreter"),
    ]


def _idle(servers: Servers, command: str, ready: Callable[[EventBus], bool]) -> Measures:
    with servers.place() as place, tempfile.NamedTemporaryFile() as stamps:
        bus = place.bus()
        with eventbus(place, Path(stamps.name), command) as process:
            wait_until(lambda: ready(bus), 30.0, f"the {command} is ready")
            since = time.monotonic()
            wait_until(lambda: time.monotonic() - since >= IDLE_SECONDS, IDLE_SECONDS + 1)
            resident = psutil.Process(process.pid).memory_info().rss
        bus.engine.dispose()
    return {"MiB resident": resident / 2**20}


def _consumes(bus: EventBus) -> bool:
    return queue_stats(bus, QUEUE).consumers > 0


def _holds_shards(bus: EventBus) -> bool:
    owned = sa.select(sa.func.count()).where(tables.shard.c.owner.is_not(None))
    with bus.engine.connect() as connection:
        return bool(connection.scalar(owned))


def _start(servers: Servers) -> Measures:
    with servers.place() as place, tempfile.NamedTemporaryFile() as stamps:
        path = Path(stamps.name)
        _put_one_message(place)
        began = time.time_ns()
        with eventbus(place, path, "worker"):
            [(_, handled)] = wait_until(lambda: read_stamps(path), 30.0, "a message is handled")
    return {"ms": (handled - began) / 1e6}


def _put_one_message(place: Place) -> None:
    bus = place.bus()
    declare(bus)
    publish(bus, messages(1))


def _import() -> Measures:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True
    )
    return {"ms": float(done.stdout) * 1000}


def _goals(samples: Samples) -> list[Goal]:
    resident = "MiB resident"
    return [
        Goal(WORKER, samples.of(WORKER, resident), 80.0, "MiB", below=True),
        Goal(DISPATCHER, samples.of(DISPATCHER, resident), 60.0, "MiB", below=True),
        Goal(START, samples.of(START, "ms"), 1000.0, "ms", below=True),
        Goal(IMPORT, samples.of(IMPORT, "ms"), 150.0, "ms", below=True),
    ]


CASE = Case(
    name="size",
    title="Size: memory of idle processes, time to start",
    notes=(
        "Through the real command line on RabbitMQ, Redis and PostgreSQL. Resident memory "
        f"{IDLE_SECONDS:g} s after the process is ready. The files of Python and of the packages "
        "are in the page cache, their byte code is compiled."
    ),
    contestants=_contestants,
    goals=_goals,
)
