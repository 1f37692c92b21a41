"""Pairs of schemas: whether the reader accepts all that the writer may write, and why not."""

from __future__ import annotations

import inspect
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from eventbus.contracts import check_compatibility

DRAFT_07 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019_09 = "https://json-schema.org/draft/2019-09/schema"


def object_of(*needed: str, closed: bool = False, **properties: Any) -> dict[str, Any]:
    """An object with these properties, of which some are needed."""
    made: dict[str, Any] = {"type": "object", "properties": properties}
    if needed:
        made["required"] = list(needed)
    if closed:
        made["additionalProperties"] = False
    return made


def tree(value: Any, name: str = "tree", **more: Any) -> dict[str, Any]:
    """A recursive schema: a value, and children of the same kind."""
    children = {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}
    node = {**object_of("value", value=value, children=children), **more}
    return {"$ref": f"#/$defs/{name}", "$defs": {name: node}}


STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}

#: Reader, writer.
COMPATIBLE: dict[str, tuple[Any, Any]] = {
    "an integer is a number": (NUMBER, INTEGER),
    "1.0 is an integer": (INTEGER, {"const": 1.0}),
    "1 is 1.0": ({"enum": [1.0]}, {"const": 1}),
    "big integers are exact": ({"maximum": 2**64 + 1}, {"type": "integer", "maximum": 2**64}),
    "anything": (True, {"type": "array"}),
    "an empty schema accepts anything": ({}, True),
    "nothing is written": ({"type": "string"}, False),
    "an empty enumeration writes nothing": (STRING, {"enum": []}),
    "contradictory bounds write nothing": (STRING, {**NUMBER, "minimum": 2, "maximum": 1}),
    "a needed property that nothing fits writes nothing": (STRING, object_of("a", a=False)),
    "no integer lies between": (STRING, {**INTEGER, "exclusiveMinimum": 1, "exclusiveMaximum": 2}),
    "properties say nothing of others": (
        object_of(a=STRING) | {"type": ["object", "null"]},
        {"type": "null"},
    ),
    "minLength says nothing of numbers": ({"minLength": 5}, INTEGER),
    "a type less": ({"type": ["string", "null"]}, STRING),
    "types as a union": ({"anyOf": [STRING, {"type": "null"}]}, {"type": ["null", "string"]}),
    "a union as types": ({"type": ["null", "string"]}, {"anyOf": [{"type": "null"}, STRING]}),
    "all types are no limit": (
        {"type": ["null", "boolean", "number", "string", "array", "object"]},
        True,
    ),
    "boolean is true or false": ({"enum": [True, False]}, {"type": "boolean"}),
    "bounds inside bounds": (
        {"minimum": 0, "maximum": 10},
        {**NUMBER, "minimum": 1, "maximum": 9.5},
    ),
    "an exclusive bound is inside": ({"minimum": 1}, {"exclusiveMinimum": 1}),
    "an integer above 0 is at least 1": ({"minimum": 1}, {**INTEGER, "exclusiveMinimum": 0}),
    "integers in a range as values": ({"enum": [1, 2, 3]}, {**INTEGER, "minimum": 1, "maximum": 3}),
    "many integers in a range as values": (
        {"enum": list(range(5000))},
        {**INTEGER, "minimum": 0, "maximum": 4999},
    ),
    "multiples of a multiple": ({"multipleOf": 3}, {"multipleOf": 6}),
    "multiples of two numbers": (
        {"multipleOf": 6},
        {"allOf": [{"multipleOf": 2}, {"multipleOf": 3}]},
    ),
    "integers are multiples of a half": ({"multipleOf": 0.5}, INTEGER),
    "hundredths are half hundredths": ({"multipleOf": 0.005}, {"multipleOf": 0.01}),
    "a length inside": (
        {"minLength": 1, "maxLength": 9},
        {**STRING, "minLength": 2, "maxLength": 9},
    ),
    "the empty text": ({"maxLength": 0}, {"const": ""}),
    "code points are counted": ({"maxLength": 1}, {"const": "😀"}),
    "the same pattern": ({"pattern": "^(?=.*a).*$"}, {**STRING, "pattern": "^(?=.*a).*$"}),
    "a pattern inside": ({"pattern": "^[a-z]+$"}, {**STRING, "pattern": "^(foo|bar){1,3}$"}),
    "an unanchored pattern": ({"pattern": "a"}, {**STRING, "pattern": "^xay"}),
    "values that match": ({"pattern": "^[A-Z]{3}$"}, {"enum": ["EUR", "USD"]}),
    "a format is an annotation": (STRING | {"format": "uuid"}, STRING),
    "unknown keywords say nothing": (
        STRING | {"x-unit": "EUR", "contentEncoding": "base64"},
        STRING,
    ),
    "an optional property more": (
        object_of("a", a=STRING, b=INTEGER),
        object_of("a", a=STRING, b=INTEGER),
    ),
    "an open reader": (
        object_of("a", a=STRING),
        object_of("a", "b", a=STRING, b=INTEGER, closed=True),
    ),
    "needed becomes optional": (object_of(a=STRING), object_of("a", a=STRING)),
    "a closed reader with all of them": (
        object_of(a={}, b={}, closed=True),
        object_of(a={}, closed=True),
    ),
    "a property that nothing fits is never there": (
        object_of(a={}, closed=True),
        object_of(a={}, b=False, closed=True),
    ),
    "patterns of names": (
        {"patternProperties": {"^x": STRING}},
        object_of(xa=STRING, b=INTEGER, closed=True),
    ),
    "names that a pattern covers": (
        {"patternProperties": {"^x-": {}}, "additionalProperties": False},
        {"type": "object", "patternProperties": {"^x-[a-z]+$": {}}, "additionalProperties": False},
    ),
    "names of properties": (
        {"propertyNames": {"maxLength": 2}},
        {"type": "object", "propertyNames": {"enum": ["a", "bb"]}},
    ),
    "few names, few properties": (
        {"maxProperties": 2},
        object_of(a={}, b={}, closed=True),
    ),
    "needed properties are a number of them": ({"minProperties": 2}, object_of("a", "b")),
    "needs follow from needs": (
        {"dependentRequired": {"a": ["c"]}},
        {"type": "object", "dependentRequired": {"a": ["b"], "b": ["c"]}},
    ),
    "needed anyway": ({"dependentRequired": {"a": ["b"]}}, object_of("b")),
    "a dependent schema": (
        {"dependentSchemas": {"a": {"properties": {"b": STRING}}}},
        object_of(b=STRING),
    ),
    "dependencies of draft-07": (
        {"$schema": DRAFT_07, "dependencies": {"a": ["b"], "c": {"required": ["b"]}}},
        object_of("b"),
    ),
    "items": ({"items": NUMBER}, {"type": "array", "items": INTEGER}),
    "items of a tuple": (
        {"items": NUMBER},
        {"type": "array", "prefixItems": [INTEGER, NUMBER], "items": False},
    ),
    "a tuple in draft-07 and in 2020-12": (
        {"prefixItems": [STRING, INTEGER], "items": False},
        {
            "$schema": DRAFT_07,
            "type": "array",
            "items": [STRING, INTEGER],
            "additionalItems": False,
        },
    ),
    "a tuple's length": (
        {"maxItems": 2},
        {"type": "array", "prefixItems": [{}, {}], "items": False},
    ),
    "an item that nothing fits ends the array": (
        {"maxItems": 1},
        {"type": "array", "prefixItems": [{}, False]},
    ),
    "contained in any case": (
        {"contains": INTEGER},
        {"type": "array", "minItems": 1, "items": INTEGER},
    ),
    "contained at an index": (
        {"contains": INTEGER},
        {"type": "array", "minItems": 2, "prefixItems": [{}, INTEGER]},
    ),
    "contained less strictly": (
        {"contains": NUMBER},
        {"type": "array", "contains": INTEGER, "minContains": 2},
    ),
    "at most so many are contained": (
        {"contains": STRING, "maxContains": 3, "minContains": 0},
        {"type": "array", "maxItems": 3},
    ),
    "minContains 0 demands nothing": ({"contains": INTEGER, "minContains": 0}, {"type": "array"}),
    "minContains is unknown to draft-07": (
        {"$schema": DRAFT_07, "contains": INTEGER, "minContains": 5},
        {"type": "array", "minItems": 1, "items": INTEGER},
    ),
    "one item is unique": ({"uniqueItems": True}, {"type": "array", "maxItems": 1}),
    "items that cannot be equal are unique": (
        {"uniqueItems": True},
        {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}, STRING], "maxItems": 3},
    ),
    "few values, few unique items": (
        {"maxItems": 2},
        {"type": "array", "items": {"enum": [1, 2, 1.0]}, "uniqueItems": True},
    ),
    "all of": ({"allOf": [STRING, {"maxLength": 5}]}, STRING | {"maxLength": 4}),
    "a branch of the reader": ({"anyOf": [STRING, INTEGER]}, {"enum": ["a", 1]}),
    "branches by a property": (
        {"anyOf": [object_of("k", k={"const": 1}), object_of("k", k={"const": 2})]},
        object_of("k", k={"enum": [1, 2]}),
    ),
    "a property of two branches": (
        {"anyOf": [object_of(a=STRING), object_of(a=INTEGER)]},
        object_of(a={"type": ["string", "integer"]}),
    ),
    "exclusive branches": (
        {"oneOf": [STRING, INTEGER, {"type": "null"}]},
        {"oneOf": [INTEGER, STRING]},
    ),
    "a tagged union with one more": (
        {"oneOf": [object_of("k", k={"const": k}, v=NUMBER) for k in "abcde"]},
        {"oneOf": [object_of("k", k={"const": k}, v=INTEGER) for k in "abcd"]},
    ),
    "not": ({"not": STRING}, INTEGER),
    "not twice": ({"not": {"not": STRING}}, STRING),
    "not a value": ({"not": {"const": 3}}, {"enum": [1, 2]}),
    "the condition does not apply": (
        {"if": {"properties": {"k": {"const": 1}}, "required": ["k"]}, "then": {"required": ["x"]}},
        object_of("k", k={"const": 2}),
    ),
    "the condition applies": (
        {"if": object_of("k", k={"const": 1}), "then": {"required": ["x"]}, "else": False},
        object_of("k", "x", k={"const": 1}),
    ),
    "then without if says nothing": ({"then": False, "else": False}, STRING),
    "recursion": (tree(NUMBER), tree(INTEGER)),
    "recursion under another name": (tree(NUMBER, "node"), tree(INTEGER)),
    "recursion unrolled once": (
        tree(NUMBER),
        object_of(
            "value", value=INTEGER, children={"type": "array", "items": {"$ref": "#/$defs/tree"}}
        )
        | {"$defs": tree(INTEGER)["$defs"]},
    ),
    "a recursion without an end writes nothing": (
        STRING,
        {"$ref": "#/$defs/a", "$defs": {"a": object_of("a", a={"$ref": "#/$defs/a"})}},
    ),
    "mutual recursion": (
        {
            "$ref": "#/$defs/a",
            "$defs": {
                "a": {"type": ["array", "null"], "items": {"$ref": "#/$defs/b"}},
                "b": {"type": ["array", "null"], "items": {"$ref": "#/$defs/a"}},
            },
        },
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"type": ["array", "null"], "items": {"$ref": "#/$defs/a"}}},
        },
    ),
    "what stands beside $ref in draft-07 is ignored": (
        {
            "$schema": DRAFT_07,
            "$ref": "#/definitions/s",
            "maxLength": 1,
            "definitions": {"s": STRING},
        },
        STRING,
    ),
    "an anchor": ({"$ref": "#s", "$defs": {"s": STRING | {"$anchor": "s"}}}, STRING),
    "an $id as anchor in draft-07": (
        {"$schema": DRAFT_07, "$ref": "#s", "definitions": {"s": STRING | {"$id": "#s"}}},
        STRING,
    ),
    "an embedded resource": (
        {"$id": "https://example.com/a", "$ref": "b", "$defs": {"b": STRING | {"$id": "b"}}},
        STRING,
    ),
    "a pointer with escapes": ({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": STRING}}, STRING),
    "a pointer to an unknown keyword": ({"$ref": "#/x-types/0", "x-types": [STRING]}, STRING),
    "unevaluated properties": (
        {
            "allOf": [object_of(a=STRING)],
            "properties": {"b": STRING},
            "unevaluatedProperties": False,
        },
        object_of(a=STRING, b=STRING, closed=True),
    ),
    "unevaluated properties of a branch that holds": (
        {
            "oneOf": [object_of("k", k={"const": 1}, a={}), object_of("k", k={"const": 2}, b={})],
            "unevaluatedProperties": False,
        },
        object_of("k", k={"const": 1}, a={}, closed=True),
    ),
    "unevaluated properties of a writer": (
        object_of(a={}, b={}, closed=True),
        {
            "type": "object",
            "anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}],
            "unevaluatedProperties": False,
        },
    ),
    "unevaluated items": (
        {"allOf": [{"prefixItems": [{}]}], "unevaluatedItems": False},
        {"type": "array", "maxItems": 1},
    ),
    "unevaluated items that contains looked at": (
        {"contains": STRING, "unevaluatedItems": INTEGER},
        {"type": "array", "items": {"type": ["string", "integer"]}, "contains": STRING},
    ),
    "$recursiveRef": (
        {
            "$schema": DRAFT_2019_09,
            "$recursiveAnchor": True,
            "type": ["array", "null"],
            "items": {"$recursiveRef": "#"},
        },
        {"type": "array", "items": {"type": "null"}},
    ),
    "$dynamicRef to the outermost anchor": (
        {
            "$id": "https://example.com/strings",
            "$ref": "list",
            "$defs": {
                "element": {"$dynamicAnchor": "element", **STRING},
                "list": {
                    "$id": "list",
                    "type": "array",
                    "items": {"$dynamicRef": "#element"},
                    "$defs": {"any": {"$dynamicAnchor": "element"}},
                },
            },
        },
        {"type": "array", "items": STRING},
    ),
    "dependencies are no keyword of 2020-12, but both say the same": (
        {"dependencies": {"a": ["b"]}, "title": "x"},
        {"dependencies": {"a": ["b"]}},
    ),
}

INCOMPATIBLE: dict[str, tuple[Any, Any, str, str]] = {
    "a number is no integer": (INTEGER, NUMBER, "TYPE_NARROWED", "/type"),
    "another type": (INTEGER, STRING, "TYPE_CHANGED", "/type"),
    "false is not 0": ({"enum": [0]}, {"const": False}, "ENUM_VALUES_REMOVED", "/enum"),
    "true is not 1": ({"const": 1}, {"const": True}, "CONST_CHANGED", "/const"),
    '"1" is not 1': ({"const": 1}, {"const": "1"}, "CONST_CHANGED", "/const"),
    "[false] is not [0]": ({"const": [0]}, {"const": [False]}, "CONST_CHANGED", "/const"),
    "nothing is accepted": (False, STRING, "NOTHING_ACCEPTED", ""),
    "a missing type": (STRING, {"maxLength": 5}, "TYPE_NARROWED", "/type"),
    "properties without a type": (
        object_of(a=STRING),
        {"properties": {"a": STRING}},
        "TYPE_NARROWED",
        "/type",
    ),
    "a value less": ({"enum": ["a"]}, {"enum": ["a", "b"]}, "ENUM_VALUES_REMOVED", "/enum"),
    "values where anything was": ({"enum": ["a"]}, STRING, "ENUM_ADDED", "/enum"),
    "a lower maximum": ({"maximum": 9}, {**NUMBER, "maximum": 10}, "MAXIMUM_DECREASED", "/maximum"),
    "a minimum": ({"minimum": 0}, INTEGER, "MINIMUM_ADDED", "/minimum"),
    "an exclusive bound": (
        {"exclusiveMaximum": 5},
        {**NUMBER, "maximum": 5},
        "EXCLUSIVE_MAXIMUM_DECREASED",
        "/exclusiveMaximum",
    ),
    "big integers are not rounded": (
        {"maximum": 2**64},
        {**INTEGER, "maximum": 2**64 + 1},
        "MAXIMUM_DECREASED",
        "/maximum",
    ),
    "multiples": (
        {"multipleOf": 4},
        {**INTEGER, "multipleOf": 6},
        "MULTIPLE_OF_CHANGED",
        "/multipleOf",
    ),
    "a shorter text": (
        {"maxLength": 4},
        STRING | {"maxLength": 5},
        "MAX_LENGTH_DECREASED",
        "/maxLength",
    ),
    "a longer text": ({"minLength": 1}, STRING, "MIN_LENGTH_ADDED", "/minLength"),
    "a pattern": ({"pattern": "^a"}, STRING, "PATTERN_ADDED", "/pattern"),
    "a narrower pattern": (
        {"pattern": "^[a-y]$"},
        STRING | {"pattern": "^[a-z]$"},
        "PATTERN_CHANGED",
        "/pattern",
    ),
    "a property needed": (
        object_of("a", "b"),
        object_of("a"),
        "REQUIRED_PROPERTY_ADDED",
        "/required",
    ),
    "a property's type": (
        object_of(a=STRING),
        object_of(a=INTEGER),
        "TYPE_CHANGED",
        "/properties/a/type",
    ),
    "a property that was open": (
        object_of(a=STRING),
        object_of(),
        "TYPE_NARROWED",
        "/properties/a/type",
    ),
    "a property removed": (
        object_of(a={}, closed=True),
        object_of(a={}, b={}, closed=True),
        "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL",
        "/additionalProperties",
    ),
    "closed": (
        object_of(a={}, closed=True),
        object_of(a={}),
        "ADDITIONAL_PROPERTIES_REMOVED",
        "/additionalProperties",
    ),
    "a pattern overlaps a property": (
        {"properties": {"xa": {}}, "patternProperties": {"^x": STRING}},
        object_of(xa=INTEGER, closed=True),
        "TYPE_CHANGED",
        "/patternProperties/^x/type",
    ),
    "a name's pattern": (
        {"propertyNames": {"pattern": "^a"}},
        object_of(b={}, closed=True),
        "PROPERTY_NAMES_NARROWED",
        "/propertyNames",
    ),
    "fewer properties": (
        {"maxProperties": 1},
        object_of(a={}, b={}, closed=True),
        "MAX_PROPERTIES_ADDED",
        "/maxProperties",
    ),
    "a dependency": (
        {"dependentRequired": {"a": ["b"]}},
        object_of(a={}),
        "DEPENDENCY_ADDED",
        "/dependentRequired/a",
    ),
    "an item's type": (
        {"items": INTEGER},
        {"type": "array", "items": NUMBER},
        "TYPE_NARROWED",
        "/items/type",
    ),
    "an item's type in a tuple": (
        {"prefixItems": [{}, STRING]},
        {"type": "array", "prefixItems": [{}, INTEGER]},
        "TYPE_CHANGED",
        "/prefixItems/1/type",
    ),
    "an item less": (
        {"prefixItems": [{}], "items": False},
        {"type": "array", "prefixItems": [{}, {}], "items": False},
        "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL",
        "/items",
    ),
    "contains an item": (
        {"contains": INTEGER},
        {"type": "array", "items": INTEGER},
        "CONTAINS_ADDED",
        "/contains",
    ),
    "at most one is contained": (
        {"contains": INTEGER, "maxContains": 1},
        {"type": "array", "contains": INTEGER, "minItems": 2, "items": INTEGER},
        "MAX_CONTAINS_DECREASED",
        "/maxContains",
    ),
    "unique items": (
        {"uniqueItems": True},
        {"type": "array", "items": INTEGER},
        "UNIQUE_ITEMS_ADDED",
        "/uniqueItems",
    ),
    "a branch less": (
        {"anyOf": [STRING, INTEGER]},
        {"type": ["string", "integer", "null"]},
        "ANY_OF_NARROWED",
        "/anyOf",
    ),
    "two branches of oneOf": (
        {"oneOf": [INTEGER, {**NUMBER, "minimum": 5}]},
        INTEGER,
        "ONE_OF_NARROWED",
        "/oneOf",
    ),
    "oneOf whose overlap nobody sees": (
        {"oneOf": [object_of(a=STRING), object_of(b=STRING)]},
        object_of("a", a=STRING),
        "ONE_OF_NARROWED",
        "/oneOf",
    ),
    "a nested oneOf": (
        {"oneOf": [{"oneOf": [STRING, {"maxLength": 3}]}, STRING]},
        STRING,
        "ONE_OF_NARROWED",
        "/oneOf",
    ),
    "not": ({"not": STRING}, {"type": ["string", "null"]}, "NOT_EXTENDED", "/not"),
    "a condition": (
        {"if": object_of("k", k={"const": 1}), "then": {"required": ["x"]}},
        object_of("k", k={"enum": [1, 2]}),
        "REQUIRED_PROPERTY_ADDED",
        "/then/required",
    ),
    "inside one branch of the reader": (
        object_of(a={"anyOf": [STRING | {"maxLength": 3}, {"type": "null"}]}),
        object_of(a={"anyOf": [STRING, {"type": "null"}]}),
        "MAX_LENGTH_ADDED",
        "/properties/a/anyOf/0/maxLength",
    ),
    "recursion": (
        tree(INTEGER),
        tree(NUMBER),
        "TYPE_NARROWED",
        "/$defs/tree/properties/value/type",
    ),
    "deep in a recursion": (
        object_of(
            value={}, children={"items": object_of(children={"items": {"maxProperties": 1}})}
        ),
        tree({}),
        "MAX_PROPERTIES_ADDED",
        "/properties/children/items/properties/children/items/maxProperties",
    ),
    "a recursion of which the writer has another base": (
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"type": ["array", "null"], "items": {"$ref": "#/$defs/a"}}},
        },
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"type": ["array", "null", "string"], "items": {"$ref": "#/$defs/a"}}},
        },
        "TYPE_NARROWED",
        "/$defs/a/type",
    ),
    "beside $ref in 2020-12": (
        {"$ref": "#/$defs/s", "maxLength": 1, "$defs": {"s": STRING}},
        STRING,
        "MAX_LENGTH_ADDED",
        "/maxLength",
    ),
    "unevaluated properties": (
        {"allOf": [object_of(a=STRING)], "unevaluatedProperties": False},
        object_of(a=STRING, b=STRING, closed=True),
        "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL",
        "/unevaluatedProperties",
    ),
    "a branch that may not hold evaluates nothing": (
        {
            "type": "object",
            "anyOf": [True, object_of("a", a={}, b={})],
            "unevaluatedProperties": False,
        },
        object_of(b={}, closed=True),
        "ADDITIONAL_PROPERTIES_REMOVED",
        "/unevaluatedProperties",
    ),
    "$dynamicRef to the outermost anchor": (
        {
            "$id": "https://example.com/strings",
            "$ref": "list",
            "$defs": {
                "element": {"$dynamicAnchor": "element", **STRING},
                "list": {
                    "$id": "list",
                    "type": "array",
                    "items": {"$dynamicRef": "#element"},
                    "$defs": {"any": {"$dynamicAnchor": "element"}},
                },
            },
        },
        {"type": "array", "items": INTEGER},
        "TYPE_CHANGED",
        "/$defs/element/type",
    ),
}

