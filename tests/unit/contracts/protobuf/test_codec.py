# ruff: noqa: RUF012 - an event copies the defaults of its fields.
"""Events as Protobuf bodies: what is written comes back, and nothing else is taken for an event."""

from __future__ import annotations

import datetime as dt
import enum
import time
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow.validate import Length

from eventbus import Event
from eventbus.annotations import Alias
from eventbus.contracts import Format, Schema, check_compatibility
from eventbus.contracts.protobuf import CODEC
from eventbus.errors import InvalidSchema, UndecodableMessage, ValidationError
from eventbus.event import Struct
from tests.unit.contracts.protobuf.events import EVENTS, SNAPSHOT, Everything, contract

HEAD = 'syntax = "proto3";'
EVERYTHING = contract(Everything)


def foreign(text: str) -> Schema:
    return Schema(Format.PROTOBUF, text)


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def field(number: int, wire_type: int, payload: bytes = b"") -> bytes:
    head = varint(number << 3 | wire_type)
    return head + (varint(len(payload)) + payload if wire_type == 2 else payload)


ENCODE, DECODE, READ = (
    CODEC.encoder(Everything, EVERYTHING),
    CODEC.decoder(EVERYTHING),
    CODEC.reader(Everything, EVERYTHING),
)


@given(EVENTS)
@settings(max_examples=100, deadline=None)
def test_an_event_comes_back_as_it_was_written(event: Everything) -> None:
    body = ENCODE(event)
    assert DECODE(body) == event.__wire__()
    assert READ(body) == event


@given(EVENTS)
@settings(max_examples=20, deadline=None)
def test_the_same_event_has_the_same_bytes(event: Everything) -> None:
    assert ENCODE(event) == ENCODE(Everything.__read__(event.__wire__()))


class Paid(Event, name="order.paid", **SNAPSHOT):
    order_id: UUID
    total: int
    note: str | None = None
    gone: str = "gone"


class PaidLater(Event, name="order.paid", **SNAPSHOT):
    order_id: UUID
    amount: Annotated[int, Alias("total")]
    note: str | None = None
    added: str = "added"
    tags: list[str] = ["default"]


def test_events_are_read_across_versions() -> None:
    first = contract(Paid)
    second = contract(PaidLater, first)
    assert check_compatibility(reader=second, writer=first, format="protobuf")
    old = Paid(order_id=uuid4(), total=7, note="")
    new = PaidLater(order_id=old.order_id, amount=7, note="", added="more", tags=[])
    read = CODEC.reader(PaidLater, first)(CODEC.encoder(Paid, first)(old))
    assert read == PaidLater(order_id=old.order_id, amount=7, note="")
    assert read.__dict__["tags"] == ["default"]
    body = CODEC.encoder(PaidLater, second)(new)
    assert CODEC.reader(PaidLater, second)(body) == new
    # The old class needs `total`, which is called `amount` now: the comparison says so as well.
    with pytest.raises(ValidationError, match="total: Missing"):
        CODEC.reader(Paid, second)(body)
    assert not check_compatibility(reader=first, writer=second, format="protobuf")


def test_a_default_that_is_a_list_is_not_shared() -> None:
    first = contract(Paid)
    read = CODEC.reader(PaidLater, first)
    body = CODEC.encoder(Paid, first)(Paid(order_id=uuid4(), total=1))
    assert read(body).__dict__["tags"] is not read(body).__dict__["tags"]


def test_what_a_newer_writer_added_is_skipped() -> None:
    class Narrow(Event, name="order.paid", **SNAPSHOT):
        order_id: UUID

    old = Paid(order_id=uuid4(), total=7)
    assert CODEC.reader(Narrow, contract(Paid))(CODEC.encoder(Paid, contract(Paid))(old)) == Narrow(
        order_id=old.order_id
    )
    body = CODEC.encoder(Paid, contract(Paid))(old) + field(500, 2, b"new")
    assert CODEC.reader(Paid, contract(Paid))(body) == old


class Bounded(Event, name="bounded.thing", **SNAPSHOT):
    text: Annotated[str, Length(max=3)]
    texts: Annotated[list[Annotated[str, Length(min=1)]], Length(max=2)] = []
    named: dict[str, Annotated[str, Length(min=1)]] = {}


class Loose(Event, name="bounded.thing", **SNAPSHOT):
    text: str
    texts: list[str] = []
    named: dict[str, str] = {}


