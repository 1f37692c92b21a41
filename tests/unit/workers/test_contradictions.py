"""Options of a worker that contradict each other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from eventbus import Event, EventBus
from eventbus.workers.contradictions import contradictions
from eventbus.workers.options import WorkerOptions


class Limited(Event, name="limited.happened"):
    number: int


def _found(
    options: dict[str, Any], *, coroutine: bool = False, handler: Any = None, **settings: Any
) -> list[str]:
    settings.setdefault("broker_url", "amqp://localhost")
    bus = EventBus("limits", **settings)

    def plain(event: Limited) -> None: ...

    async def awaited(event: Limited) -> None: ...

    bus.handler(Limited, queue="q", name="h", **(handler or {}))(awaited if coroutine else plain)
    return contradictions(WorkerOptions(**options), list(bus.handlers.values()), bus.settings)


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"soft_time_limit": SECOND, "time_limit": SECOND}, "--soft-time-limit 1s must be shorter"),
        (
            {"pool": "threads", "max_tasks_per_child": 5},
            "--max-tasks-per-child is for pool prefork",
        ),
        ({"pool": "solo", "max_memory_per_child": 10**8}, "pool solo has none: use -P prefork"),
        ({"pool": "threads", "time_limit": SECOND}, "--time-limit 1s cannot be kept in pool thr"),
        (
            {"pool": "prefork", "time_limit": timedelta(hours=1)},
            "--time-limit 3600s is not shorter",
        ),
        ({"soft_time_limit": timedelta(minutes=30)}, "--soft-time-limit 1800s is not shorter than"),
    ],
)
def test_what_contradicts_itself_is_named_with_the_remedy(
    options: dict[str, Any], text: str
) -> None:
    found = _found(options)
    assert any(text in sentence for sentence in found), found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool": "prefork", "soft_time_limit": SECOND, "time_limit": 2 * SECOND},
        {"pool": "prefork", "max_tasks_per_child": 5, "max_memory_per_child": 10**8},
        {"pool": "threads", "soft_time_limit": SECOND},
    ],
)
def test_what_fits_together_is_left_alone(options: dict[str, Any]) -> None:
    assert _found(options) == []


def test_a_coroutine_may_have_a_hard_limit_in_every_pool() -> None:
    assert _found({"pool": "threads", "time_limit": SECOND}, coroutine=True) == []


def test_a_limit_of_a_handler_is_told_as_such() -> None:
    [found] = _found({"pool": "threads"}, handler={"time_limit": SECOND})
    assert found.startswith("time_limit=1s of handler 'h' cannot be kept in pool threads")
    [found] = _found(
        {"pool": "prefork", "soft_time_limit": 5 * SECOND}, handler={"time_limit": SECOND}
    )
    assert found == "--soft-time-limit 5s must be shorter than time_limit=1s of handler 'h'"


def test_the_consumer_time_out_is_a_setting_and_the_embedded_broker_has_none() -> None:
    options = {"pool": "prefork", "time_limit": timedelta(hours=1)}
    assert _found(options, consumer_timeout="2h") == []
    assert _found(options, broker_url="sqlite:///broker.db") == []
