"""The rules of Avro's schema resolution, one by one, and where we are stricter."""

from __future__ import annotations

import time
from typing import Any

import pytest

from eventbus.contracts import check_compatibility, check_evolution
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import InvalidSchema


def differences(reader: Any, writer: Any) -> list[tuple[str, str]]:
    found = check_compatibility(reader=reader, writer=writer, format="avro").differences
    return [(one.kind, one.path) for one in found]


def record(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def field(type_: Any, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def fixed(size: int, **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size, **more}


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def logical(type_: str, name: str) -> dict[str, Any]:
    return {"type": type_, "logicalType": name}


LIST = record(field("long"), field(["null", "R"], "next"))
TREE = record(field({"type": "array", "items": "R"}, "children"))

COMPATIBLE = {
    "the same": (record(field("long")), record(field("long"))),
    "int to long": ("long", "int"),
    "int to float": ("float", "int"),
    "int to double": ("double", "int"),
    "long to float": ("float", "long"),
    "long to double": ("double", "long"),
    "float to double": ("double", "float"),
    "string to bytes": ("bytes", "string"),
    "bytes to string": ("string", "bytes"),
    "promotion in an array": (
        {"type": "array", "items": "long"},
        {"type": "array", "items": "int"},
    ),
    "promotion in a map": ({"type": "map", "values": "double"}, {"type": "map", "values": "int"}),
    "a field more in the writer": (record(), record(field("long"))),
    "a field with a default more in the reader": (record(field("long", default=1)), record()),
    "fields in another order": (
        record(field("long"), field("string", "b")),
        record(field("string", "b"), field("long")),
    ),
    "a renamed field with an alias": (
        record(field("long", "b", aliases=["a"])),
        record(field("long")),
    ),
    "a renamed record with an alias": (
        {"type": "record", "name": "S", "aliases": ["R"], "fields": []},
        record(),
    ),
    "an alias relative to the namespace": (
        {"type": "record", "name": "n.S", "aliases": ["R"], "fields": []},
        record(namespace="n"),
    ),
    "another namespace": (record(namespace="one"), record(namespace="other")),
    "a union around it": (["null", "long"], "long"),
    "a union around a promotion": (["null", "double"], "int"),
    "a union of one, read as its type": ("long", ["long"]),
    "a writer's union whose branches all promote": ("double", ["int", "long"]),
    "a union with more branches": (["null", "long", "string"], ["long", "null"]),
    "a writer's union of nothing": ("long", []),
    "a symbol more in the reader": (enum("A", "B"), enum("A")),
    "a symbol less, with a default": (enum("A", default="A"), enum("A", "B")),
    "the same fixed": (fixed(4), fixed(4)),
    "a list that contains itself": (LIST, LIST),
    "a tree that contains itself": (TREE, TREE),
    "other documentation": (record(doc="new"), record(doc="old")),
    "the same decimal": (decimal(9, 2), decimal(9, 2)),
}

INCOMPATIBLE = {
    "long to int": ("int", "long", "TYPE_MISMATCH", ""),
    "double to float": ("float", "double", "TYPE_MISMATCH", ""),
    "string to int": ("int", "string", "TYPE_MISMATCH", ""),
    "boolean to int": ("int", "boolean", "TYPE_MISMATCH", ""),
    "array to map": (
        {"type": "map", "values": "int"},
        {"type": "array", "items": "int"},
        "TYPE_MISMATCH",
        "",
    ),
    "items": (
        {"type": "array", "items": "int"},
        {"type": "array", "items": "string"},
        "TYPE_MISMATCH",
        "/items",
    ),
    "values": (
        {"type": "map", "values": "int"},
        {"type": "map", "values": "string"},
        "TYPE_MISMATCH",
        "/values",
    ),
    "a field without a default more in the reader": (
        record(field("long", "b", default=0), field("long")),
        record(),
        "READER_FIELD_MISSING_DEFAULT_VALUE",
        "/fields/1",
    ),
    "a nullable field has no default by itself": (
        record(field(["null", "long"])),
        record(),
        "READER_FIELD_MISSING_DEFAULT_VALUE",
        "/fields/0",
    ),
    "an alias of the writer's": (
        record(field("long")),
        record(field("long", "b", aliases=["a"])),
        "READER_FIELD_MISSING_DEFAULT_VALUE",
        "/fields/0",
    ),
    "a field's type": (
        record(field("int")),
        record(field("string")),
        "TYPE_MISMATCH",
        "/fields/0/type",
    ),
    "another record": (
        record(),
        {"type": "record", "name": "S", "fields": []},
        "NAME_MISMATCH",
        "/name",
    ),
    "an alias in another namespace": (
        {"type": "record", "name": "n.S", "aliases": ["R"], "fields": []},
        record(namespace="m"),
        "NAME_MISMATCH",
        "/name",
    ),
    "another enum": (
        enum("A"),
        {"type": "enum", "name": "G", "symbols": ["A"]},
        "NAME_MISMATCH",
        "/name",
    ),
    "a symbol less": (enum("A"), enum("A", "B"), "MISSING_ENUM_SYMBOLS", "/symbols"),
    "a symbol less, with a default of the writer's": (
        enum("A"),
        enum("A", "B", default="A"),
        "MISSING_ENUM_SYMBOLS",
        "/symbols",
    ),
    "another size": (fixed(4), fixed(8), "FIXED_SIZE_MISMATCH", "/size"),
    "null no more": ("long", ["null", "long"], "TYPE_MISMATCH", ""),
    "a branch less": (["null", "long"], ["null", "long", "string"], "MISSING_UNION_BRANCH", ""),
    "no branch at all": ([], "long", "MISSING_UNION_BRANCH", ""),
    "no branch": (["null", "string"], "long", "MISSING_UNION_BRANCH", ""),
    "a branch of another size": (["null", fixed(4)], fixed(8), "MISSING_UNION_BRANCH", ""),
    "inside a branch": (
        ["null", record(field("int"))],
        record(field("string")),
        "TYPE_MISMATCH",
        "/1/fields/0/type",
    ),
    "inside itself": (
        record(field(["null", "R"], "next"), field("int")),
        record(field(["null", "R"], "next"), field("string")),
        "TYPE_MISMATCH",
        "/fields/1/type",
    ),
    # Stricter than the rules of resolution:
    "a logical type more": (
        logical("long", "timestamp-micros"),
        "long",
        "LOGICAL_TYPE_CHANGED",
        "",
    ),
    "a logical type less": ("string", logical("string", "uuid"), "LOGICAL_TYPE_CHANGED", ""),
    "milliseconds to microseconds": (
        logical("long", "timestamp-micros"),
        logical("long", "timestamp-millis"),
        "LOGICAL_TYPE_CHANGED",
        "",
    ),
    "a day promoted to a moment": (
        logical("long", "timestamp-micros"),
        logical("int", "date"),
        "LOGICAL_TYPE_CHANGED",
        "",
    ),
    "a logical type that nobody knows": (
        logical("string", "email"),
        "string",
        "LOGICAL_TYPE_CHANGED",
        "",
    ),
    "the first branch that matches is another logical type": (
        [logical("long", "timestamp-micros"), logical("int", "date")],
        logical("int", "date"),
        "LOGICAL_TYPE_CHANGED",
        "/0",
    ),
    "scale": (decimal(9, 3), decimal(9, 2), "DECIMAL_SCALE_CHANGED", ""),
    "more precision": (decimal(10, 2), decimal(9, 2), "DECIMAL_PRECISION_CHANGED", ""),
    "less precision": (decimal(8, 2), decimal(9, 2), "DECIMAL_PRECISION_CHANGED", ""),
    "decimal to bytes": ("bytes", decimal(9, 2), "LOGICAL_TYPE_CHANGED", ""),
    "both names of a renamed field": (
        record(field("long", "b", aliases=["a"])),
        record(field("long"), field("long", "b")),
        "AMBIGUOUS_ALIAS",
        "/fields/0",
    ),
}


@pytest.mark.parametrize(("reader", "writer"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_a_reader_reads_what_resolves(reader: Any, writer: Any) -> None:
    assert differences(reader, writer) == []


@pytest.mark.parametrize(
    ("reader", "writer", "kind", "path"), INCOMPATIBLE.values(), ids=INCOMPATIBLE
)
def test_a_difference_says_what_and_where(reader: Any, writer: Any, kind: str, path: str) -> None:
    assert differences(reader, writer) == [(kind, path)]


def test_all_differences_are_told_in_the_order_of_the_schema() -> None:
    reader = record(*(field("int", f"f{n}") for n in range(12)))
    writer = record(*(field("string", f"f{n}") for n in range(12)))
    assert [path for _, path in differences(reader, writer)] == [
        f"/fields/{n}/type" for n in range(12)
    ]


def test_a_type_named_again_is_told_where_it_is_defined() -> None:
    reader = record(field(enum("A")), field("E", "b"))
    writer = record(field(enum("A", "B")), field("E", "b"))
    assert differences(reader, writer) == [("MISSING_ENUM_SYMBOLS", "/fields/0/type/symbols")]


def test_a_wrong_type_is_told_where_it_is_used() -> None:
    reader = record(field(enum("A")), field("E", "b"))
    writer = record(field(enum("A")), field("string", "b"))
    assert differences(reader, writer) == [("TYPE_MISMATCH", "/fields/1/type")]


def test_what_recursion_assumes_it_does_not_take_for_granted() -> None:
    """The pair (S, S) is first met inside R, under the assumption that (R, R) resolves."""
    inner = {"type": "record", "name": "S", "fields": [field(["null", "R"], "r")]}
    reader = record(field(inner, "s"), field("int", "x"))
    writer = record(field(inner, "s"), field("string", "x"))
    assert differences(reader, writer) == [("TYPE_MISMATCH", "/fields/1/type")]


def test_a_bound_of_a_derived_contract_that_becomes_narrower_is_told() -> None:
    def text(**bounds: Any) -> dict[str, Any]:
        return {"type": "string", "x-eventbus": bounds}

    assert differences(text(maxLength=5), text(maxLength=10)) == [
        ("BOUND_NARROWED", "/x-eventbus/maxLength")
    ]
    assert differences(text(maxLength=5), "string")
    assert differences(text(minLength=2), text(minLength=1))
    assert differences(text(enum=["a"]), text(enum=["a", "b"]))
    assert differences(text(pattern="^a"), text(pattern="^b"))
    assert differences(text(unknown=1), text())
    assert not differences(text(maxLength=10), text(maxLength=5))
    assert not differences("string", text(maxLength=5))
    assert not differences(text(enum=["a", "b"]), text(enum=["a"]))
    assert not differences(text(pattern="^a"), text(pattern="^a"))


def test_bounds_of_numbers_are_compared_as_numbers() -> None:
    def number(**bounds: Any) -> dict[str, Any]:
        return {"type": "long", "x-eventbus": bounds}

    assert not differences(number(minimum=9), number(minimum=10))
    assert not differences(number(minimum=5), number(exclusiveMinimum=5))
    assert differences(number(exclusiveMinimum=5), number(minimum=5))
    assert not differences(number(maximum="10.00"), number(maximum="9.5"))
    assert differences(number(maximum="9"), number(maximum="10"))
    assert differences(number(maximum="NaN"), number(maximum="x"))


def test_a_symbol_that_means_another_value_is_told() -> None:
    reader = enum("ONE", **{"x-eventbus": {"values": [1]}})
    writer = enum("ONE", **{"x-eventbus": {"values": [11]}})
    assert differences(reader, writer) == [("ENUM_VALUE_CHANGED", "/symbols/0")]


def test_a_history_names_version_and_direction() -> None:
    old, new = record(field("long")), record(field("long"), field("string", "b"))
    found = check_evolution(new=new, previous=[old, new], mode="FULL_TRANSITIVE", format="avro")
    assert [(one.kind, one.version, one.direction) for one in found.differences] == [
        ("READER_FIELD_MISSING_DEFAULT_VALUE", 1, "backward")
    ]


def test_types_of_other_schemas_are_resolved_by_reference() -> None:
    address = (
        '{"type": "record", "name": "geo.Address", "fields": [{"name": "city", "type": "%s"}]}'
    )
    text = '{"type": "record", "name": "R", "fields": [{"name": "to", "type": "geo.Address"}]}'
    reader = Schema(Format.AVRO, text, {"geo.Address": address % "string"})
    writer = Schema(Format.AVRO, text, {"geo.Address": address % "long"})
    assert differences(reader, reader) == []
    assert differences(reader, writer) == [("TYPE_MISMATCH", "/fields/0/type/fields/0/type")]


def test_references_in_a_circle_are_refused() -> None:
    text = '{"type": "record", "name": "%s", "fields": [{"name": "x", "type": "%s"}]}'
    schema = Schema(
        Format.AVRO, text % ("R", "A"), {"A": text % ("A", "B"), "B": text % ("B", "C")}
    )
    with pytest.raises(InvalidSchema, match="C"):
        check_compatibility(reader=schema, writer=schema, format="avro")
    round_about = Schema(Format.AVRO, '"A"', {"A": '["null", "B"]', "B": '["null", "A"]'})
    with pytest.raises(InvalidSchema, match="refers to"):
        check_compatibility(reader=round_about, writer=round_about, format="avro")


def test_a_comparison_of_many_pairs_is_given_up_as_incompatible() -> None:
    def wide(prefix: str) -> list[Any]:
        return [
            {"type": "record", "name": f"{prefix}{n}.R", "fields": [field("long")]}
            for n in range(1500)
        ]

    begun = time.monotonic()
    found = differences(wide("a"), wide("b"))
    assert found[0][0] == "TOO_COMPLEX"
    assert time.monotonic() - begun < 5
