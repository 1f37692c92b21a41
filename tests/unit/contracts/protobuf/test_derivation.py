# ruff: noqa: RUF012 - an event copies the defaults of its fields.
"""Schemas of events: what each type becomes, which numbers fields have, and what is refused."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from marshmallow.validate import Length, OneOf, Range, Regexp

from eventbus import Event
from eventbus.annotations import Alias, Deprecated, Number, Places
from eventbus.contracts import check_compatibility, check_evolution
from eventbus.contracts.protobuf import SUPPORT
from eventbus.errors import DeclarationError
from eventbus.event import Struct
from tests.unit.contracts.protobuf.events import SNAPSHOT, contract


def event(name: str = "order.paid", **annotations: Any) -> type[Event]:
    """An event class; a pair of annotation and default is a field with one."""
    fields = {
        key: hint[0] if isinstance(hint, tuple) else hint for key, hint in annotations.items()
    }
    defaults = {key: hint[1] for key, hint in annotations.items() if isinstance(hint, tuple)}
    return type(Event)(
        "Made", (Event,), {"__annotations__": fields, **defaults}, name=name, **SNAPSHOT
    )


def numbers(cls: type[Event], *previous: Any) -> dict[str, int]:
    from eventbus.contracts.protobuf.compiled import contract_of

    found = contract_of(contract(cls, *previous)).event
    assert found is not None
    return {field.name: field.number for field in found.fields.values()}


class Status(enum.Enum):
    PAID = "paid"
    IN_TRANSIT = "in-transit"


class Address(Struct):
    street: str


class OrderPaid(Event, name="order.paid", **SNAPSHOT):
    """An order was paid."""

    order_id: UUID
    total: Annotated[Decimal, Places(2, digits=10)]
    paid_at: dt.datetime
    status: Status
    note: Annotated[str, Length(max=80)] | None = None
    tags: list[str] = []
    counts: dict[str, int] = {}
    address: Address | None = None
    old: Annotated[bool, Deprecated("2027-01-01", "use status")] = True


def test_an_event_as_a_proto3_file() -> None:
    assert (
        contract(OrderPaid).text
        == """\
syntax = "proto3";

package order.paid;

import "google/protobuf/timestamp.proto";