#: What is refused because it cannot be told, or because validators differ.
UNDECIDED: dict[str, tuple[Any, Any]] = {
    "a look-ahead": ({"pattern": "^(?!x)a"}, STRING | {"pattern": "^ab"}),
    "\\d is more in Python": ({"pattern": "^[0-9]$"}, STRING | {"pattern": "^\\d$"}),
    "$ lets Python accept a line feed": ({"maxLength": 1}, STRING | {"pattern": "^a$"}),
    "fractions are divided in many ways": ({"multipleOf": 0.01}, {"multipleOf": 0.1}),
    "an integer is a multiple of 0.1 for some": ({"multipleOf": 0.1}, INTEGER),
    "0.3 is a multiple of 0.1 for some": ({"multipleOf": 0.1}, {"const": 0.3}),
    "dependencies are checked by some validators of 2020-12": (
        {"dependencies": {"a": ["b"]}},
        object_of(a={}),
    ),
    "and not by others": (object_of("b"), object_of("a") | {"dependencies": {"a": ["b"]}}),
    "contains in 2019-09": (
        {"$schema": DRAFT_2019_09, "contains": STRING, "unevaluatedItems": False},
        {"type": "array", "items": STRING, "minItems": 1},
    ),
}


@pytest.mark.parametrize(("reader", "writer"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_a_reader_that_accepts_all_is_compatible(reader: Any, writer: Any) -> None:
    found = check_compatibility(reader=reader, writer=writer, format="json")
    assert found.differences == ()


@pytest.mark.parametrize(
    ("reader", "writer", "kind", "path"), INCOMPATIBLE.values(), ids=INCOMPATIBLE
)
def test_a_difference_has_a_kind_and_a_path_into_the_reader(
    reader: Any, writer: Any, kind: str, path: str
) -> None:
    found = check_compatibility(reader=reader, writer=writer, format="json")
    assert (kind, path) in [(one.kind, one.path) for one in found.differences]
    assert not found.compatible


@pytest.mark.parametrize(("reader", "writer"), UNDECIDED.values(), ids=UNDECIDED)
def test_what_cannot_be_told_is_incompatible(reader: Any, writer: Any) -> None:
    assert not check_compatibility(reader=reader, writer=writer, format="json").compatible


@pytest.mark.parametrize("schema", [pair[0] for pair in COMPATIBLE.values()], ids=COMPATIBLE)
def test_a_schema_reads_what_it_writes(schema: Any) -> None:
    titled = {**schema, "title": "the same"} if isinstance(schema, dict) else schema
    assert check_compatibility(reader=titled, writer=schema, format="json").compatible


def test_threads_may_compare_the_same_new_schemas_at_once() -> None:
    recursive = [
        ({"title": str(n), **tree(NUMBER)}, {"title": str(n), **tree(INTEGER)}) for n in range(150)
    ]

    def compare_all(_: int) -> list[bool]:
        return [
            check_compatibility(reader=reader, writer=writer, format="json").compatible
            for reader, writer in recursive
        ]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(compare_all, range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert all(all(answers) for answers in found)


def test_a_comparison_far_down_the_stack_is_given_up_and_not_broken_off() -> None:
    deep: Any = INTEGER
    for _ in range(14):
        deep = {"anyOf": [object_of("a", a=deep), {"type": "null"}]}
    wider = {"anyOf": [deep, STRING]}
    depth = len(inspect.stack())

    def descend(levels: int, reader: Any) -> Any:
        if levels:
            return descend(levels - 1, reader)
        return check_compatibility(reader=reader, writer=deep, format="json")

    kinds = set()
    for spare in range(120, 420, 20):
        levels = sys.getrecursionlimit() - depth - spare
        # Nothing of this one is known from before.
        found = descend(levels, {"title": str(spare), **wider, "not": {"const": spare}})
        kinds |= {one.kind for one in found.differences} or {"compatible"}
    assert "UNDECIDED" in kinds
    assert kinds <= {"UNDECIDED", "NOT_EXTENDED", "compatible"}
