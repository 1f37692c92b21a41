"""What may become of a class: the contracts of two of its versions, compared, and read for real."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from marshmallow import validate

from eventbus import Alias, Deprecated, Event, Places, Struct
from eventbus.contracts import check_compatibility, check_evolution
from eventbus.contracts.json_schema.derive import derive, schema_of
from eventbus.contracts.json_schema.views import is_writers, reader_view
from eventbus.declared import record_of


class Small(enum.Enum):
    X = "x"


class Large(enum.Enum):
    X = "x"
    Y = "y"


class Line(Struct):
    sku: str


class LongerLine(Struct):
    sku: str
    count: int = 1


class RenamedLine(Struct):
    article: Annotated[str, Alias("sku")]


def declare(**declared: Any) -> type[Event]:
    """A class with these fields; a pair is a type and a default."""
    pairs = {name: one if isinstance(one, tuple) else (one,) for name, one in declared.items()}
    body: dict[str, Any] = {"__annotations__": {name: pair[0] for name, pair in pairs.items()}}
    body |= {name: pair[1] for name, pair in pairs.items() if len(pair) > 1}
    return type("Happened", (Event,), body, name="test.versions", style="snapshot", reason="a test")


def evolution(old: type[Event], new: type[Event], mode: str) -> bool:
    found = check_evolution(
        new=derive(record_of(new)), previous=[derive(record_of(old))], mode=mode, format="json"
    )
    return found.compatible


INT, STR, CENTS = {"a": int}, {"a": str}, {"a": Annotated[Decimal, Places(2, 9)]}


@pytest.mark.parametrize(
    ("old", "new", "backward", "forward"),
    [
        (INT, INT, True, True),
        (INT, {**INT, "b": (str, "x")}, True, True),
        (INT, {**INT, "b": str}, False, True),
        ({**INT, "b": (str, "x")}, INT, True, True),
        ({**INT, "b": str}, INT, True, False),
        ({"a": (int, 1)}, {"a": (int, 2)}, True, True),
        (INT, {"a": (int, 2)}, True, True),
        (INT, STR, False, False),
        (INT, {"a": float}, True, False),
        (INT, {"a": int | None}, True, False),
        (INT, {"c": Annotated[int, Alias("a")]}, True, False),
        (INT, {"c": Annotated[int, Alias("b")]}, False, False),
        ({"a": (int, 0)}, {"c": (Annotated[int, Alias("a")], 0)}, True, True),
        (INT, {"a": Annotated[int, Deprecated("2030-01-01", "leave it")]}, True, True),
        (STR, {"a": Annotated[str, validate.Length(max=5)]}, False, True),
        (STR, {"a": Annotated[str, validate.OneOf(["x"])]}, False, True),
        (STR, {"a": UUID}, False, True),
        (STR, {"a": dt.datetime}, False, True),
        ({"a": UUID}, {"a": dt.date}, False, False),
        ({"a": Small}, {"a": Large}, True, False),
        ({"a": Small}, STR, True, False),
        (CENTS, {"a": Annotated[Decimal, Places(2, 12)]}, True, False),
        (CENTS, {"a": Annotated[Decimal, Places(3, 9)]}, False, False),
        (CENTS, {"a": Decimal}, True, False),
        ({"a": Line}, {"a": LongerLine}, True, True),
        ({"a": list[Line]}, {"a": list[LongerLine]}, True, True),
        ({"a": dict[str, Line | None]}, {"a": dict[str, RenamedLine | None]}, True, False),
        ({"a": list[int]}, {"a": list[int | None]}, True, False),
        ({"a": list[int]}, {"a": Annotated[list[int], validate.Length(max=2)]}, False, True),
        ({"a": dict[str, int]}, {"a": Line}, False, False),
    ],
)  # fmt: skip
def test_what_may_become_of_a_class(
    old: dict[str, Any], new: dict[str, Any], backward: bool, forward: bool
) -> None:
    one, other = declare(**old), declare(**new)
    assert evolution(one, other, "BACKWARD") is backward
    assert evolution(one, other, "FORWARD") is forward
    assert evolution(one, other, "FULL_TRANSITIVE") is (backward and forward)


def test_a_consumer_reads_with_the_fields_that_it_uses() -> None:
    class OrderPaid(Event, name="test.narrow", style="snapshot", reason="a test"):
        order_id: UUID
        total: Annotated[Decimal, Places(2)]
        lines: list[Line]

    class OurOrderPaid(Event, name="test.narrow", source="checkout"):
        order_id: UUID

    narrow = reader_view(schema_of(record_of(OurOrderPaid)))
    wide = schema_of(record_of(OrderPaid))
    assert check_compatibility(reader=narrow, writer=wide, format="json")
    found = check_compatibility(
        reader=reader_view(wide), writer=schema_of(record_of(OurOrderPaid)), format="json"
    )
    assert {one.kind for one in found.differences} == {"REQUIRED_PROPERTY_ADDED"}


def test_only_a_contract_of_ours_has_a_readers_view() -> None:
    plain = {"type": "object", "properties": {"a": {"default": 1}}, "additionalProperties": False}
    others: list[Any] = [plain, True, [], "x", {"x-eventbus": 5}, {"x-eventbus": {"contract": []}}]
    for schema in others:
        assert not is_writers(schema)
        assert reader_view(schema) is schema
    written = schema_of(record_of(declare(a=int)))
    assert is_writers(written)
    read = reader_view(written)
    assert not is_writers(read)
    assert reader_view(read) is read


def test_a_marked_document_of_a_stranger_breaks_nothing() -> None:
    rubbish: Any
    for rubbish in (None, 5, "x", [], {}, [5], {"x": 5}, True):
        for keyword in ("properties", "required", "items", "additionalProperties", "allOf"):
            schema = {
                "x-eventbus": {"contract": "writer"},
                "properties": {"a": True},
                keyword: rubbish,
            }
            reader_view(schema)
        mark = {"properties": {"a": {"x-eventbus": {"aliases": rubbish}}}, "required": ["a"]}
        reader_view({"x-eventbus": {"contract": "writer"}, **mark})


# -- any two classes -----------------------------------------------------------------------------

_HINTS: list[tuple[Any, st.SearchStrategy[Any], Any]] = [
    (int, st.integers(-(2**63), 2**63 - 1), 0),
    (Annotated[int, validate.Range(min=0, max=9)], st.integers(0, 9), 1),
    (float, st.floats(allow_nan=False, allow_infinity=False) | st.just(2.0), 0.5),
    (str, st.text("abA-01", max_size=4), ""),
    (Annotated[str, validate.Length(min=1, max=2)], st.text("abA", min_size=1, max_size=2), "a"),
    (Annotated[str, validate.Regexp("^[a-z]+$")], st.text("ab", min_size=1, max_size=3), "a"),
    (UUID, st.uuids(), UUID(int=1)),
    (dt.date, st.dates(), dt.date(2026, 1, 1)),
    (Annotated[Decimal, Places(2)], st.decimals(-9, 9, places=2), Decimal(1)),
    (Annotated[Decimal, Places(1, 3)], st.decimals(-9, 9, places=1), Decimal(1)),
    (Decimal, st.decimals(-9, 9, places=3), Decimal(1)),
    (Small, st.sampled_from(Small), Small.X),
    (Large, st.sampled_from(Large), Large.Y),
    (bool, st.booleans(), True),
    (Line, st.builds(Line, sku=st.text("ab")), Line(sku="a")),
    (LongerLine, st.builds(LongerLine, sku=st.text("ab")), LongerLine(sku="a", count=2)),
    (RenamedLine, st.builds(RenamedLine, article=st.text("ab")), RenamedLine(article="a")),
    (list[int], st.lists(st.integers(-3, 3), max_size=2), []),
    (dict[str, float], st.dictionaries(st.sampled_from(["sku", "x"]), st.floats(0, 1)), {}),
]  # fmt: skip

_Field = tuple[str, Any, st.SearchStrategy[Any]]


@st.composite
def _field(draw: st.DrawFn, name: str) -> _Field:
    hint, values, default = draw(st.sampled_from(_HINTS))
    if draw(st.booleans()):
        hint, values = hint | None if isinstance(hint, type) else hint, values
    if draw(st.integers(0, 3)) == 0:
        hint = Annotated[hint, Alias(draw(st.sampled_from(["p", "q", "r"])) + "_old")]
    return name, (hint, default) if draw(st.booleans()) else hint, values


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[list[_Field], list[_Field]]:
    old = [
        draw(_field(name))
        for name in draw(st.sets(st.sampled_from(["p", "q", "p_old"]), min_size=1))
    ]
    kept = [one for one in old if draw(st.integers(0, 4))]
    names = {"p", "q", "r", "p_old"} - {name for name, _, _ in kept}
    added = [draw(_field(name)) for name in sorted(names) if draw(st.booleans())]
    return old, [*kept, *added]


@settings(max_examples=250, deadline=None)
@given(_pairs(), st.data())
def test_what_is_called_compatible_is_read(
    pair: tuple[list[_Field], list[_Field]], data: st.DataObject
) -> None:
    old, new = pair
    try:
        writer, reader = (declare(**{name: hint for name, hint, _ in one}) for one in (old, new))
    except Exception:  # an alias that is a field's name
        return
    found = check_compatibility(
        reader=reader_view(schema_of(record_of(reader))),
        writer=schema_of(record_of(writer)),
        format="json",
    )
    event(f"compatible: {found.compatible}")
    if found:
        for _ in range(3):
            values = {name: data.draw(values) for name, _, values in old}
            reader.__read__(writer(**values).__wire__())
