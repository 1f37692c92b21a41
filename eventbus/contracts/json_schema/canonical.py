"""One text for schemas that differ only in how they are written."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from eventbus.contracts.json_schema.dialects import Dialect, dialect_of, shape_of, subschemas
from eventbus.contracts.json_schema.formulas import number
from eventbus.contracts.json_schema.reading import read_schema
from eventbus.errors import InvalidSchema

#: Keywords that say nothing with this value.
_SAYS_NOTHING: dict[str, Any] = {
    "minLength": 0,
    "minItems": 0,
    "minProperties": 0,
    "uniqueItems": False,
    "required": [],
    "dependentRequired": {},
}


@lru_cache(maxsize=1_000)
def canonical_text(text: str) -> str:
    """The schema in `text` with sorted keys and without spaces.

    One spelling for a type alone or in a list, for ``{}`` and ``true``, for 1.0 and 1, for a list
    whose order says nothing, and for keywords that say nothing. Annotations stay.
    """
    schema = read_schema(text)
    value = _schema(schema, dialect_of(schema))
    return _dumped({} if value is True and isinstance(schema, dict) else value)


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _schema(schema: Any, dialect: Dialect) -> Any:
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema and dialect.reference_stands_alone:
        return _plain(schema)
    found = {
        keyword: _keyword(keyword, value, dialect)
        for keyword, value in schema.items()
        if not _says_nothing(keyword, value)
    }
    for _, steps, inner in subschemas(schema, dialect):
        _put(found, steps, _schema(inner, dialect))
    return found or True


def _says_nothing(keyword: str, value: Any) -> bool:
    return (
        keyword in _SAYS_NOTHING
        and type(value) is type(_SAYS_NOTHING[keyword])
        and value == _SAYS_NOTHING[keyword]
    )


def _put(found: dict[str, Any], steps: tuple[str | int, ...], value: Any) -> None:
    holder: Any = found
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value


def _keyword(keyword: str, value: Any, dialect: Dialect) -> Any:
    value = _plain(value)
    shape = shape_of(keyword, dialect)
    if shape is not None and not shape[1](value):
        raise InvalidSchema(f"{keyword[:80]} must be {shape[0]}")
    if keyword not in dialect.keywords:
        return value
    if keyword == "type" and isinstance(value, list):
        return value[0] if len(set(value)) == 1 else sorted(set(value))
    if keyword == "required":
        return sorted(set(value))
    if keyword == "enum":
        return [json.loads(one) for one in sorted({_dumped(one) for one in value})]
    return value


def _plain(value: Any) -> Any:
    """The same value, its numbers in one spelling."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return number(value) if isinstance(value, float) else value
