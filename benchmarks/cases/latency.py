"""Latency: from the producer's commit to the start of the handler."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from eventbus.database import upgrade
from tests.waiting import wait_until

from ..application import read_stamps
from ..commands import eventbus
from ..errors import expect
from ..measuring import Contestant, Goal, Measures, Samples
from ..process import compete
from ..servers import Place, Servers, declare, queue_stats
from ..workload import QUEUE
from .case import Case, Size

SERVERS = "PostgreSQL, RabbitMQ, Redis"
EMBEDDED = "embedded, in SQLite"
PER_SECOND = 500
#: Seconds that are not counted: connections, caches, prepared statements.
WARM_UP_SECONDS = 2
#: How long the last events may take.
ARRIVE_SECONDS = 60.0


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    count = PER_SECOND * (WARM_UP_SECONDS + size.latency_seconds)

    def with_servers() -> Measures:
        with servers.place() as place, tempfile.TemporaryDirectory() as folder:
            return _run(place, Path(folder), count)

    def embedded() -> Measures:
        with tempfile.TemporaryDirectory() as folder:
            place = Place(f"sqlite:///{folder}/eventbus.db", None, None)
            return _run(place, Path(folder), count)

    return [
        Contestant(SERVERS, with_servers, "producer, dispatcher, worker: three processes"),
        Contestant(EMBEDDED, embedded, "the same three processes, no server"),
    ]


def _run(place: Place, folder: Path, count: int) -> Measures:
    stamps = folder / "stamps"
    stamps.touch()
    with _processes(place, stamps):
        produced = compete(
            "latency_producer", count=count, per_second=PER_SECOND, **place.settings()
        )
        wait_until(
            lambda: len(read_stamps(stamps)) >= count,
            ARRIVE_SECONDS,
            lambda: f"{count} events handled, not {len(read_stamps(stamps))}",
        )
    return _measures(produced["committed"], read_stamps(stamps))


@contextmanager
def _processes(place: Place, stamps: Path) -> Iterator[None]:
    bus = place.bus()
    upgrade(bus.engine)
    declare(bus)
    with eventbus(place, stamps, "dispatcher"), eventbus(place, stamps, "worker"):
        if place.broker_url is not None:
            wait_until(lambda: queue_stats(bus, QUEUE).consumers, 30.0, "the worker consumes")
        yield
    bus.engine.dispose()


def _measures(committed: list[int], stamps: list[tuple[int, int]]) -> Measures:
    handled = dict(stamps)
    expect("handler calls", len(stamps), len(committed))
    expect("different events handled", len(handled), len(committed))
    first = PER_SECOND * WARM_UP_SECONDS
    latencies = [(handled[n] - committed[n]) / 1e6 for n in range(first, len(committed))]
    percentiles = quantiles(latencies, n=100)
    return {
        "p50 ms": percentiles[49],
        "p95 ms": percentiles[94],
        "p99 ms": percentiles[98],
    }


def _goals(samples: Samples) -> list[Goal]:
    return [
        Goal("p50 with the servers", samples.of(SERVERS, "p50 ms"), 5.0, "ms", below=True),
        Goal("p99 with the servers", samples.of(SERVERS, "p99 ms"), 25.0, "ms", below=True),
    ]


CASE = Case(
    name="latency",
    title=f"Latency: commit to handler at {PER_SECOND} events/s",
    notes=(
        "Events are committed by the clock, each in a transaction of its own, whatever the others "
        "do (open loop); measured from just after the commit to the first line of the handler. "
        "Dispatcher and worker run as the command line starts them, with its defaults. "
        f"The first {WARM_UP_SECONDS} s are warm-up."
    ),
    contestants=_contestants,
    goals=_goals,
)