// An order was paid.
message OrderPaid {
  string order_id = 1;
  string total = 2;
  .google.protobuf.Timestamp paid_at = 3;
  Status status = 4;
  optional string note = 5;
  repeated string tags = 6;
  map<string, int64> counts = 7;
  optional Address address = 8;
  bool old = 9 [deprecated = true];

  // Not names that were used: what Protobuf has no words for, read by eventbus.
  reserved "x_eventbus", "x_order_id__uuid", "x_total__decimal__whole_8__places_2",
      "x_note__default__max_80", "x_tags__default", "x_counts__default", "x_address__default",
      "x_old__default";

  enum Status {
    STATUS_UNSPECIFIED = 0;
    STATUS_paid = 1;
    STATUS_in__u2d_transit = 2;
  }

  message Address {
    string street = 1;

    // Not names that were used: what Protobuf has no words for, read by eventbus.
    reserved "x_eventbus";
  }
}
"""
    )


@pytest.mark.parametrize(
    ("name", "package", "message"),
    [
        ("order.paid", "order.paid", "OrderPaid"),
        ("order.paid.v2", "order.paid.v2", "OrderPaid"),
        ("order-line.paid_late", "order_line.paid_late", "OrderLinePaidLate"),
        ("4711.done", "n4711.done", "Event4711Done"),
        ("größe.geändert", "gr__e.ge_ndert", "GrEGeNdert"),
        ("message.package", "message.package", "MessagePackage"),
        ("google.protobuf", "google.protobuf", "GoogleProtobuf"),
        ("order.google.sent", "order.google.sent", "OrderGoogleSent"),
        ("v2", "v2", "V2"),
    ],
)
def test_the_name_of_an_event_names_package_and_message(
    name: str, package: str, message: str
) -> None:
    text = contract(event(name, at=dt.datetime)).text
    assert f"package {package};" in text
    assert f"message {message} {{" in text


def test_fields_keep_their_numbers_and_those_of_removed_ones_stay_free() -> None:
    first = contract(event(a=int, b=int, c=int))
    second = contract(event(c=int, new=(int, 1), a=int), first)
    assert numbers(event(c=int, new=(int, 1), a=int), first) == {"c": 3, "new": 4, "a": 1}
    assert 'reserved 2;\n  reserved "b";' in second.text
    # Also when more than one version has gone by.
    third = event(newest=(int, 1), a=int)
    assert numbers(third, first, second) == {"newest": 5, "a": 1}
    text = contract(third, first, second).text
    assert 'reserved 2 to 4;\n  reserved "b", "c", "new";' in text


def test_a_number_may_be_given_by_hand() -> None:
    assert numbers(event(a=Annotated[int, Number(7)], b=int)) == {"a": 7, "b": 8}
    first = contract(event(a=int, b=int))
    moved = contract(event(a=Annotated[int, Number(9)], b=int), first)
    found = check_evolution(new=moved, previous=[first], format="protobuf")
    assert "FIELD_RENUMBERED" in {one.kind for one in found.differences}


def test_the_numbers_that_protobuf_keeps_are_left_out() -> None:
    assert numbers(event(a=Annotated[int, Number(18_999)], b=int))["b"] == 20_000


def test_a_number_is_not_given_twice() -> None:
    with pytest.raises(DeclarationError, match=r"a and b both have the number 7.*Number"):
        contract(event(a=Annotated[int, Number(7)], b=Annotated[int, Number(7)]))


def test_a_renamed_field_keeps_its_number() -> None:
    first = contract(event(a=int, b=int))
    renamed = event(a=int, better=Annotated[int, Alias("b")])
    assert numbers(renamed, first) == {"a": 1, "better": 2}
    second = contract(renamed, first)
    assert check_compatibility(reader=second, writer=first, format="protobuf")
    without_alias = second.text.replace("x_better__was_b", "x_other__was_b")
    found = check_compatibility(reader=without_alias, writer=first, format="protobuf")
    assert {one.kind for one in found.differences} == {"FIELD_RENAMED"}


class Before(enum.Enum):
    A = "a"
    B = "b"


class After(enum.Enum):
    C = "c"
    B = "b"


After.__name__ = Before.__name__ = "Letter"


def test_the_values_of_an_enum_keep_their_numbers() -> None:
    first = contract(event(letter=Before))
    second = contract(event(letter=After), first)
    assert "LETTER_b = 2;" in second.text
    assert "LETTER_c = 3;" in second.text
    assert 'reserved 1;\n    reserved "LETTER_a";' in second.text
    found = check_evolution(new=second, previous=[first], format="protobuf")
    assert {(one.kind, one.direction) for one in found.differences} == {
        ("ENUM_VALUE_UNKNOWN", "backward"),
        ("ENUM_VALUE_UNKNOWN", "forward"),
    }


@pytest.mark.parametrize(
    ("hint", "remedy"),
    [
        (list[str] | None, "default"),
        (dict[str, str] | None, "default"),
        (list[str | None], "leave them out"),
        (dict[str, int | None], "leave them out"),
        (list[list[str]], "Struct"),
        (dict[str, list[str]], "Struct"),
        (enum.Enum("Mixed", {"A": "a", "B": 1}), "alone"),
        (enum.Enum("Unset", {"A": "UNSPECIFIED"}), "no value"),
        (enum.Enum("Cased", {"A": "a", "B": "A"}), "case"),
    ],
)
def test_what_has_no_form_is_refused_with_the_remedy(hint: Any, remedy: str) -> None:
    with pytest.raises(DeclarationError, match=remedy) as caught:
        contract(event(value=hint))
    assert "order.paid" in str(caught.value)


@pytest.mark.parametrize("name", ["größe", "a__b", "_x"[1:] + "__y"])
def test_a_field_that_no_protobuf_field_can_be_called_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="single underscores"):
        contract(event(**{name: int}))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (str, UUID),
        (str, dt.date),
        (str, Decimal),
        (str, Annotated[str, Length(max=80)]),
        (Annotated[str, Length(max=80)], Annotated[str, Length(max=79)]),
        (Annotated[str, Length(min=1)], Annotated[str, Length(min=2)]),
        (Annotated[int, Range(min=-1)], Annotated[int, Range(min=0)]),
        (Annotated[int, Range(max=10)], Annotated[int, Range(max=9)]),
        (Annotated[float, Range(max=1.5)], Annotated[float, Range(max=1.25)]),
        (Annotated[Decimal, Places(2)], Annotated[Decimal, Places(1, digits=37)]),
        (Annotated[Decimal, Places(2, digits=9)], Annotated[Decimal, Places(2, digits=8)]),
        (str, Annotated[str, Regexp("[a-z]+")]),
        (str, Annotated[str, OneOf(["a", "b"])]),
        (int | None, int),
        (list[str], list[UUID]),
        (list[str], Annotated[list[str], Length(max=3)]),
        (dict[str, str], dict[str, Annotated[str, Length(max=3)]]),
    ],
)
def test_a_class_that_asks_more_of_a_value_does_not_read_everything(wide: Any, narrow: Any) -> None:
    before, after = contract(event(value=wide)), contract(event(value=narrow))
    found = check_compatibility(reader=after, writer=before, format="protobuf")
    assert {one.kind for one in found.differences} <= {"STRICTER", "FIELD_MAY_BE_ABSENT"}
    assert not found
    assert check_compatibility(reader=before, writer=after, format="protobuf")


def test_a_field_that_a_class_needs_must_have_been_written() -> None:
    before = contract(event(a=int))
    for hint, readable in ((str, False), (list[str], False), ((str, "x"), True)):
        after = contract(event(a=int, b=hint), before)
        found = check_compatibility(reader=after, writer=before, format="protobuf")
        assert bool(found) is readable
        assert check_compatibility(reader=before, writer=after, format="protobuf")


def test_a_default_may_come_and_go() -> None:
    with_default = contract(event(a=(int, 1)))
    assert check_evolution(new=with_default, previous=[contract(event(a=int))], format="protobuf")


def test_a_class_that_takes_none_reads_also_what_is_never_none() -> None:
    always, sometimes = contract(event(a=int)), contract(event(a=int | None))
    assert check_compatibility(reader=sometimes, writer=always, format="protobuf")
    found = check_compatibility(reader=always, writer=sometimes, format="protobuf")
    assert {one.kind for one in found.differences} == {"FIELD_MAY_BE_ABSENT"}


def test_a_schema_is_derived_the_same_way_each_time() -> None:
    first = contract(OrderPaid)
    assert contract(OrderPaid).text == first.text
    assert SUPPORT.canonical(contract(OrderPaid, first, first)) == SUPPORT.canonical(first)
