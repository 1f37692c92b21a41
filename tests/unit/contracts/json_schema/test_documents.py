"""What is no JSON Schema, and what would take too long, is refused quickly and clearly."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from eventbus.contracts import check_compatibility
from eventbus.contracts.json_schema import SUPPORT
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import InvalidSchema

#: A slow machine that does nine other things is still well below it.
MAX_SECONDS = 5.0


def check(schema: Any) -> None:
    """Check a JSON value, or a text."""
    SUPPORT.check(Schema.of(schema, "json"))


def nested(levels: int, keyword: str = "not") -> dict[str, Any]:
    """Schemas inside each other."""
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {keyword: schema}
    return schema


REFUSED: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "not JSON"),
    "a number": ("3", "object or a boolean"),
    "a list": ("[]", "object or a boolean"),
    "NaN": ('{"minimum": NaN}', "NaN"),
    "a number beyond a double": ('{"minimum": 1e999}', "1e999"),
    "an integer of 10,000 digits": ('{"minimum": ' + "1" * 10_000 + "}", "digits"),
    "a name twice": ('{"type": "string", "type": "null"}', "twice"),
    "nested 100,000 levels": ("[" * 100_000, "levels deep"),
    "nested 100,000 objects": ('{"not":' * 100_000 + "{}" + "}" * 100_000, "levels deep"),
    "nested 70 levels": (nested(70), "levels deep"),
    "too many values": ({"enum": [[0] * 1000] * 101}, "values"),
    "a huge enumeration": ({"enum": list(range(10_001))}, "10,000 values"),
    "more than a megabyte": ({"title": "x" * 1_100_000}, "bytes"),
    "another draft": ({"$schema": "http://json-schema.org/draft-04/schema#"}, "draft-04"),
    "$schema of another type": ({"$schema": 7}, "$schema"),
    "exclusiveMinimum of draft-04": ({"minimum": 1, "exclusiveMinimum": True}, "draft-04"),
    "a list of items in 2020-12": ({"items": [{}]}, "prefixItems"),
    "an unknown type": ({"type": "text"}, "type at the root must be one of"),
    "no type": ({"type": []}, "type"),
    "properties as a list": ({"properties": []}, "properties"),
    "a property that is no schema": ({"properties": {"a": "string"}}, "properties"),
    "required as a boolean": ({"properties": {"a": {"required": True}}}, "/properties/a"),
    "a negative length": ({"maxLength": -1}, "maxLength"),
    "half a length": ({"maxLength": 0.5}, "maxLength"),
    "a length as text": ({"maxLength": "5"}, "maxLength"),
    "multipleOf 0": ({"multipleOf": 0}, "above 0"),
    "an empty anyOf": ({"anyOf": []}, "anyOf"),
    "not as a list": ({"not": []}, "not"),
    "an unfinished pattern": ({"pattern": "a("}, "pattern"),
    "a pattern of names": ({"patternProperties": {"[": {}}}, "pattern"),
    "nothing to repeat": ({"pattern": "*a"}, "repeat"),
    "a range the wrong way": ({"pattern": "[z-a]"}, "wrong way"),
    "(a+)+$": ({"pattern": "(a+)+$"}, "exponential time"),
    "^(\\w+\\s?)*$": ({"pattern": "^(\\w+\\s?)*$"}, "exponential time"),
    "(a|a)*b": ({"pattern": "(a|a)*b"}, "exponential time"),
    "(a|b|ab)*c": ({"pattern": "(a|b|ab)*c"}, "exponential time"),
    "(.*,)*x": ({"pattern": "(.*,)*x"}, "exponential time"),
    "([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*@": (
        {"pattern": "^([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*@"},
        "exponential time",
    ),
    "(a{1,30}){1,30}b": ({"pattern": "(a{1,30}){1,30}b"}, "exponential time"),
    "in a look-ahead": ({"pattern": "(?=(a*)*b)"}, "exponential time"),
    "a pattern of groups": ({"pattern": "(" * 2_000 + ")" * 2_000}, "deep"),
    "a pattern of 10,000 characters": ({"pattern": "a" * 10_000}, "characters"),
    "a repetition without bounds": ({"pattern": "a{999999}"}, "repeats"),
    "a $ref over http": ({"$ref": "http://127.0.0.1:1/s.json"}, "not fetched"),
    "a $ref to a file": ({"$ref": "file:///etc/passwd"}, "not fetched"),
    "a $ref to a path": ({"$ref": "../../etc/passwd"}, "not fetched"),
    "a $ref to the meta-schema": (
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        "not fetched",
    ),
    "a $ref that is no URI": ({"$ref": "http://[::1"}, "no URI"),
    "a $ref to nothing": ({"$ref": "#/$defs/x"}, "leads nowhere"),
    "a $ref to an unknown anchor": ({"$ref": "#x"}, "no such anchor"),
    "a $ref to no schema": ({"$ref": "#/title", "title": "x"}, "no schema"),
    "a $ref as an object": ({"$ref": {}}, "$ref"),
    "a $ref to itself": ({"$ref": "#"}, "back to itself"),
    "a circle of $ref": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        "back to itself",
    ),
    "a circle through allOf": (
        {"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}},
        "itself",
    ),
    "a circle through not": ({"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "itself"),
    "a circle through if": ({"if": {"$ref": "#"}}, "itself"),
    "a circle through a dynamic reference": (
        {"$dynamicAnchor": "n", "anyOf": [{"$dynamicRef": "#n"}, {}]},
        "itself",
    ),
    "a circle of a recursive reference": (
        {
            "$schema": "https://json-schema.org/draft/2019-09/schema",
            "allOf": [{"$recursiveRef": "#"}],
        },
        "itself",
    ),
    "two schemas of one $id": (
        {"$defs": {"a": {"$id": "http://x/a"}, "b": {"$id": "http://x/a"}}},
        "two schemas",
    ),
    "two anchors of one name": (
        {"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}},
        "two places",
    ),
    "an anchor of odd letters": ({"$anchor": "a b"}, "$anchor"),
    "an $id with a fragment": ({"$id": "http://x/a#b"}, "fragment"),
}


@pytest.mark.parametrize(("schema", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_schema_is_refused_and_the_text_says_why(schema: Any, said: str) -> None:
    began = time.perf_counter()
    with pytest.raises(InvalidSchema) as refused:
        check(schema)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 1_000
    assert time.perf_counter() - began < MAX_SECONDS


GOOD_PATTERNS = [
    "^[a-z]+(\\.[a-z]+)*$",
    "^(25[0-5]|2[0-4]\\d|1?\\d?\\d)(\\.(25[0-5]|2[0-4]\\d|1?\\d?\\d)){3}$",
    "^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$",
    "^-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,2})?$",
    "^([0-9a-f]{8})-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
    "^(?!foo)(?<year>[0-9]{4})-\\p{L}+\\b",
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?\\.)*[a-z]{2,63}$",
    "",
]


@pytest.mark.parametrize("pattern", GOOD_PATTERNS)
def test_patterns_that_take_linear_or_polynomial_time_are_accepted(pattern: str) -> None:
    check({"pattern": pattern})


def test_a_schema_that_is_registered_as_a_reference_is_found() -> None:
    schema = Schema(
        Format.JSON,
        json.dumps({"type": "object", "properties": {"at": {"$ref": "place.json#/$defs/p"}}}),
        {"place.json": json.dumps({"$defs": {"p": {"type": "string"}}})},
    )
    SUPPORT.check(schema)
    found = check_compatibility(
        reader={"properties": {"at": {"type": "string"}}}, writer=schema, format="json"
    )
    assert found.compatible
    assert not check_compatibility(
        reader={"properties": {"at": {"type": "integer"}}}, writer=schema, format="json"
    ).compatible


def test_references_that_lead_to_each_other_are_found_and_their_circle_refused() -> None:
    schema = Schema(Format.JSON, '{"$ref": "a"}', {"a": '{"$ref": "b"}', "b": '{"$ref": "a"}'})
    with pytest.raises(InvalidSchema, match="back to itself"):
        SUPPORT.check(schema)


def doubling(levels: int, join: str) -> dict[str, Any]:
    """A schema that grows exponentially when it is written out."""
    definitions: dict[str, Any] = {"d0": {"type": "string", "minLength": 1}}
    for level in range(1, levels):
        inner = {"$ref": f"#/$defs/d{level - 1}"}
        both = [{"allOf": [inner, {"minLength": level}]}, {"allOf": [inner, {"maxLength": level}]}]
        definitions[f"d{level}"] = (
            {"type": "object", "properties": {"a": inner, "b": inner}}
            if join == "object"
            else {join: both}
        )
    return {"$ref": f"#/$defs/d{levels - 1}", "$defs": definitions}


BOMBS: dict[str, Any] = {
    "properties that double": doubling(50, "object"),
    "branches that double": doubling(40, "anyOf"),
    "exclusive branches that double": doubling(30, "oneOf"),
    "a chain of 1,000 references": {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{n}": {"properties": {"a": {"$ref": f"#/$defs/d{(n + 1) % 1000}"}}}
            for n in range(1000)
        },
    },
    "300 branches of oneOf": {
        "oneOf": [{"properties": {f"p{n}": {"const": n}}} for n in range(300)]
    },
    "branches of enumerations": {"anyOf": [{"enum": list(range(n, n + 900))} for n in range(60)]},
    "20 conditions": {
        "allOf": [
            {"if": {"required": [f"p{n}"]}, "then": {"properties": {f"q{n}": {"type": "string"}}}}
            for n in range(20)
        ],
        "unevaluatedProperties": False,
    },
    "a tuple of 5,000 items": {"prefixItems": [{"maxLength": n} for n in range(5_000)]},
    "500 properties": {
        "properties": {f"p{n}": {"maxLength": n} for n in range(500)},
        "additionalProperties": False,
    },
    "a long repetition": {"pattern": "^(a{0,400}b{0,400}){0,400}$"},
    "20 patterns of names": {
        "patternProperties": {f"^[a-{chr(97 + n)}]+x": {"maxLength": n} for n in range(20)}
    },
    "patterns whose automata explode": {
        "properties": {
            f"p{n}": {"type": "string", "pattern": f"(a|b)*a(a|b){{{n % 5 + 11}}}c{n}$"}
            for n in range(60)
        }
    },
    "large numbers": {
        "multipleOf": 10**300 + 1,
        "allOf": [{"multipleOf": 7**n} for n in range(1, 99)],
    },
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_comparison_ends_soon_whatever_the_schemas_are(bomb: Any) -> None:
    began = time.perf_counter()
    try:
        changed = json.loads(json.dumps(bomb).replace("5", "6"))
        check_compatibility(reader=changed, writer=bomb, format="json")
        check_compatibility(reader=bomb, writer=True, format="json")
        check_compatibility(reader=bomb, writer={"type": "object"}, format="json")
        check_compatibility(reader={"title": "x", **bomb}, writer=bomb, format="json")
    except InvalidSchema:
        pass
    assert time.perf_counter() - began < 6 * MAX_SECONDS
