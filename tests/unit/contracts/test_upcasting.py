"""The chain of upcasters, and where it breaks."""

from __future__ import annotations

from typing import Any

import pytest

from eventbus.contracts.upcasting import chain, upcast
from eventbus.errors import UndecodableMessage


def _add(name: str) -> Any:
    return lambda data: {**data, name: True}


UPCASTERS = {1: _add("one"), 2: _add("two")}


@pytest.mark.parametrize(
    ("version", "expected"), [(1, {"one", "two"}), (2, {"two"}), (3, set()), (9, set())]
)
def test_data_go_through_the_upcasters_from_their_version_on(
    version: int, expected: set[str]
) -> None:
    steps = chain(UPCASTERS, version, "order.paid")
    assert upcast(steps, version, {}, "order.paid") == dict.fromkeys(expected, True)


@pytest.mark.parametrize("upcasters", [{2: _add("two")}, {1: _add("one"), 3: _add("three")}])
def test_a_gap_in_the_chain_is_named(upcasters: Any) -> None:
    with pytest.raises(UndecodableMessage, match=r"from_version=\d"):
        chain(upcasters, 1, "order.paid")


def test_the_data_of_other_handlers_stay_as_they_are() -> None:
    def change(data: dict[str, Any]) -> dict[str, Any]:
        data["lines"].append("more")
        return data

    data: dict[str, Any] = {"lines": []}
    assert upcast((change,), 1, data, "order.paid") == {"lines": ["more"]}
    assert data == {"lines": []}


def test_an_upcaster_that_raises_is_named_with_its_error() -> None:
    def fail(data: dict[str, Any]) -> dict[str, Any]:
        return {"total": data["amount"]}

    with pytest.raises(UndecodableMessage, match="version 2 raised KeyError: 'amount'"):
        upcast((_add("one"), fail), 1, {}, "order.paid")


def test_an_upcaster_that_returns_nothing_is_named() -> None:
    with pytest.raises(UndecodableMessage, match="returned NoneType"):
        upcast((lambda data: None,), 1, {}, "order.paid")  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("data", [None, [], "text", 5])
def test_an_upcaster_is_given_nothing_but_objects(data: Any) -> None:
    assert upcast((_add("one"),), 1, data, "order.paid") == data
