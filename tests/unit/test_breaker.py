"""The circuit breaker's policy, checked where it is declared."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from eventbus import Breaker, EventBus
from eventbus.breaker import DEFAULT_BREAKER
from eventbus.errors import DeclarationError


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"failure_ratio": 0}, "failure_ratio=0"),
        ({"failure_ratio": 1.1}, "failure_ratio=1.1"),
        ({"failure_ratio": "0.5"}, "failure_ratio='0.5'"),
        ({"failure_ratio": True}, "failure_ratio=True"),
        ({"minimum": 0}, "minimum=0"),
        ({"minimum": 2.5}, "minimum=2.5"),
        ({"window": 30}, "window=30"),
        ({"open_for": timedelta(0)}, "open_for="),
        ({"longest": timedelta(days=2)}, "longest="),
        ({"open_for": timedelta(minutes=20)}, "must not be shorter than open_for"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        Breaker(**values)
    assert named in str(caught.value)


def test_a_queue_has_a_breaker_unless_it_says_otherwise() -> None:
    bus = EventBus("shop")
    assert bus.queue("billing").breaker is DEFAULT_BREAKER
    own = Breaker(minimum=5)
    assert bus.queue("billing", breaker=own).breaker is own
    assert bus.queue("billing", breaker=None).breaker is None
    with pytest.raises(DeclarationError, match="breaker='yes'"):
        bus.queue("billing", breaker="yes")  # type: ignore[arg-type]
