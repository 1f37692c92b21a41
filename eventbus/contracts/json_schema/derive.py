"""The writer's contract of an event as JSON Schema.

Closed, and with every field required, as a class writes all of its fields. A ``default`` is what
this class takes where the field is missing: `eventbus.contracts.json_schema.views` makes the
reader's contract of it. What JSON Schema has no words for stands in ``x-eventbus``.

The forms of values are those that the class reads, of which it writes one: a moment with any
offset, a decimal with fewer places. An event's data are I-JSON (RFC 7493) and hold no NUL, which is
refused before any schema is asked. ``format`` is meant as a check, so that there is no 30 February.

Neither docstrings nor names of structs are part of it: who edits one has changed no contract.

Structs are written where they are used, not in ``$defs``: in draft-07 nothing may stand beside a
``$ref``, and what differs between two versions has one path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from eventbus.contracts.json_schema.dialects import DRAFT_07, DRAFT_2020_12, Dialect
from eventbus.contracts.json_schema.views import MARK, WRITER
from eventbus.errors import DeclarationError
from eventbus.fields import DECIMAL_MAX_LENGTH, INTEGER_MAX, INTEGER_MIN
from eventbus.shape import (
    NO_DEFAULT,
    Array,
    Deprecation,
    Element,
    Enumeration,
    Field,
    Kind,
    Map,
    Record,
    Scalar,
)

_DAY = (
    r"(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
    r"-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
)
_HOUR, _SIXTIETH = "([01][0-9]|2[0-3])", "[0-5][0-9]"
DATE_PATTERN = f"^{_DAY}$"
TIMESTAMP_PATTERN = (
    rf"^{_DAY}[Tt]{_HOUR}:{_SIXTIETH}:{_SIXTIETH}(\.[0-9]+)?([Zz]|[+-]{_HOUR}:{_SIXTIETH})$"
)
UUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def derive(
    record: Record, previous: Sequence[str] = (), *, dialect: Dialect = DRAFT_2020_12
) -> str:
    """The text of the writer's contract.

    Parameters
    ----------
    record:
        As `eventbus.declared.record_of` gives it.
    previous:
        Of no meaning here: a field is known by its name.
    dialect:
        Draft 2020-12, or draft-07 for a validator that knows no later one.

    Raises
    ------
    DeclarationError
        A bound has no form in JSON Schema; the text names the field and the remedy.
    """
    return json.dumps(schema_of(record, dialect), ensure_ascii=False, indent=2)


def schema_of(record: Record, dialect: Dialect = DRAFT_2020_12) -> dict[str, Any]:
    """As `derive`, as a JSON value."""
    schema = _Derivation(dialect).record(record, record.name)
    mark = {"contract": WRITER, **schema.pop(MARK, {})}
    root = dialect.uri + ("#" if dialect is DRAFT_07 else "")
    return {"$schema": root, "title": record.name, MARK: mark, **schema}


class _Derivation:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def record(self, record: Record, where: str) -> dict[str, Any]:
        """An object of exactly these fields."""
        return {
            **self._deprecation(record.deprecated),
            "type": "object",
            "properties": {field.name: self._field(field, where) for field in record.fields},
            "required": [field.name for field in record.fields],
            "additionalProperties": False,
        }

    def _field(self, field: Field, where: str) -> dict[str, Any]:
        schema = self._element(field.element, f"{where}.{field.name}")
        schema.update(_described(field.doc))
        if field.default is not NO_DEFAULT:
            schema["default"] = field.default
        own = {"aliases": list(field.aliases)} if field.aliases else {}
        deprecation = self._deprecation(field.deprecated)
        own.update(deprecation.pop(MARK, {}))
        schema.update(deprecation)
        return {**schema, MARK: own} if own else schema

    def _deprecation(self, deprecation: Deprecation | None) -> dict[str, Any]:
        if deprecation is None:
            return {}
        until = deprecation.until.isoformat() if deprecation.until else None
        said = {MARK: {"deprecated": {"until": until, "instead": deprecation.instead}}}
        # Draft-07 does not know the keyword.
        return said if self._dialect is DRAFT_07 else {"deprecated": True, **said}

    def _element(self, element: Element, where: str) -> dict[str, Any]:
        schema = self._type(element.type, where)
        if element.nullable:
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            schema["type"] = [*types, "null"]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        return schema

    def _type(self, given: Any, where: str) -> dict[str, Any]:
        if isinstance(given, Record):
            return self.record(given, where)
        if isinstance(given, Array):
            items = self._element(given.items, f"{where}[]")
            bounds = _set(minItems=given.min_items, maxItems=given.max_items)
            return {"type": "array", "items": items, **bounds}
        if isinstance(given, Map):
            values = self._element(given.values, f"{where}{{}}")
            bounds = _set(minProperties=given.min_items, maxProperties=given.max_items)
            return {"type": "object", "additionalProperties": values, **bounds}
        if isinstance(given, Enumeration):
            return _enumeration(given)
        return _SCALARS[given.kind](given, where)


def _described(doc: str) -> dict[str, Any]:
    return {"description": doc} if doc else {}


def _set(**bounds: Any) -> dict[str, Any]:
    return {name: value for name, value in bounds.items() if value is not None}


def _enumeration(given: Enumeration) -> dict[str, Any]:
    values = [value for _, value in given.members]
    types = sorted({"string" if isinstance(value, str) else "integer" for value in values})
    return {"type": types[0] if len(types) == 1 else types, "enum": values}


# -- single values -------------------------------------------------------------------------------


def _string(given: Scalar, where: str) -> dict[str, Any]:
    choices = list(given.choices) if given.choices is not None else None
    bounds = _set(minLength=given.min_length, maxLength=given.max_length)
    return {"type": "string", **bounds, **_set(pattern=given.pattern, enum=choices)}


def _integer(given: Scalar, where: str) -> dict[str, Any]:
    bounds = _bounds(given)
    bounds["minimum"] = max(bounds.get("minimum", INTEGER_MIN), INTEGER_MIN)
    bounds["maximum"] = min(bounds.get("maximum", INTEGER_MAX), INTEGER_MAX)
    choices = list(given.choices) if given.choices is not None else None
    return {"type": "integer", **bounds, **_set(enum=choices)}


def _float(given: Scalar, where: str) -> dict[str, Any]:
    return {"type": "number", **_bounds(given)}


def _bounds(given: Scalar) -> dict[str, Any]:
    return _set(
        minimum=given.minimum,
        maximum=given.maximum,
        exclusiveMinimum=given.exclusive_minimum,
        exclusiveMaximum=given.exclusive_maximum,
    )


def _decimal(given: Scalar, where: str) -> dict[str, Any]:
    """Its digits as text: JSON Schema cannot compare it with a bound, but can refuse a sign."""
    bounds = _bounds(given)
    sign = "-?"
    if bounds == {"minimum": 0}:
        sign = ""
    elif bounds:
        raise DeclarationError(
            f"{where} has a Range, which JSON Schema cannot check on a decimal's text, except "
            f"Range(min=0); use Places(2, digits=9) for its size, or an int of the smallest unit"
        )
    if given.places is None or given.digits is None:
        pattern = rf"^{sign}[0-9]+(\.[0-9]+)?$"
        return {"type": "string", "pattern": pattern, "maxLength": DECIMAL_MAX_LENGTH}
    whole = given.digits - given.places
    digits = f"[0-9]{{1,{whole}}}" if whole else "0"
    places = rf"(\.[0-9]{{1,{given.places}}})?" if given.places else ""
    return {"type": "string", "pattern": f"^{sign}{digits}{places}$"}


def _fixed(schema: dict[str, Any]) -> Callable[[Scalar, str], dict[str, Any]]:
    return lambda given, where: dict(schema)


_SCALARS: dict[Kind, Callable[[Scalar, str], dict[str, Any]]] = {
    Kind.STRING: _string,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _fixed({"type": "boolean"}),
    Kind.UUID: _fixed({"type": "string", "format": "uuid", "pattern": UUID_PATTERN}),
    Kind.TIMESTAMP: _fixed({"type": "string", "format": "date-time", "pattern": TIMESTAMP_PATTERN}),
    Kind.DATE: _fixed({"type": "string", "format": "date", "pattern": DATE_PATTERN}),
}