@pytest.mark.parametrize(
    "values",
    [
        {"text": "four"},
        {"text": "", "texts": [""]},
        {"text": "", "texts": ["a", "b", "c"]},
        {"text": "", "named": {"a": ""}},
    ],
)
def test_what_the_class_validates_is_validated(values: dict[str, Any]) -> None:
    schema = contract(Loose)
    event = Loose(**values)
    body = CODEC.encoder(Loose, schema)(event)
    assert CODEC.reader(Loose, schema)(body) == event
    with pytest.raises(ValidationError) as fast:
        CODEC.reader(Bounded, schema)(body)
    with pytest.raises(ValidationError) as by_json_form:
        Bounded.__read__(CODEC.decoder(schema)(body))
    assert fast.value.errors == by_json_form.value.errors
    assert not check_compatibility(reader=contract(Bounded), writer=schema, format="protobuf")


class Number(Event, name="some.number", **SNAPSHOT):
    value: int


class Word(Event, name="some.number", **SNAPSHOT):
    value: str


class Flag(Event, name="some.number", **SNAPSHOT):
    value: bool


@pytest.mark.parametrize(
    ("type_", "read_by"),
    [("uint64", Number), ("sint32", Number), ("fixed64", Number), ("bytes", Word), ("bool", Flag)],
)
def test_schemas_of_others_are_read(type_: str, read_by: type[Event]) -> None:
    schema = foreign(f"{HEAD} message A {{ {type_} value = 1; }}")
    decoded = CODEC.decoder(schema)(b"")
    assert CODEC.reader(read_by, schema)(b"") == read_by.__read__(decoded)


def test_a_number_that_is_too_large_for_the_class_is_refused() -> None:
    schema = foreign(f"{HEAD} message A {{ uint64 value = 1; }}")
    body = field(1, 0, varint(2**64 - 1))
    assert CODEC.decoder(schema)(body) == {"value": 2**64 - 1}
    with pytest.raises(ValidationError, match="64-bit"):
        CODEC.reader(Number, schema)(body)


def test_a_boolean_is_no_number_and_a_number_no_boolean() -> None:
    for type_, read_by in (("bool", Number), ("int64", Flag), ("int64", Word), ("string", Number)):
        with pytest.raises(ValidationError):
            CODEC.reader(read_by, foreign(f"{HEAD} message A {{ {type_} value = 1; }}"))(b"")


def test_the_json_form_of_what_others_write() -> None:
    schema = foreign(
        """
        syntax = "proto2"; import "google/protobuf/wrappers.proto";
        import "google/protobuf/timestamp.proto";
        message A {
          optional int32 with_default = 1 [default = 5]; optional int32 without = 2;
          repeated bytes data = 3; map<int32, string> named = 4;
          optional google.protobuf.StringValue wrapped = 5; optional E e = 6 [default = TWO];
          optional group G = 7 { optional A again = 1; } repeated E es = 8;
          oneof o { string x = 9; int32 y = 10; } extensions 100 to 200;
          optional google.protobuf.Timestamp at = 11;
        }
        enum E { ONE = 1; TWO = 2; }
        extend A { optional int32 more = 100; }
        """
    )
    decode = CODEC.decoder(schema)
    empty = {
        "with_default": 5, "without": None, "data": [], "named": {}, "wrapped": None,
        "e": "TWO", "g": None, "es": [], "x": None, "y": None, "at": None,
    }  # fmt: skip
    assert decode(b"") == empty
    body = (
        field(1, 0, b"\x00")
        + field(3, 2, b"\xff")
        + field(4, 2, field(1, 0, b"\x07") + field(2, 2, b"seven"))
        + field(5, 2, field(1, 2, b"w"))
        + field(7, 3) + field(1, 2) + field(7, 4)
        + field(8, 0, b"\x01") + field(8, 0, b"\x02")
        + field(10, 0, b"\x03")
        + field(11, 2, field(1, 0, b"\x01") + field(2, 0, varint(1999)))
        + field(100, 0, b"\x01")
    )  # fmt: skip
    assert decode(body) == {
        **empty, "with_default": 0, "data": ["/w=="], "named": {"7": "seven"}, "wrapped": "w",
        "g": {"again": empty}, "es": ["ONE", "TWO"], "y": 3,
        "at": "1970-01-01T00:00:01.000001Z",
    }  # fmt: skip


class _Colour(enum.Enum):
    RED = "COLOUR_RED"


class Coloured(Event, name="some.colour", **SNAPSHOT):
    colour: _Colour


def test_the_constants_of_others_are_values() -> None:
    schema = foreign(
        f"{HEAD} message A {{ Colour colour = 1; }} "
        f"enum Colour {{ COLOUR_NONE = 0; COLOUR_RED = 1; }}"
    )
    body = CODEC.encoder(Coloured, schema)(Coloured(colour=_Colour.RED))
    assert body == field(1, 0, b"\x01")
    assert CODEC.reader(Coloured, schema)(body) == Coloured(colour=_Colour.RED)
    with pytest.raises(ValidationError):
        CODEC.reader(Coloured, schema)(b"")


