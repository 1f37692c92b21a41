"""What is no Avro schema, or more than one, is refused at once and says where."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from eventbus.contracts.avro import SUPPORT
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import InvalidSchema


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def field(type_: Any, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def nested(levels: int) -> Any:
    type_: Any = "string"
    for n in range(levels):
        type_ = {"type": "record", "name": f"R{n}", "fields": [field(type_)]}
    return type_


ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}
FIXED = {"type": "fixed", "name": "F", "size": 1}

INVALID = {
    "a record that contains itself": (record(field("R")), "without a way out"),
    "by way of another": (
        record(field({"type": "record", "name": "S", "fields": [field("R")]})),
        "without a way out",
    ),
    "in a union of nothing else": (record(field(["R"])), "without a way out"),
    "10k fields": (record(*(field("long", f"f{n}") for n in range(10_000))), "2,000 fields"),
    "an alias of itself": (record(aliases=["R"]), "its own name"),
    "a field's alias of itself": (record(field("long", aliases=["a"])), "its own name"),
    "an alias that another field has": (
        record(field("long", aliases=["b"]), field("long", "b")),
        "another field's",
    ),
    "a default of another type": (record(field("int", default="x")), "no int"),
    "a boolean for a number": (record(field("int", default=True)), "no int"),
    "a default beyond 32 bits": (record(field("int", default=2**31)), "no int"),
    "a default of the second branch": (record(field(["null", "string"], default="x")), "first"),
    "null where it is the second branch": (
        record(field(["string", "null"], default=None)),
        "first",
    ),
    "a default that is no symbol": (record(field(ENUM, default="B")), "no enum"),
    "a default of the wrong size": (record(field(FIXED, default="ab")), "no fixed"),
    "a default with a character that is no byte": (record(field("bytes", default="€")), "no bytes"),
    "a default without a field": (
        record(field({"type": "record", "name": "S", "fields": [field("int")]}, default={})),
        "no record",
    ),
    "a default uuid that is none": (
        record(field({"type": "string", "logicalType": "uuid"}, default="x")),
        "no string",
    ),
    "a default decimal of too many digits": (
        record(
            field(
                {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 0},
                default="\x7f\x7f",
            )
        ),
        "no bytes",
    ),
    "an enum's default that is no symbol": ({**ENUM, "default": "B"}, "not among the symbols"),
    "two fields of one name": (record(field("int"), field("long")), "second field called a"),
    "two types of one name": (record(field(FIXED), field(FIXED, "b")), "second time"),
    "a name with a hyphen": (record(field("int", "a-b")), "'a-b'"),
    "a name that begins with a digit": ({**ENUM, "name": "1"}, "'1'"),
    "a name with a newline": (record(field("int", "a\n")), "letters"),
    "a name of a primitive type": ({**ENUM, "name": "n.string"}, "primitive"),
    "a symbol that is no name": ({**ENUM, "symbols": ["a b"]}, "/symbols/0"),
    "a symbol twice": ({**ENUM, "symbols": ["A", "A"]}, "twice"),
    "a huge enum": ({**ENUM, "symbols": [f"S{n}" for n in range(20_000)]}, "10,000"),
    "a negative size": ({**FIXED, "size": -1}, "-1"),
    "a union in a union": (["null", ["null", "int"]], "/1: is a union directly"),
    "a branch twice": (["int", "int"], "second int"),
    "a default of an empty union": (record(field([], default=None)), "no union"),
    "a type that nobody defines": (record(field("Missing")), "'Missing'"),
    "a type that is defined later": (record(field("F"), field(FIXED, "b")), "'F'"),
    "no schema at all": (True, "no type"),
    "a decimal without a precision": ({"type": "bytes", "logicalType": "decimal"}, "precision"),
    "a decimal with more places than digits": (
        {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3},
        "scale 3",
    ),
    "a decimal beyond its fixed": (
        {**FIXED, "logicalType": "decimal", "precision": 3},
        "give 1 to 2",
    ),
    "attributes around a type": (
        {"type": {"type": "string"}, "logicalType": "uuid"},
        "put them inside",
    ),
    "nested too deep": (nested(70), "nested"),
    "lists nested too deep": (
        json.loads('{"type":"array","items":' * 150 + '"int"' + "}" * 150),
        "deep",
    ),
}

BROKEN_TEXT = {
    "no JSON": ("{", "no JSON text"),
    "nothing": ("", "no JSON text"),
    "half a million brackets": ("[" * 500_000, "nested too deep"),
    "a key twice": ('{"type": "string", "type": "int"}', "'type' twice"),
    "NaN": ('{"type": "double", "x": NaN}', "NaN"),
    "an integer of 5,000 digits": ('{"type":"fixed","name":"F","size":%s}' % ("9" * 5000), "JSON"),
    "a lone surrogate": ('{"type": "string", "doc": "\\ud800"}', "surrogate"),
    "a default nested deep": (
        '{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"S",'
        '"fields":[{"name":"k","type":{"type":"array","items":"S"}}]},"default":'
        + '{"k":[' * 300 + "]}" * 300 + "}]}",
        "levels deep",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "reason"), INVALID.values(), ids=INVALID)
def test_what_breaks_a_rule_is_refused(schema: Any, reason: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        SUPPORT.check(Schema.of(schema, "avro"))
    assert reason in str(caught.value)


@pytest.mark.parametrize(("text", "reason"), BROKEN_TEXT.values(), ids=BROKEN_TEXT)
def test_text_that_is_no_schema_is_refused(text: str, reason: str) -> None:
    begun = time.monotonic()
    with pytest.raises(InvalidSchema) as caught:
        SUPPORT.check(Schema(Format.AVRO, text))
    assert reason in str(caught.value)
    assert time.monotonic() - begun < 1


VALID = {
    "a list": record(field(["null", "R"], default=None)),
    "a tree": record(field({"type": "array", "items": "R"}, default=[])),
    "a map of itself": record(field({"type": "map", "values": "R"})),
    "a primitive name": "long",
    "null": "null",
    "an enum and its name": record(field(ENUM), field("E", "b", default="A")),
    "a default for a real number": record(field("double", default=1)),
    "60 levels": nested(60),
    "an unknown logical type": {"type": "string", "logicalType": "email"},
    "a logical type where it does not belong": {"type": "string", "logicalType": "date"},
    "an empty union": record(field([])),
    "a wrapped type": {"type": {"type": "string"}},
    "a name in no namespace": record(field(ENUM), field("E", "b"), name="n.R"),
}


@pytest.mark.parametrize("schema", VALID.values(), ids=VALID)
def test_what_the_specification_allows_is_taken(schema: Any) -> None:
    SUPPORT.check(Schema.of(schema, "avro"))


def test_a_long_chain_of_records_is_checked_in_no_time() -> None:
    """Each ends only because the one before it does, and each counts twice as much."""
    chain = [
        field(
            {
                "type": "record",
                "name": f"C{n}",
                "fields": [field(f"C{n - 1}" if n else "null", one) for one in "ab"],
            },
            f"c{n}",
        )
        for n in range(1500)
    ]
    schema = Schema.of(record(*chain), "avro")
    begun = time.monotonic()
    SUPPORT.check(schema)
    SUPPORT.canonical(schema)
    assert SUPPORT.compare(schema, schema) == []
    assert time.monotonic() - begun < 5


def canonical(schema: Any) -> str:
    return SUPPORT.canonical(Schema.of(schema, "avro"))


def test_schemas_that_are_only_written_differently_are_one() -> None:
    assert canonical(
        {
            "namespace": "n",
            "type": "record",
            "doc": "A sentence.",
            "name": "R",
            "aliases": ["B", "A"],
            "fields": [
                {"type": {"type": "string"}, "name": "a", "order": "ascending"},
                {"name": "b", "type": {"type": "enum", "name": "E", "symbols": ["A"]}},
                {"name": "c", "type": "E"},
            ],
        }
    ) == canonical(
        {
            "type": "record",
            "name": "n.R",
            "aliases": ["n.A", "n.B"],
            "fields": [
                {"name": "a", "type": "string"},
                {"name": "b", "type": {"type": "enum", "name": "n.E", "symbols": ["A"]}},
                {"name": "c", "type": "n.E"},
            ],
        }
    )


@pytest.mark.parametrize(
    "changed",
    [
        record(field("long", default=2)),
        record(field("long")),
        record(field("long", default=1, aliases=["b"])),
        record(field({"type": "long", "logicalType": "timestamp-micros"}, default=1)),
        record(field({"type": "long", "x-eventbus": {"minimum": 0}}, default=1)),
        record(field("long", default=1), aliases=["S"]),
        record(field("long", default=1), namespace="n"),
    ],
)
def test_what_a_reader_treats_differently_is_another_schema(changed: Any) -> None:
    assert canonical(changed) != canonical(record(field("long", default=1)))


def test_the_canonical_text_is_a_schema_with_the_same_canonical_text() -> None:
    schema = record(
        field(ENUM), field(FIXED, "f"), field(["null", "E", "R"], "u"), namespace="a.b", doc="x"
    )
    assert canonical(json.loads(canonical(schema))) == canonical(schema)
