"""What contracts are derived from: every bound is kept, and what has no form is refused."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Any

import marshmallow
import pytest
from marshmallow import validate

from eventbus import Alias, Deprecated, Event, Number, Places, Struct, fields
from eventbus.declared import record_of
from eventbus.errors import DeclarationError
from eventbus.shape import (
    NO_DEFAULT,
    Array,
    Element,
    Enumeration,
    Field,
    Kind,
    Map,
    Record,
    Scalar,
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(Struct):
    x: int
    y: int = 0


def type_of(hint: Any) -> Any:
    """The type of a field with this annotation."""
    struct = type("Happened", (Struct,), {"__annotations__": {"a": hint}})
    return record_of(struct).fields[0].element.type


def test_an_event_is_a_record_of_its_fields() -> None:
    class Happened(
        Event,
        name="test.record",
        major=2,
        style="snapshot",
        reason="a test",
        deprecated=Deprecated("2027-01-01", "use it not"),
    ):
        """What it is for."""

        ident: Annotated[uuid.UUID, Alias("id"), Number(7)]
        points: list[Point | None] = [Point(x=1)]  # noqa: RUF012 - copied for each instance
        colour: Colour | None = Colour.RED
        when: Annotated[dt.date, Deprecated("2027-01-01", "leave it")] = dt.date(2026, 1, 2)
        by_name: Annotated[dict[str, float], validate.Length(max=3)] = {}  # noqa: RUF012

    record = record_of(Happened)
    assert (record.name, record.doc) == ("test.record.v2", "What it is for.")
    assert record.deprecated == Deprecated("2027-01-01", "use it not")
    point = Record(
        "Point",
        (
            Field("x", Element(Scalar(Kind.INTEGER))),
            Field("y", Element(Scalar(Kind.INTEGER)), default=0),
        ),
    )
    assert record.fields == (
        Field("ident", Element(Scalar(Kind.UUID)), aliases=("id",), number=7),
        Field("points", Element(Array(Element(point, nullable=True))), default=[{"x": 1, "y": 0}]),
        Field(
            "colour",
            Element(Enumeration("Colour", (("RED", "red"), ("BLUE", "blue"))), nullable=True),
            default="red",
        ),
        Field(
            "when",
            Element(Scalar(Kind.DATE)),
            default="2026-01-02",
            deprecated=Deprecated("2027-01-01", "leave it"),
        ),
        Field("by_name", Element(Map(Element(Scalar(Kind.FLOAT)), max_items=3)), default={}),
    )
    assert record.fields[0].default is NO_DEFAULT
    assert record.fields[0].required


def test_a_field_has_its_name_on_the_wire() -> None:
    class Happened(Struct):
        camel: Annotated[str, fields.Text(data_key="camelCase", metadata={"description": "why"})]

    assert record_of(Happened).fields == (
        Field("camelCase", Element(Scalar(Kind.STRING)), doc="why"),
    )


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (Annotated[str, validate.Length(min=1, max=5)], {"min_length": 1, "max_length": 5}),
        (Annotated[str, validate.Length(equal=3)], {"min_length": 3, "max_length": 3}),
        (
            Annotated[str, validate.Length(max=5), validate.Length(min=1, max=3)],
            {"min_length": 1, "max_length": 3},
        ),
        (Annotated[str, validate.Regexp("^a$")], {"pattern": "^a$"}),
        (Annotated[str, validate.OneOf(["b", "a", "b"])], {"choices": ("b", "a")}),
        (Annotated[str, validate.Equal("b")], {"choices": ("b",)}),
        (
            Annotated[str, validate.And(validate.OneOf(["a", "b"]), validate.Equal("b"))],
            {"choices": ("b",)},
        ),
        (Annotated[int, validate.Range(min=1, max=2)], {"minimum": 1, "maximum": 2}),
        (
            Annotated[int, validate.Range(1, 9, min_inclusive=False, max_inclusive=False)],
            {"exclusive_minimum": 1, "exclusive_maximum": 9},
        ),
        (Annotated[float, validate.Range(min=0.5)], {"minimum": 0.5}),
        (Annotated[Decimal, validate.Range(min=Decimal(1))], {"minimum": Decimal(1)}),
        (Annotated[Decimal, Places(2)], {"digits": 38, "places": 2}),
        (Annotated[Decimal | None, Places(2, digits=4)], {"digits": 4, "places": 2}),
    ],
)
def test_the_bounds_of_a_value_are_kept(hint: Any, expected: dict[str, Any]) -> None:
    found = type_of(hint)
    assert found == Scalar(found.kind, **expected)


def test_the_bounds_of_a_list_are_kept() -> None:
    assert type_of(Annotated[list[int], validate.Length(min=1, max=2)]) == Array(
        Element(Scalar(Kind.INTEGER)), 1, 2
    )


def _even(value: int) -> None:
    if value % 2:
        raise marshmallow.ValidationError("odd")


class Shouting(fields.Text):
    """A field of an application's own, which writes something else."""


