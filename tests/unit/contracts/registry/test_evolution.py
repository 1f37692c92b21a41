"""What follows a subject's versions, and what a refusal says."""

from __future__ import annotations

import pytest

from eventbus.contracts.compatibility import Difference, Mode
from eventbus.contracts.registry.evolution import next_major, refusal
from eventbus.contracts.registry.port import Reader
from eventbus.contracts.schema import Format, Schema


@pytest.mark.parametrize(
    ("subject", "following"),
    [
        ("order.paid", "order.paid.v2"),
        ("order.paid.v2", "order.paid.v3"),
        ("order.paid.v9", "order.paid.v10"),
        ("order.v2.paid", "order.v2.paid.v2"),
        ("order.paid.vx", "order.paid.vx.v2"),
        (".v1", ".v2"),
    ],
)
def test_a_refusal_names_the_next_major(subject: str, following: str) -> None:
    assert next_major(subject) == following


def test_a_refusal_says_what_who_and_what_to_do() -> None:
    gone = Difference("PROPERTY_REMOVED", "/properties/total", "'total' is gone", 3, "forward")
    charge = Reader(
        "order.paid", "shop", "1.4", "shop.billing", "charge", Schema(Format.JSON, "{}"), 0
    )
    text = refusal("order.paid", Mode.FULL, [gone], [(charge, (gone,))])
    assert text == (
        "order.paid: FULL does not allow it; PROPERTY_REMOVED at /properties/total, version 3 "
        "could not read it: 'total' is gone; it breaks shop.billing 1.4, handler charge ('total' "
        "is gone); keep it compatible, or begin a new major, such as order.paid.v2"
    )


def test_a_refusal_has_an_end() -> None:
    many = [Difference("KIND", f"/{n}", "x") for n in range(1000)]
    assert "and 980 more" in refusal("a", Mode.FULL, many, [])