def test_what_the_contract_has_no_place_for_is_not_written() -> None:
    event = Paid(order_id=uuid4(), total=2**40)
    for text, name in (
        ("string order_id = 1;", "total"),
        ("string order_id = 1; int32 total = 2; string gone = 3;", "_schema"),
        ("string order_id = 1; string total = 2;", "total"),
        ("bytes order_id = 1; int64 total = 2;", "order_id"),
        ("repeated string order_id = 1; int64 total = 2;", "order_id"),
    ):
        with pytest.raises(ValidationError) as caught:
            CODEC.encoder(Paid, foreign(f"{HEAD} message A {{ {text} }}"))(event)
        assert list(caught.value.errors) == [name]


def test_a_schema_without_a_message_has_no_events() -> None:
    with pytest.raises(InvalidSchema, match="no message"):
        CODEC.decoder(foreign(HEAD))


NESTED = foreign(
    f"{HEAD} message Node {{ Node child = 1; repeated Node more = 2; string text = 3; "
    f"map<string, Node> named = 4; int32 number = 5; repeated bool flags = 6; double ratio = 7; }}"
)


def nested(depth: int) -> bytes:
    """A message in a message, from the inside; quadratic in the depth, as each has its length."""
    body = b""
    for _ in range(depth):
        body = field(1, 2, body)
    return body


@pytest.mark.parametrize(
    "body",
    [
        nested(10_000),
        b"\x0b" * 500_000,
        b"\xff" * 1_000_000,
        field(5, 0, b"\xff" * 100),
        field(5, 0, b"\xff" * 11),
        field(3, 2, b"abc")[:-1],
        varint(3 << 3 | 2) + varint(2**62) + b"a",
        varint(6 << 3 | 2) + varint(2**31 - 1) + b"\x01",
        field(3, 2, b"\xff\xfe"),
        field(3, 2, b"\xed\xa0\x80"),
        field(0, 0, b"\x01"),
        field(3, 7, b""),
        field(5, 2, b"text for a number"),
        field(3, 0, b"\x05"),
        field(1, 2, field(3, 0, b"\x05")),
        field(7, 1, b"\x00\x00\x00\x00\x00\x00\xf8\x7f"),
        field(2, 2) * 500_000,
        field(1, 2, field(2, 2) * 500_000),
    ],
    ids=range(18),
)
def test_hostile_bytes_are_undecodable_in_little_time(body: bytes) -> None:
    decode = CODEC.decoder(NESTED)
    decode(b"")
    began = time.process_time()
    with pytest.raises(UndecodableMessage) as caught:
        decode(body)
    assert time.process_time() - began < 2
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_a_text_with_nul_is_refused_as_the_class_does() -> None:
    schema = contract(Word)
    with pytest.raises(ValidationError, match="NUL"):
        CODEC.reader(Word, schema)(field(1, 2, b"a\0b"))


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    for read in (DECODE, READ, CODEC.decoder(NESTED)):
        try:
            read(body)
        except (UndecodableMessage, ValidationError):
            continue


@given(EVENTS, st.integers(0, 2**16), st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_both_ways_of_reading_agree_on_damaged_events(
    event: Everything, at: int, byte: int
) -> None:
    body = bytearray(ENCODE(event))
    body[at % len(body)] = byte
    assert _outcome(lambda: READ(bytes(body))) == _outcome(
        lambda: Everything.__read__(DECODE(bytes(body)))
    )


def _outcome(read: Any) -> Any:
    try:
        return read()
    except (UndecodableMessage, ValidationError) as error:
        return type(error), str(error)


@pytest.mark.parametrize(("seconds", "nanos"), [(-(2**62), 0), (2**62, 0), (0, -1), (0, 10**9)])
def test_a_moment_outside_the_calendar_is_undecodable(seconds: int, nanos: int) -> None:
    class Moment(Event, name="some.moment", **SNAPSHOT):
        at: dt.datetime

    schema = contract(Moment)
    body = field(1, 2, field(1, 0, varint(seconds % 2**64)) + field(2, 0, varint(nanos % 2**64)))
    with pytest.raises(UndecodableMessage):
        CODEC.decoder(schema)(body)
    with pytest.raises(UndecodableMessage):
        CODEC.reader(Moment, schema)(body)


class _Inner(Struct):
    needed: int


class _Less(Struct):
    other: int = 1


class Outer(Event, name="outer.thing", **SNAPSHOT):
    parts: list[_Inner] = []


class OuterBefore(Event, name="outer.thing", **SNAPSHOT):
    parts: list[_Less] = []


def test_a_part_without_what_the_class_needs_is_told_by_its_path() -> None:
    schema = contract(OuterBefore)
    write = CODEC.encoder(OuterBefore, schema)
    assert CODEC.reader(Outer, schema)(write(OuterBefore())) == Outer()
    with pytest.raises(ValidationError, match=r"parts\.0\.needed"):
        CODEC.reader(Outer, schema)(write(OuterBefore(parts=[_Less()])))
