"""The short way and the checker say the same."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.contracts import Mode, Schema, check_evolution
from eventbus.contracts.gates.evolution import evolution
from eventbus.contracts.json_schema.additions import reads_all_of
from eventbus.contracts.json_schema.derive import derive
from eventbus.shape import (
    NO_DEFAULT,
    Array,
    Element,
    Enumeration,
    Field,
    Kind,
    Record,
    Scalar,
)

_types = st.sampled_from(
    [
        Scalar(Kind.INTEGER),
        Scalar(Kind.INTEGER, minimum=0),
        Scalar(Kind.BOOLEAN),
        Scalar(Kind.UUID),
        Scalar(Kind.STRING, max_length=5),
        Enumeration("Color", (("RED", "red"), ("BLUE", "blue"))),
        Enumeration("Color", (("RED", "red"),)),
        Array(Element(Scalar(Kind.INTEGER)), max_items=3),
        Record("Inner", (Field("x", Element(Scalar(Kind.INTEGER))),)),
        Record("Inner", (Field("x", Element(Scalar(Kind.INTEGER)), default=1),)),
    ]
)


@st.composite
def _fields(draw: st.DrawFn) -> Field:
    kind = draw(_types)
    nullable = draw(st.booleans())
    default = None if nullable and draw(st.booleans()) else NO_DEFAULT
    if isinstance(kind, Scalar) and kind.kind is Kind.INTEGER and draw(st.booleans()):
        default = 1
    aliases = draw(st.sampled_from([(), (), (), ("old",), ("a",)]))
    name = draw(st.sampled_from("abc"))
    return Field(
        name, Element(kind, nullable), default, tuple(one for one in aliases if one != name)
    )


_records = st.lists(_fields(), max_size=3, unique_by=lambda field: field.name).map(
    lambda found: Record("order.paid", tuple(found))
)


@settings(max_examples=100, deadline=None)
@given(first=_records, second=_records)
def test_what_is_plain_is_compatible_to_the_checker(first: Record, second: Record) -> None:
    old, new = (Schema.of(derive(record), "json") for record in (first, second))

    if reads_all_of(new, old):
        assert check_evolution(new=new, previous=[old], mode="BACKWARD", format="json")
    said = check_evolution(new=new, previous=[old], mode=Mode.FORWARD, format="json")
    assert bool(evolution(new, [old], Mode.FORWARD)) == bool(said)


def schema(*fields: Field, **changed: Any) -> Schema:
    value = {**json.loads(derive(Record("order.paid", fields))), **changed}
    return Schema.of(value, "json")


NUMBER = Field("a", Element(Scalar(Kind.INTEGER)))
OPTIONAL = Field("b", Element(Scalar(Kind.INTEGER)), default=1)


def test_an_added_field_with_a_default_is_plain_in_both_directions() -> None:
    assert reads_all_of(schema(NUMBER, OPTIONAL), schema(NUMBER))
    assert reads_all_of(schema(NUMBER), schema(NUMBER, OPTIONAL))


def test_what_is_not_plain_is_left_to_the_checker() -> None:
    other = dataclasses.replace(NUMBER, element=Element(Scalar(Kind.BOOLEAN)))
    renamed = dataclasses.replace(OPTIONAL, name="c", aliases=("b",))

    assert not reads_all_of(schema(NUMBER), schema())
    assert not reads_all_of(schema(NUMBER), schema(other))
    assert not reads_all_of(schema(renamed), schema(OPTIONAL))
    # Not ours, or not any longer.
    assert not reads_all_of(schema(NUMBER, **{"x-eventbus": {}}), schema(NUMBER))
    assert not reads_all_of(schema(NUMBER, minProperties=3), schema(NUMBER))
    assert not reads_all_of(schema(NUMBER), schema(NUMBER, additionalProperties=True))
    referring = {"a": {"$ref": "#/title"}}
    assert not reads_all_of(*[schema(NUMBER, properties=referring)] * 2)
    assert not reads_all_of(schema(NUMBER, required=["z"]), schema(NUMBER))


def test_a_field_with_an_earlier_name_is_left_to_the_checker() -> None:
    taken = dataclasses.replace(OPTIONAL, aliases=("a",))
    inner = Record("Inner", (NUMBER, taken))

    assert not reads_all_of(schema(NUMBER, taken), schema(NUMBER))
    assert not reads_all_of(*[schema(Field("x", Element(inner)))] * 2)


def test_true_is_not_one() -> None:
    def with_constant(value: Any) -> Schema:
        return schema(properties={"a": {"const": value}}, required=["a"])

    assert reads_all_of(with_constant(1), with_constant(1))
    assert not reads_all_of(with_constant(1), with_constant(True))
