"""Retry storm: events that fail twice, and a healthy queue beside them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import expect
from ..measuring import Contestant, Goal, Measures, Samples
from ..process import compete
from ..servers import Place, Servers, declare, publish, queue_stats
from ..storm import DELAY, FAILURES, HANDLER_SECONDS, HEALTHY, STORM, make_bus, messages
from .case import Case, Size

ALONE = "healthy queue alone"
BESIDE = "beside the storm, a worker each"
SHARED = "beside the storm, one worker"
RATE = "healthy events/s"
DRAIN = "storm drained, s"
#: As the measures are named; to see that they overlap.
HEALTHY_SECONDS = "healthy drained, s"

_Found = dict[str, Any]


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    struck, calm = size.storm, size.storm_healthy

    def contestant(name: str, storm: int, run: Callable[[Place], _Found], note: str) -> Contestant:
        def measure() -> Measures:
            with servers.place() as place:
                return _run(place, storm, calm, run)

        return Contestant(name, measure, note)

    def alone(place: Place) -> _Found:
        return _worker(place, {HEALTHY: calm})

    def shared(place: Place) -> _Found:
        return _worker(place, {STORM: struck, HEALTHY: calm})

    def beside(place: Place) -> _Found:
        with ThreadPoolExecutor(2) as pool:
            storm = pool.submit(_worker, place, {STORM: struck})
            found = _worker(place, {HEALTHY: calm})
            found["seconds"] |= storm.result()["seconds"]
            return found

    return [
        contestant(ALONE, 0, alone, "one worker, 8 threads"),
        contestant(BESIDE, struck, beside, "two workers, 8 threads each"),
        contestant(SHARED, struck, shared, "one worker for both, 8 threads"),
    ]


def _worker(place: Place, counts: dict[str, int]) -> _Found:
    return compete("storm_eventbus", counts=counts, **place.settings())


def _run(place: Place, struck: int, calm: int, run: Callable[[Place], _Found]) -> Measures:
    bus = make_bus(_ignore, _ignore, **place.settings())
    declare(bus)
    publish(bus, messages(struck, calm))
    found = run(place)
    for queue in (STORM, HEALTHY):
        expect(f"messages left in {queue}", queue_stats(bus, queue).messages, 0)
    seconds = found["seconds"]
    measures = {RATE: float(found["rate"]), HEALTHY_SECONDS: float(seconds[HEALTHY])}
    return {**measures, DRAIN: float(seconds[STORM])} if struck else measures


def _ignore(number: int) -> None:
    """Nothing is handled here."""


def _goals(samples: Samples) -> list[Goal]:
    alone = samples.of(ALONE, RATE)
    return [
        Goal("healthy beside / alone", samples.of(BESIDE, RATE).over(alone), 0.9, "×"),
        Goal("healthy in one worker / alone", samples.of(SHARED, RATE).over(alone), 0.9, "×"),
    ]


CASE = Case(
    name="storm",
    title=f"Retry storm: events that fail {FAILURES} times, beside a healthy queue",
    notes=(
        f"Both queues are full when the workers start. Each event of the storm fails {FAILURES} "
        f"times, {DELAY.total_seconds():g} s apart, then succeeds; each healthy one waits "
        f"{HANDLER_SECONDS * 1000:g} ms, as for a database. The healthy queue is drained before "
        "the storm is: its whole rate is measured beside it. The breaker is off, which would calm "
        "the storm."
    ),
    contestants=_contestants,
    goals=_goals,
)
