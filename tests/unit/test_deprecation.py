"""Deprecated events and fields: who publishes them is told, once."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import pytest

from eventbus import Deprecated, Event, Struct, deprecation
from eventbus.deprecation import deprecations_in
from eventbus.outbox.row import make_row


class Line(Struct):
    sku: str
    price: Annotated[int, Deprecated("2030-01-01", "ask the catalog")] = 0


class Quiet(Event, name="test.quiet", style="snapshot", reason="a test"):
    number: int = 0


class Gone(
    Event,
    name="test.gone",
    style="snapshot",
    reason="a test",
    deprecated=Deprecated("2030-01-01", "use test.quiet"),
):
    number: int = 0


class Partly(Event, name="test.partly", style="snapshot", reason="a test"):
    number: Annotated[int | None, Deprecated("2030-01-01", "use count")] = None
    tags: Annotated[list[str], Deprecated("2030-02-01", "leave them")] = []  # noqa: RUF012
    lines: list[Line | None] = []  # noqa: RUF012
    by_name: dict[str, Line] = {}  # noqa: RUF012


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecation, "_told", set())


def publish(event: Event) -> Any:
    return make_row(event, source="shop", max_bytes=1024)


def test_a_deprecated_event_is_told_with_day_and_alternative() -> None:
    with pytest.warns(DeprecationWarning, match="test.gone") as told:
        publish(Gone())
    assert [str(one.message) for one in told] == [
        "event 'test.gone' is deprecated, until 2030-01-01; use test.quiet"
    ]
    # Where it is published, not where eventbus noticed.
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Quiet(number=1), []),
        (Partly(), []),
        (Partly(number=None, tags=[], lines=[Line(sku="a")]), []),
        (Partly(number=0), ["field 'number'"]),
        (Partly(number=1, tags=["x"]), ["field 'number'", "field 'tags'"]),
        (Partly(lines=[None, Line(sku="a", price=1)]), ["field 'lines.price'"]),
        (Partly(by_name={"x": Line(sku="a", price=1)}), ["field 'by_name.price'"]),
    ],
)
def test_a_deprecated_field_is_told_where_it_is_used(event: Event, expected: list[str]) -> None:
    assert [text.partition(" of ")[0] for text in deprecations_in(event)] == expected


def test_each_is_told_once() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number in range(3):
            publish(Gone())
            publish(Partly(number=number))
    assert len(told) == 2


def test_where_warnings_are_errors_each_is_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(DeprecationWarning):
                publish(Gone())
        publish(Quiet())


def test_reading_tells_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Gone.__read__({})
        Partly.__read__({"number": 5})
        Partly(number=5)


@pytest.mark.parametrize(
    ("cls", "expected"), [(Quiet, False), (Gone, True), (Partly, True), (Line, True)]
)
def test_only_what_deprecates_something_is_looked_through(
    cls: type[Struct], expected: bool
) -> None:
    assert cls.__deprecates__ is expected
