"""The drafts of JSON Schema that are read, and what each keyword's value must be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eventbus.contracts.limits import ENUM_MAX_VALUES
from eventbus.errors import InvalidSchema


@dataclass(frozen=True)
class Dialect:
    """One draft: which keywords it knows."""

    name: str
    uri: str
    keywords: frozenset[str]

    @property
    def reference_stands_alone(self) -> bool:
        """In draft-07 what stands beside a ``$ref`` is ignored (core §8.3)."""
        return self.name == "draft-07"

    @property
    def contains_evaluates(self) -> bool:
        """In 2020-12 an item that `contains` matches counts as evaluated (core §10.3.1.3)."""
        return self.name == "2020-12"


_COMMON = frozenset(
    [
        "$schema",
        "$id",
        "$ref",
        "$comment",
        "title",
        "description",
        "default",
        "examples",
        "readOnly",
        "writeOnly",
        "format",
        "contentMediaType",
        "contentEncoding",
        "definitions",
        "type",
        "enum",
        "const",
        "multipleOf",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "items",
        "maxItems",
        "minItems",
        "uniqueItems",
        "contains",
        "maxProperties",
        "minProperties",
        "required",
        "properties",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
        "if",
        "then",
        "else",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
    ]
)
_SINCE_2019 = _COMMON | frozenset(
    [
        "$anchor",
        "$defs",
        "$vocabulary",
        "deprecated",
        "contentSchema",
        "minContains",
        "maxContains",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedItems",
        "unevaluatedProperties",
        "dependencies",
    ]
)

DRAFT_07 = Dialect(
    "draft-07",
    "http://json-schema.org/draft-07/schema",
    _COMMON | {"additionalItems", "dependencies", "$defs"},
)
DRAFT_2019_09 = Dialect(
    "2019-09",
    "https://json-schema.org/draft/2019-09/schema",
    _SINCE_2019 | {"additionalItems", "$recursiveRef", "$recursiveAnchor"},
)
DRAFT_2020_12 = Dialect(
    "2020-12",
    "https://json-schema.org/draft/2020-12/schema",
    _SINCE_2019 | {"prefixItems", "$dynamicRef", "$dynamicAnchor"},
)
DIALECTS = (DRAFT_07, DRAFT_2019_09, DRAFT_2020_12)
_BY_URI = {
    spelling: dialect for dialect in DIALECTS for spelling in (dialect.uri, dialect.uri + "#")
} | {
    "https://json-schema.org/draft-07/schema": DRAFT_07,
    "https://json-schema.org/draft-07/schema#": DRAFT_07,
}


def dialect_of(schema: Any, default: Dialect = DRAFT_2020_12) -> Dialect:
    """The draft that ``$schema`` names; `default` where it names none."""
    if not isinstance(schema, dict) or "$schema" not in schema:
        return default
    uri = schema["$schema"]
    if not isinstance(uri, str) or uri not in _BY_URI:
        raise InvalidSchema(
            f"$schema {str(uri)[:120]!r} is none that is read here; use "
            f"{', '.join(dialect.uri for dialect in DIALECTS)}"
        )
    return _BY_URI[uri]


#: Where one schema stands; a list of them; a schema for each name.
ONE, LIST, EACH = "one", "list", "each"

#: The keywords that hold schemas, and how.
HOLDERS = {
    "allOf": LIST,
    "anyOf": LIST,
    "oneOf": LIST,
    "not": ONE,
    "if": ONE,
    "then": ONE,
    "else": ONE,
    "properties": EACH,
    "patternProperties": EACH,
    "additionalProperties": ONE,
    "propertyNames": ONE,
    "prefixItems": LIST,
    "additionalItems": ONE,
    "contains": ONE,
    "dependentSchemas": EACH,
    "unevaluatedItems": ONE,
    "unevaluatedProperties": ONE,
    "contentSchema": ONE,
    "$defs": EACH,
    "definitions": EACH,
}


def subschemas(
    schema: dict[str, Any], dialect: Dialect
) -> list[tuple[str, tuple[str | int, ...], Any]]:
    """The schemas directly inside `schema`: keyword, steps of the pointer, schema."""
    found: list[tuple[str, tuple[str | int, ...], Any]] = []
    for keyword, value in schema.items():
        if keyword not in dialect.keywords:
            continue
        how = _how_held(keyword, value, dialect)
        if how == ONE:
            found.append((keyword, (keyword,), value))
        elif how == LIST:
            found += [(keyword, (keyword, index), one) for index, one in enumerate(value)]
        elif how == EACH:
            found += [
                (keyword, (keyword, name), one)
                for name, one in value.items()
                if keyword != "dependencies" or not isinstance(one, list)
            ]
    return found


def _how_held(keyword: str, value: Any, dialect: Dialect) -> str | None:
    if keyword == "items":
        return LIST if isinstance(value, list) and dialect is not DRAFT_2020_12 else ONE
    if keyword == "dependencies":
        return EACH
    return HOLDERS.get(keyword)


TYPE_NAMES = ("null", "boolean", "integer", "number", "string", "array", "object")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_schema(value: Any) -> bool:
    return isinstance(value, (dict, bool))


def _is_schemas_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_schema(one) for one in value.values())


def _is_schema_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_schema(one) for one in value)


def _is_type(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(t, str) and t in TYPE_NAMES for t in value)
    return isinstance(value, str) and value in TYPE_NAMES


def _is_dependency(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_schema(one) or _is_names(one) for one in value.values()
    )


def _is_name_lists(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_names(one) for one in value.values())


_A_COUNT = ("a whole number, 0 or more", _is_count)
_A_NUMBER = ("a number", _is_number)
_A_STRING = ("a string", lambda value: isinstance(value, str))
_A_BOOLEAN = ("true or false", lambda value: isinstance(value, bool))
_A_SCHEMA = ("a schema (an object or a boolean)", _is_schema)
_SCHEMAS = ("a list of schemas, one or more", _is_schema_list)
_SCHEMAS_BY_NAME = ("an object of schemas", _is_schemas_by_name)
_NAMES = ("a list of strings", _is_names)
_ANCHOR = re.compile(r"[A-Za-z_][-A-Za-z0-9._]*\Z")

#: Keyword to what its value must be, in words and as a test.
SHAPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "$id": _A_STRING,
    "$ref": _A_STRING,
    "$dynamicRef": _A_STRING,
    "$recursiveRef": ('"#"', lambda value: value == "#"),
    "$recursiveAnchor": _A_BOOLEAN,
    "$anchor": (
        "a name of letters, digits, '-', '_' and '.'",
        lambda value: isinstance(value, str) and bool(_ANCHOR.match(value)),
    ),
    "$dynamicAnchor": (
        "a name of letters, digits, '-', '_' and '.'",
        lambda value: isinstance(value, str) and bool(_ANCHOR.match(value)),
    ),
    "$comment": _A_STRING,
    "title": _A_STRING,
    "description": _A_STRING,
    "format": _A_STRING,
    "type": (f"one of {', '.join(TYPE_NAMES)}, or a list of them", _is_type),
    "enum": (
        f"a list of at most {ENUM_MAX_VALUES:,} values",
        lambda value: isinstance(value, list) and len(value) <= ENUM_MAX_VALUES,
    ),
    "multipleOf": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "maximum": _A_NUMBER,
    "exclusiveMaximum": _A_NUMBER,
    "minimum": _A_NUMBER,
    "exclusiveMinimum": _A_NUMBER,
    "maxLength": _A_COUNT,
    "minLength": _A_COUNT,
    "pattern": _A_STRING,
    "maxItems": _A_COUNT,
    "minItems": _A_COUNT,
    "uniqueItems": _A_BOOLEAN,
    "maxContains": _A_COUNT,
    "minContains": _A_COUNT,
    "maxProperties": _A_COUNT,
    "minProperties": _A_COUNT,
    "required": _NAMES,
    "dependentRequired": ("an object of lists of strings", _is_name_lists),
    "dependencies": ("an object of schemas or lists of strings", _is_dependency),
    "allOf": _SCHEMAS,
    "anyOf": _SCHEMAS,
    "oneOf": _SCHEMAS,
    "not": _A_SCHEMA,
    "if": _A_SCHEMA,
    "then": _A_SCHEMA,
    "else": _A_SCHEMA,
    "properties": _SCHEMAS_BY_NAME,
    "patternProperties": _SCHEMAS_BY_NAME,
    "additionalProperties": _A_SCHEMA,
    "propertyNames": _A_SCHEMA,
    "prefixItems": _SCHEMAS,
    "additionalItems": _A_SCHEMA,
    "contains": _A_SCHEMA,
    "dependentSchemas": _SCHEMAS_BY_NAME,
    "unevaluatedItems": _A_SCHEMA,
    "unevaluatedProperties": _A_SCHEMA,
    "contentSchema": _A_SCHEMA,
    "$defs": _SCHEMAS_BY_NAME,
    "definitions": _SCHEMAS_BY_NAME,
}


def shape_of(keyword: str, dialect: Dialect) -> tuple[str, Callable[[Any], bool]] | None:
    """What the keyword's value must be in this draft; None where anything may stand."""
    if keyword == "items":
        if dialect is DRAFT_2020_12:
            return _A_SCHEMA
        return (
            "a schema or a list of schemas",
            lambda value: (
                _is_schema(value)
                or (isinstance(value, list) and all(_is_schema(one) for one in value))
            ),
        )
    return SHAPES.get(keyword) if keyword in dialect.keywords else None
