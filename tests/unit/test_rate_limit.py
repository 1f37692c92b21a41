"""Rates and the other limits of a handler: read, and refused where they are declared."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from eventbus import EventBus
from eventbus.errors import DeclarationError
from eventbus.rate_limit import RateLimit


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100/s", RateLimit(100, 1)),
        ("30/m", RateLimit(30, 60)),
        (" 5000 / h ", RateLimit(5000, 3600)),
        ("1/s", RateLimit(1)),
    ],
)
def test_a_rate_is_read_as_it_is_written(text: str, limit: RateLimit) -> None:
    assert RateLimit.parse(text) == limit
    assert RateLimit.parse(str(limit)) == limit


def test_a_rate_of_odd_seconds_shows_them() -> None:
    assert str(RateLimit(3, 10)) == "3 in 10 s"
    assert RateLimit(30, 60).per_second == 0.5


@pytest.mark.parametrize(
    "text", ["", "0/s", "-1/s", "1.5/s", "100", "100/d", "100 per second", "١/s", "1/s\n\0", "/s"]
)
def test_what_is_no_rate_is_refused_with_examples(text: str) -> None:
    with pytest.raises(DeclarationError, match="'100/s', '30/m' or '5000/h'"):
        RateLimit.parse(text)


@pytest.mark.parametrize("values", [(0, 1), (True, 1), (1.5, 1), (1, 0), (1, -1), (1, 90_000)])
def test_a_rate_that_cannot_be_kept_is_refused(values: tuple[Any, Any]) -> None:
    with pytest.raises(DeclarationError, match="RateLimit"):
        RateLimit(*values)


def test_a_handler_has_the_limits_it_was_declared_with() -> None:
    bus = EventBus("shop")

    @bus.handler(
        "order.paid",
        max_concurrency=3,
        rate_limit="100/s",
        soft_time_limit=timedelta(seconds=5),
        time_limit=timedelta(seconds=10),
    )
    def charge(event: Any) -> None: ...

    @bus.handler("order.paid")
    def free(event: Any) -> None: ...

    limited, unlimited = bus.handlers.values()
    assert (limited.max_concurrency, limited.rate_limit) == (3, RateLimit(100))
    assert (limited.soft_time_limit, limited.time_limit) == (
        timedelta(seconds=5),
        timedelta(seconds=10),
    )
    assert (unlimited.max_concurrency, unlimited.rate_limit, unlimited.time_limit) == (None,) * 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"max_concurrency": True}, "max_concurrency=True"),
        ({"max_concurrency": 10**9}, "max_concurrency=1000000000"),
        ({"rate_limit": "fast"}, "rate_limit: rate 'fast'"),
        ({"rate_limit": 100}, "rate_limit: rate '100'"),
        ({"time_limit": 5}, "time_limit=5"),
        ({"time_limit": timedelta(0)}, "time_limit="),
        ({"soft_time_limit": timedelta(days=2)}, "soft_time_limit="),
        (
            {"soft_time_limit": timedelta(seconds=5), "time_limit": timedelta(seconds=5)},
            "must be shorter than",
        ),
    ],
)
def test_a_limit_that_cannot_work_names_handler_and_value(
    options: dict[str, Any], text: str
) -> None:
    def charge(event: Any) -> None: ...

    with pytest.raises(DeclarationError, match="handler 'charge'") as caught:
        EventBus("shop").handler("order.paid", **options)(charge)
    assert text in str(caught.value)
