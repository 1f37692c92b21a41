"""Worker: messages that wait in a queue, through a handler that does nothing."""

from __future__ import annotations

from collections.abc import Callable

from eventbus import EventBus

from ..errors import expect
from ..measuring import Contestant, Goal, Measures, Samples
from ..process import compete
from ..servers import Place, Servers, declare, publish, queue_stats
from ..workload import QUEUE, messages
from .case import Case, Size

SOLO = "eventbus worker, solo"
THREADS = "eventbus worker, threads"
CELERY = "Celery, solo"
FASTSTREAM = "FastStream"
RATE = "events/s"

_Run = Callable[[EventBus, Place, int], float]


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    ours = "validation and Redis idempotency on, prefetch 500"

    def contestant(name: str, run: _Run, note: str) -> Contestant:
        return Contestant(name, lambda: _measure(servers, size.worker, run), note)

    return [
        contestant(SOLO, _eventbus("solo"), ours),
        contestant(CELERY, _celery, "no idempotency, no validation; acks_late, prefetch 500"),
        contestant(FASTSTREAM, _faststream, "no idempotency, no validation; prefetch 500"),
        contestant(THREADS, _eventbus("threads"), f"{ours}, 8 threads"),
    ]


def _measure(servers: Servers, count: int, run: _Run) -> Measures:
    with servers.place() as place:
        return {RATE: run(place.bus(), place, count)}


def _eventbus(pool: str) -> _Run:
    def run(bus: EventBus, place: Place, count: int) -> float:
        _fill(bus, count)
        found = compete("worker_eventbus", count=count, pool=pool, **place.settings())
        expect("messages left in the queue", queue_stats(bus, QUEUE).messages, 0)
        return float(found["rate"])

    return run


def _faststream(bus: EventBus, place: Place, count: int) -> float:
    _fill(bus, count)
    name = bus.subscription(QUEUE).queue
    found = compete("worker_faststream", count=count, queue=name, **place.settings())
    expect("messages left in the queue", queue_stats(bus, QUEUE).messages, 0)
    return float(found["rate"])


def _celery(bus: EventBus, place: Place, count: int) -> float:
    [queue] = [one for one in bus.topology().queues if one.name == bus.subscription(QUEUE).queue]
    found = compete("worker_celery", count=count, arguments=queue.arguments, **place.settings())
    return float(found["rate"])


def _fill(bus: EventBus, count: int) -> None:
    declare(bus)
    publish(bus, messages(count))


def _goals(samples: Samples) -> list[Goal]:
    solo = samples.of(SOLO, RATE)
    return [
        Goal("worker / Celery", solo.over(samples.of(CELERY, RATE)), 3.0, "×"),
        Goal("worker / FastStream", solo.over(samples.of(FASTSTREAM, RATE)), 3.0, "×"),
    ]


CASE = Case(
    name="worker",
    title="Worker: one process, a handler that does nothing",
    notes=(
        "The same bodies in the same kind of quorum queue; each acknowledges after the handler. "
        "Only eventbus validates and remembers each event in Redis; Celery and FastStream do "
        "neither. The first tenth of the messages is warm-up."
    ),
    contestants=_contestants,
    goals=_goals,
)
