"""Events as Avro bodies: written, read back, read by older and newer classes, and hostile."""

from __future__ import annotations

import datetime as dt
import enum
import io
import json
import time
import timeit
from decimal import Decimal
from random import Random
from typing import Annotated, Any
from uuid import UUID, uuid4

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow.validate import Length, OneOf, Range, Regexp

from eventbus import Event
from eventbus.annotations import Alias, Places
from eventbus.contracts.avro import CODEC, SUPPORT
from eventbus.contracts.schema import Format, Schema
from eventbus.declared import record_of
from eventbus.errors import InvalidSchema, UndecodableMessage, ValidationError
from eventbus.event import Struct
from tests.unit.contracts.avro.events import Colour, Everything, Line, events

NOW = dt.datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=dt.timezone.utc)


def contract(cls: type[Event]) -> Schema:
    return Schema(Format.AVRO, SUPPORT.derive(record_of(cls), []))


def written(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


EVERYTHING = contract(Everything)
encode = CODEC.encoder(Everything, EVERYTHING)
decode = CODEC.decoder(EVERYTHING)
read = CODEC.reader(Everything, EVERYTHING)

EVENT = Everything(
    order_id=uuid4(),
    placed_at=NOW,
    day=NOW.date(),
    colour=Colour.DARK_BLUE,
    count=3,
    paid=True,
    rate=1.5,
    total=Decimal("19.9"),
    lines=[Line(sku="a", price=Decimal("3"), tags=["x", "y"], note="n")],
    extras={"a": 1, "b": None},
    by_sku={"a": Line(sku="a", price=Decimal("-0.5"))},
    days=[None, NOW.date()],
)


@settings(max_examples=150, deadline=None)
@given(events)
def test_what_is_written_is_read_back(event: Everything) -> None:
    body = encode(event)
    assert decode(body) == event.__wire__()
    assert read(body) == event


def test_other_readers_of_avro_read_it_too() -> None:
    schema = fastavro.parse_schema(json.loads(EVERYTHING.text))
    found: Any = fastavro.schemaless_reader(io.BytesIO(encode(EVENT)), schema, None)
    assert found["order_id"] == EVENT.order_id
    assert found["placed_at"] == EVENT.placed_at
    assert found["day"] == EVENT.day
    assert found["total"] == EVENT.total
    assert found["colour"] == "DARK_BLUE"
    assert found["lines"][0]["price"] == Decimal("3.00")


def test_another_writer_of_avro_writes_the_same() -> None:
    schema = fastavro.parse_schema(json.loads(EVERYTHING.text))
    value = fastavro.schemaless_reader(io.BytesIO(encode(EVENT)), schema, None)
    assert written(json.loads(EVERYTHING.text), value) == encode(EVENT)


class Older(Event, name="order.placed", style="snapshot", reason="a test"):
    """Before the fields had their names of today, and most of them were there."""

    oid: UUID
    total: Annotated[Decimal, Places(2, digits=12)]
    gone: str = ""


class Narrow(Event, name="order.placed", style="snapshot", reason="a test"):
    """A consumer that needs little."""

    order_id: Annotated[UUID, Alias("oid")]
    total: Annotated[Decimal, Places(2, digits=12)]
    extra: list[str] = []  # noqa: RUF012 - copied for each instance


def test_an_older_writers_body_is_read_by_alias_and_default() -> None:
    event = Older(oid=uuid4(), total=Decimal("1.00"), gone="x")
    body = CODEC.encoder(Older, contract(Older))(event)
    found = CODEC.reader(Narrow, contract(Older))(body)
    assert found == Narrow(order_id=event.oid, total=event.total)


def test_a_newer_writers_body_is_read_without_its_new_fields() -> None:
    found = CODEC.reader(Narrow, EVERYTHING)(encode(EVENT))
    assert found == Narrow(order_id=EVENT.order_id, total=EVENT.total)


def test_defaults_are_not_shared_between_events() -> None:
    reader = CODEC.reader(Narrow, EVERYTHING)
    reader(encode(EVENT)).extra.append("x")  # type: ignore[attr-defined]
    assert reader(encode(EVENT)).extra == []  # type: ignore[attr-defined]


def test_a_field_that_the_class_needs_and_the_writer_has_not_is_an_error() -> None:
    body = CODEC.encoder(Older, contract(Older))(Older(oid=uuid4(), total=Decimal(1)))
    with pytest.raises(ValidationError) as caught:
        CODEC.reader(Everything, contract(Older))(body)
    assert "placed_at" in caught.value.errors


def test_the_classs_bounds_are_kept() -> None:
    class Short(Event, name="order.placed", style="snapshot", reason="a test"):
        currency: Annotated[str, Length(max=2)] | None

    with pytest.raises(ValidationError, match="currency: Longer than maximum length 2"):
        CODEC.reader(Short, EVERYTHING)(encode(EVENT))


def test_null_is_an_error_where_the_class_has_none() -> None:
    class Needed(Event, name="order.placed", style="snapshot", reason="a test"):
        note: str

    with pytest.raises(ValidationError, match="note"):
        CODEC.reader(Needed, EVERYTHING)(encode(EVENT))


def test_a_symbol_that_the_class_does_not_know_is_an_error() -> None:
    class Few(enum.Enum):
        RED = "red"

    class Red(Event, name="order.placed", style="snapshot", reason="a test"):
        colour: Few

    with pytest.raises(ValidationError, match="colour: Must be one of: red"):
        CODEC.reader(Red, EVERYTHING)(encode(EVENT))


def record(*types: Any) -> dict[str, Any]:
    fields = [{"name": f"f{n}", "type": type_} for n, type_ in enumerate(types)]
    return {"type": "record", "name": "placed", "namespace": "order", "fields": fields}


FIXED_DECIMAL = {
    "type": "fixed",
    "name": "D",
    "size": 4,
    "logicalType": "decimal",
    "precision": 9,
    "scale": 2,
}


def test_what_other_producers_write_has_a_json_form() -> None:
    schema = record(
        {"type": "long", "logicalType": "timestamp-millis"},
        {"type": "long", "logicalType": "local-timestamp-micros"},
        {"type": "int", "logicalType": "time-millis"},
        FIXED_DECIMAL,
        {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
        ["null", "string", "long", {"type": "array", "items": "int"}],
        "bytes",
        "float",
        {"type": "map", "values": ["null", "double"]},
        "null",
    )
    bare = json.loads(json.dumps(schema).replace("logicalType", "x"))
    body = written(
        bare,
        {
            "f0": 1_700_000_000_123,
            "f1": 0,
            "f2": 1000,
            "f3": (-1250).to_bytes(4, "big", signed=True),
            "f4": UUID(int=7).bytes,
            "f5": [1, 2],
            "f6": b"a\xff",
            "f7": 0.5,
            "f8": {"a": None, "b": 1.0},
            "f9": None,
        },
    )
    assert CODEC.decoder(Schema.of(schema, "avro"))(body) == {
        "f0": "2023-11-14T22:13:20.123000Z",
        "f1": "1970-01-01T00:00:00.000000",
        "f2": "00:00:01.000000",
        "f3": "-12.50",
        "f4": str(UUID(int=7)),
        "f5": [1, 2],
        "f6": "aÿ",
        "f7": 0.5,
        "f8": {"a": None, "b": 1.0},
        "f9": None,
    }


def test_a_recursive_schema_is_read() -> None:
    tree = record({"type": "array", "items": "order.placed"})
    body = written(tree, {"f0": [{"f0": []}, {"f0": [{"f0": []}]}]})
    assert CODEC.decoder(Schema.of(tree, "avro"))(body) == {
        "f0": [{"f0": []}, {"f0": [{"f0": []}]}]
    }


def test_promoted_values_are_read_as_the_class_has_them() -> None:
    class Promoted(Event, name="order.placed", style="snapshot", reason="a test"):
        f0: float
        f1: str
        f2: int

    body = written(record("int", "bytes", "int"), {"f0": 1, "f1": "é".encode(), "f2": 2})
    found = CODEC.reader(Promoted, Schema.of(record("int", "bytes", "int"), "avro"))(body)
    assert found == Promoted(f0=1.0, f1="é", f2=2)


def test_an_event_that_does_not_fit_the_contract_names_the_field() -> None:
    with pytest.raises(ValidationError) as caught:
        CODEC.encoder(Narrow, contract(Older))(Narrow(order_id=uuid4(), total=Decimal(1)))
    assert set(caught.value.errors) == {"order_id", "extra", "oid", "gone"}

    class Inner(Struct):
        n: int

    class Nested(Event, name="order.placed", style="snapshot", reason="a test"):
        items: list[Inner]

    text = contract(Nested).text.replace('"long"', '"int"')
    with pytest.raises(ValidationError) as caught:
        CODEC.encoder(Nested, Schema(Format.AVRO, text))(Nested(items=[Inner(n=1), Inner(n=2**40)]))
    assert caught.value.errors == {"items": {1: {"n": ["Does not fit the contract's int."]}}}


BOUNDS: list[tuple[Any, Any, Any]] = [
    (Annotated[str, Length(max=2)], "ab", "abc"),
    (Annotated[str, Length(min=2)], "ab", "a"),
    (Annotated[str, OneOf(["a", "b"])], "a", "c"),
    (Annotated[str, Regexp("^[a-z]+$")], "a", "a\n"),
    (Annotated[int, Range(min=1)], 1, 0),
    (Annotated[int, Range(max=1, max_inclusive=False)], 0, 1),
    (Annotated[Decimal, Places(2), Range(max=Decimal("1.5"))], Decimal("1.5"), Decimal("1.51")),
    (Annotated[list[int], Length(max=1)], [1], [1, 2]),
]


@pytest.mark.parametrize(("annotation", "good", "bad"), BOUNDS)
def test_an_event_beyond_the_bounds_of_its_contract_is_refused(
    annotation: Any, good: Any, bad: Any
) -> None:
    """Its class has moved away from it, and allows more."""
    bare = list[int] if isinstance(good, list) else type(good)
    bare = Annotated[Decimal, Places(2)] if bare is Decimal else bare

    class Registered(Event, name="order.placed", style="snapshot", reason="a test"):
        a: annotation

    class Today(Event, name="order.placed", style="snapshot", reason="a test"):
        a: bare

    encoder = CODEC.encoder(Today, contract(Registered))
    encoder(Today(a=good))
    with pytest.raises(ValidationError) as caught:
        encoder(Today(a=bad))
    assert set(caught.value.errors) == {"a"}


def test_an_event_is_written_by_a_contract_of_others() -> None:
    class Plain(Event, name="order.placed", style="snapshot", reason="a test"):
        f0: dt.datetime
        f1: Annotated[Decimal, Places(2, digits=6)]
        f2: int | None
        f3: UUID

    schema = record(
        {"type": "long", "logicalType": "timestamp-millis"},
        FIXED_DECIMAL,
        ["string", "int", "null"],
        {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
    )
    event = Plain(f0=NOW.replace(microsecond=5000), f1=Decimal("1.5"), f2=7, f3=uuid4())
    encoder = CODEC.encoder(Plain, Schema.of(schema, "avro"))
    assert CODEC.reader(Plain, Schema.of(schema, "avro"))(encoder(event)) == event
    with pytest.raises(ValidationError, match="finer than the contract's timestamp-millis"):
        encoder(Plain(f0=NOW, f1=Decimal(1), f2=None, f3=uuid4()))


def test_a_contract_that_is_no_record_is_refused() -> None:
    with pytest.raises(InvalidSchema, match="record"):
        CODEC.decoder(Schema.of("long", "avro"))


def test_bodies_are_read_no_slower_than_json() -> None:
    """By the processor's time, and the best of many in turn: other processes run too."""
    text, body = json.dumps(EVENT.__wire__()).encode(), encode(EVENT)
    ways = (lambda: Everything.__read__(json.loads(text)), lambda: read(body))
    seconds = [
        [timeit.timeit(way, timer=time.process_time, number=100) for way in ways] for _ in range(15)
    ]
    as_json, as_avro = map(min, zip(*seconds, strict=True))
    assert as_avro < as_json


# -- hostile bodies ------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_a_damaged_body_is_an_event_or_undecodable_never_anything_else(seed: int) -> None:
    random = Random(seed)
    body = bytearray(encode(EVENT))
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(body))
        body[at : at + random.randint(0, 3)] = random.randbytes(random.randint(0, 3))
    try:
        event = read(bytes(body))
    except UndecodableMessage:
        with pytest.raises(UndecodableMessage):
            Everything.__read__(decode(bytes(body)))
    except ValidationError:
        with pytest.raises(ValidationError):
            Everything.__read__(decode(bytes(body)))
    else:
        assert Everything.__read__(decode(bytes(body))) == event


def zigzag(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    rest &= 2**64 - 1
    packed = bytearray()
    while rest > 0x7F:
        packed.append(rest & 0x7F | 0x80)
        rest >>= 7
    packed.append(rest)
    return bytes(packed)


MEBIBYTE = 2**20
NULLS = {"type": "array", "items": "null"}
LONGS = {"type": "array", "items": "long"}
MANY_NULLS = {
    "type": "record",
    "name": "Many",
    "fields": [{"name": f"n{n}", "type": "null"} for n in range(1000)],
}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}

HOSTILE: dict[str, tuple[Any, bytes]] = {
    "2^62 nulls": (NULLS, zigzag(2**62) + b"\0"),
    "2^62 nulls with a size": (NULLS, zigzag(-(2**62)) + b"\0\0"),
    "the least integer as a count": (NULLS, zigzag(-(2**63)) + b"\0\0"),
    "many blocks of nulls": (NULLS, zigzag(1000) * 300_000 + b"\0"),
    "2^62 keys to null": ({"type": "map", "values": "null"}, zigzag(2**62) + b"\0"),
    "2^40 empty records": ({"type": "array", "items": {**MANY_NULLS, "fields": []}}, zigzag(2**40)),
    "2^40 empty fixed": (
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
        zigzag(2**40),
    ),
    "a thousand nulls a byte": (
        {"type": "array", "items": ["null", MANY_NULLS]},
        zigzag(500_000) + b"\2" * 500_000 + b"\0",
    ),
    "2^62 longs": (LONGS, zigzag(2**62) + b"\0" * MEBIBYTE),
    "a block of a negative size": (LONGS, zigzag(-2) + zigzag(-7) + b"\2\2\0"),
    "a block of another size": (LONGS, zigzag(-2) + zigzag(3) + b"\2\2\0"),
    "a string longer than the body": ("string", zigzag(2**40) + b"abc"),
    "a string of a negative length": ("string", zigzag(-3) + b"abc"),
    "a string that is not UTF-8": ("string", zigzag(2) + b"\xff\xfe"),
    "bytes longer than the body": ("bytes", zigzag(100) + b"abc"),
    "a fixed longer than the body": ({"type": "fixed", "name": "F", "size": 10}, b"abc"),
    "bytes left over": ("long", b"\2\2"),
    "nothing": ("long", b""),
    "half a double": ("double", b"abcd"),
    "an integer that does not end": ("long", b"\xff" * MEBIBYTE),
    "an integer of 65 bits": ("long", b"\xff" * 9 + b"\3"),
    "an int of 33 bits": ("int", zigzag(2**32)),
    "a boolean that is 2": ("boolean", b"\2"),
    "a symbol -1": (ENUM, zigzag(-1)),
    "a symbol that is none": (ENUM, zigzag(2)),
    "a branch -1": (["null", "long"], zigzag(-1) + b"\2"),
    "a branch that is none": (["null", "long"], zigzag(2) + b"\2"),
    "a key twice": ({"type": "map", "values": "long"}, zigzag(2) + b"\2a\2\2a\2\0"),
    "a million levels of union": (["null", "order.placed"], b"\2" * MEBIBYTE + b"\0"),
    "a million levels of list": ({"type": "array", "items": "order.placed"}, b"\2" * MEBIBYTE),
    "a decimal of a mebibyte": (
        {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
        zigzag(MEBIBYTE) + b"\x7f" * MEBIBYTE,
    ),
    "a decimal of too many digits": (
        {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 2},
        zigzag(2) + b"\x7f\x7f",
    ),
    "a moment beyond the calendar": (
        {"type": "long", "logicalType": "timestamp-micros"},
        zigzag(2**62),
    ),
    "a day beyond the calendar": ({"type": "int", "logicalType": "date"}, zigzag(2**30)),
    "NaN": ("double", b"\0\0\0\0\0\0\xf8\x7f"),
}


@pytest.mark.parametrize(("type_", "body"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_undecodable_at_once(type_: Any, body: bytes) -> None:
    decoder = CODEC.decoder(Schema.of(record(type_), "avro"))
    begun = time.monotonic()
    with pytest.raises(UndecodableMessage):
        decoder(body)
    assert time.monotonic() - begun < 1


def test_the_reason_says_where() -> None:
    body = bytearray(encode(EVENT))
    at = body.index(b"\x02x\x02y")
    body[at] = 0x7F
    with pytest.raises(UndecodableMessage, match=r"length of -64 bytes.*at lines\.tags"):
        decode(bytes(body))


def test_a_schema_whose_values_are_endless_without_a_byte_is_not_read() -> None:
    type_: Any = "null"
    names = []
    for n in range(50):
        fields = [{"name": "a", "type": type_}, {"name": "b", "type": names[-1] if n else "null"}]
        type_ = {"type": "record", "name": f"D{n}", "fields": fields}
        names.append(f"D{n}")
    with pytest.raises(InvalidSchema, match="no bytes"):
        CODEC.decoder(Schema.of(record(type_), "avro"))