class Permissions(enum.IntFlag):
    READ = 1
    WRITE = 2


@pytest.mark.parametrize(
    ("hint", "remedy"),
    [
        (Annotated[int, _even], "_even.*use Length, Range, OneOf or Regexp"),
        (Annotated[int, lambda value: None], "lambda.*use Length"),
        (Annotated[str, validate.Email()], "Email.*use Length"),
        (Annotated[str, validate.NoneOf(["x"])], "NoneOf.*use Length"),
        (Annotated[str, validate.Predicate("isupper")], "Predicate.*use Length"),
        (Annotated[str, marshmallow.fields.Email()], "annotation such as str"),
        (Annotated[int, marshmallow.fields.Integer()], "annotation such as str"),
        (Annotated[str, Shouting()], "Shouting.*annotation such as str"),
        (list[Annotated[int, _even]], r"Happened\.a\[\].*_even"),
        (dict[str, Annotated[int, _even]], r"Happened\.a\{\}.*_even"),
        (Permissions, "list of an Enum"),
        (Annotated[str, validate.Regexp(r"\d")], r"\[0-9\]"),
        (Annotated[str, validate.Regexp("a"), validate.Regexp("b")], "write one"),
        (Annotated[str, validate.OneOf("abc")], "use an Enum"),
        (Annotated[str, validate.OneOf([])], "no str, or none"),
        (Annotated[int, validate.OneOf([1, 2.5])], "no int"),
        (Annotated[str, validate.Equal("a"), validate.Equal("b")], "exclude each other"),
        (Annotated[Decimal, validate.OneOf([Decimal(1)])], "use an Enum"),
        (
            Annotated[dt.date, validate.Range(min=dt.date(2026, 1, 1))],
            "int, float and Decimal only",
        ),
        (Annotated[int, validate.Range(min=Decimal(1))], "give an int or a float"),
        (Annotated[int, validate.Length(max=3)], "belongs to a string or a list"),
        (Annotated[uuid.UUID, validate.Regexp("a")], "belongs to a string"),
        (Annotated[uuid.UUID, fields.Uuid(load_default=uuid.uuid4)], "another one each time"),
    ],
)
def test_what_has_no_form_in_a_contract_is_refused_with_the_remedy(hint: Any, remedy: str) -> None:
    with pytest.raises(DeclarationError, match=remedy) as caught:
        type_of(hint)
    assert str(caught.value).startswith("Happened.a")


def test_an_underivable_class_can_still_be_declared_and_used() -> None:
    class Happened(Event, name="test.even", style="snapshot", reason="a test"):
        number: Annotated[int, _even]

    assert Happened.__read__(Happened(number=2).__wire__()).number == 2


def test_two_types_of_one_name_are_refused() -> None:
    def other() -> type[Struct]:
        return type("Point", (Struct,), {"__annotations__": {"z": int}})

    struct = type("Happened", (Struct,), {"__annotations__": {"a": Point, "b": other()}})
    with pytest.raises(DeclarationError, match="second type called Point"):
        record_of(struct)
