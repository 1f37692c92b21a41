"""What a declaration says beside the types: keywords of the class, and marks of its fields."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any

import pytest
from marshmallow import validate

from eventbus import Alias, Deprecated, Event, Number, Places, Struct, ValidationError, fields
from eventbus.errors import DeclarationError


class Snapshot(Event, style="snapshot", reason="a test"):
    """A base whose style its events take over."""


# -- the class -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "major", "event_name", "expected"),
    [
        ("order.paid", None, "order.paid", 1),
        ("order.paid", 1, "order.paid", 1),
        ("order.paid", 2, "order.paid.v2", 2),
        ("order.paid.v2", None, "order.paid.v2", 2),
        ("order.paid.v2", 2, "order.paid.v2", 2),
        ("order.paid.v1", None, "order.paid.v1", 1),
        ("v2", None, "v2", 1),
        ("order.v02", None, "order.v02", 1),
        ("order.vat", 3, "order.vat.v3", 3),
    ],
)
def test_a_major_above_one_is_part_of_the_name(
    name: str, major: int | None, event_name: str, expected: int
) -> None:
    class Happened(Snapshot, name=name, major=major):
        pass

    assert (Happened.__event_name__, Happened.__major__) == (event_name, expected)


@pytest.mark.parametrize("major", [0, -1, 1.0, True, "2", 100_000])
def test_a_major_is_a_small_positive_integer(major: Any) -> None:
    with pytest.raises(DeclarationError, match="major"):

        class _(Snapshot, name="order.paid", major=major):
            pass


def test_a_name_and_a_major_do_not_contradict_each_other() -> None:
    with pytest.raises(DeclarationError, match="its name says 2"):

        class _(Snapshot, name="order.paid.v2", major=3):
            pass

    with pytest.raises(DeclarationError, match="no name"):

        class _(Snapshot, major=3):  # type: ignore[no-redef]
            pass


def test_the_name_with_its_major_still_fits_a_routing_key() -> None:
    with pytest.raises(DeclarationError, match="255 bytes"):

        class _(Snapshot, name="x" * 253, major=2):
            pass


def test_format_style_and_reason_are_taken_over_from_a_base() -> None:
    class Base(Event, format="avro", style="snapshot", reason="prices"):
        pass

    class Happened(Base, name="test.taken_over"):
        pass

    class Other(Base, name="test.not_taken_over", format="json"):
        pass

    assert (Happened.__wire_format__, Happened.__style__) == ("avro", "snapshot")
    assert (Happened.__reason__, Other.__wire_format__) == ("prices", "json")


def test_an_event_can_be_formatted_whatever_its_format() -> None:
    class Happened(Snapshot, name="test.formatted", format="avro"):
        number: int

    assert f"{Happened(number=1)}" == "Happened(number=1)"


@pytest.mark.parametrize("format", ["JSON", "xml", "", 7, None.__class__])
def test_an_unknown_format_is_refused(format: Any) -> None:
    with pytest.raises(DeclarationError, match="json or avro or protobuf"):

        class _(Snapshot, name="test.format", format=format):
            pass


def test_a_deprecated_event_says_until_when_and_what_instead() -> None:
    class Happened(Snapshot, name="test.old", deprecated=Deprecated("2027-01-01", "use test.new")):
        pass

    class Narrower(Happened, name="test.narrower"):
        pass

    assert Happened.__deprecated__ is not None
    assert Happened.__deprecated__.until == dt.date(2027, 1, 1)
    assert Happened.__deprecated__.instead == "use test.new"
    assert Narrower.__deprecated__ is None


@pytest.mark.parametrize(
    ("until", "instead"),
    [("soon", "use x"), (20270101, "use x"), (dt.datetime(2027, 1, 1), "x"), ("2027-01-01", " ")],  # noqa: DTZ001
)
def test_a_deprecation_needs_a_day_and_an_alternative(until: Any, instead: str) -> None:
    with pytest.raises(DeclarationError, match="Deprecated"):
        Deprecated(until, instead)
    with pytest.raises(DeclarationError, match="use Deprecated"):

        class _(Snapshot, name="test.old", deprecated="2027-01-01"):  # type: ignore[arg-type]
            pass


# -- upcasters -----------------------------------------------------------------------------------


def test_upcasters_are_declared_once_for_each_version() -> None:
    class Happened(Snapshot, name="test.upcast"):
        number: int

    @Happened.upcast(from_version=1)
    def to_two(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "number": 2}

    assert Happened.__upcasters__ == {1: to_two}
    with pytest.raises(DeclarationError, match="version 1 already"):
        Happened.upcast(from_version=1)
    for version in (0, -1, True, "1", 1.0):
        with pytest.raises(DeclarationError, match="versions are"):
            Happened.upcast(from_version=version)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="no plain function"):
        Happened.upcast(from_version=2)(5)  # type: ignore[arg-type]

    class Sub(Happened, name="test.upcast_sub"):
        pass

    assert Sub.__upcasters__ == {}


# -- aliases -------------------------------------------------------------------------------------


class Line(Struct):
    sku: Annotated[str, Alias("article"), Alias("item")]
    count: int = 1


class Renamed(Snapshot, name="test.renamed"):
    new: Annotated[int, Alias("old")] = 0
    lines: list[Line] = []  # noqa: RUF012 - copied for each instance
    camel: Annotated[Annotated[str, fields.Text(data_key="camelCase")], Alias("camel")] = ""


def test_an_earlier_name_is_read_and_never_written() -> None:
    read = Renamed.__read__({"old": 5, "lines": [{"article": "a"}, {"item": "b"}], "camel": "x"})
    assert read == Renamed(new=5, lines=[Line(sku="a"), Line(sku="b")], camel="x")
    assert list(read.__wire__()) == ["new", "lines", "camelCase"]


def test_of_two_names_the_new_one_counts() -> None:
    assert Renamed.__read__({"old": 5, "new": 6}).new == 6
    assert Renamed.__read__({"old": "rubbish", "new": 6}).new == 6
    with pytest.raises(ValidationError):
        Renamed.__read__({"old": 5, "new": None})


def test_a_value_under_an_earlier_name_is_checked() -> None:
    with pytest.raises(ValidationError) as caught:
        Renamed.__read__({"old": "five", "lines": [{"article": 1}]})
    assert set(caught.value.errors) == {"new", "lines"}
    rubbish: Any
    for rubbish in (None, [], "x", 5):
        with pytest.raises(ValidationError):
            Renamed.__read__(rubbish)


def test_an_earlier_name_is_known_to_the_strict_reader() -> None:
    assert Renamed.__read_strict__({"old": 5, "lines": [{"item": "b"}]}).new == 5
    with pytest.raises(ValidationError, match="Unknown field"):
        Renamed.__read_strict__({"older": 5})


def test_the_message_is_left_as_it_was() -> None:
    data = {"old": 5}
    Renamed.__read__(data)
    assert data == {"old": 5}


def test_only_a_class_with_aliases_looks_for_them() -> None:
    class Plain(Snapshot, name="test.plain"):
        number: int

    class Inherits(Renamed, name="test.inherits"):
        pass

    assert type(Plain.__schema__).load is type(Snapshot.__schema__).load
    assert type(Renamed.__schema__).load is not type(Plain.__schema__).load
    assert Inherits.__read__({"old": 7}).new == 7


def test_an_alias_is_no_field_any_longer() -> None:
    with pytest.raises(DeclarationError, match="the name of 'b'"):

        class _(Struct):
            a: Annotated[int, Alias("b")]
            b: int

    with pytest.raises(DeclarationError, match="the name of 'a'"):

        class _(Struct):  # type: ignore[no-redef]
            a: Annotated[int, Alias("x")]
            b: Annotated[int, Alias("x")]

    with pytest.raises(DeclarationError, match="the name of 'a'"):

        class _(Struct):  # type: ignore[no-redef]
            a: Annotated[int, Alias("a")]

    for name in ("", 5, None):
        with pytest.raises(DeclarationError, match="earlier name"):
            Alias(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("mark", [Alias("x"), Deprecated("2027-01-01", "use y"), Number(7)])
def test_the_items_of_a_list_have_no_marks(mark: Any) -> None:
    with pytest.raises(DeclarationError, match="belongs to a field"):
        type("X", (Struct,), {"__annotations__": {"a": list[Annotated[int, mark]]}})
    with pytest.raises(DeclarationError, match="belongs to a field"):
        type("X", (Struct,), {"__annotations__": {"a": dict[str, Annotated[int, mark] | None]}})
    with pytest.raises(DeclarationError, match="twice"):
        type("X", (Struct,), {"__annotations__": {"a": Annotated[int, mark, mark]}})


# -- places --------------------------------------------------------------------------------------


class Priced(Snapshot, name="test.priced"):
    price: Annotated[Decimal, Places(2, digits=6)]
    maybe: Annotated[Decimal, Places(0)] | None = None
    rates: list[Annotated[Decimal, Places(3)]] = []  # noqa: RUF012


def test_a_decimal_is_written_with_its_places() -> None:
    priced = Priced(price=Decimal("12.5"), maybe=Decimal("1E2"), rates=[Decimal("-0")])
    assert priced.__wire__() == {"price": "12.50", "maybe": "100", "rates": ["0.000"]}
    assert str(Priced.__read__({"price": "1.5"}).price) == "1.50"
    assert Priced(price=Decimal("1.500")).__wire__()["price"] == "1.50"


@pytest.mark.parametrize("text", ["1.005", "12345.00", "1E5", "0.001", "99999"])
def test_a_digit_too_many_is_refused_on_both_sides(text: str) -> None:
    with pytest.raises(ValidationError, match="more than 2 places, or more than 6 digits"):
        Priced(price=Decimal(text))
    with pytest.raises(ValidationError, match="more than 2 places, or more than 6 digits"):
        Priced.__read__({"price": text})


def test_places_belong_to_a_decimal() -> None:
    for hint in (int, list[Decimal], float | None, dict[str, Decimal]):
        with pytest.raises(DeclarationError, match="belong to a Decimal"):
            type("X", (Struct,), {"__annotations__": {"a": Annotated[hint, Places(2)]}})
    for places, digits in ((-1, 9), (3, 2), (0, 0), (2, 101), (True, 9), (1.0, 9)):
        with pytest.raises(DeclarationError, match="Places"):
            Places(places, digits)  # type: ignore[arg-type]


def test_a_protobuf_number_is_one() -> None:
    for number in (0, -1, 19_000, 19_999, 2**29, True, "7"):
        with pytest.raises(DeclarationError, match="Number"):
            Number(number)  # type: ignore[arg-type]
    assert Number(2**29 - 1).number == 2**29 - 1


def test_a_pattern_ends_at_the_end_of_the_text() -> None:
    class Coded(Snapshot, name="test.coded"):
        code: Annotated[str, validate.Regexp("^[A-Z]+$")]
        codes: list[Annotated[str, validate.Regexp("^[A-Z]+$")]] = []  # noqa: RUF012

    Coded(code="AB", codes=["CD"])
    with pytest.raises(ValidationError):
        Coded(code="AB\n")
    with pytest.raises(ValidationError):
        Coded(code="AB", codes=["CD\n"])
