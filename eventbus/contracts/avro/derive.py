"""The Avro schema of an event: writer's and reader's contract in one, as Avro has it.

Avro resolves by itself what a JSON contract needs two views for: a field that the writer does not
have takes its default, and one that the reader does not have is skipped.

What Avro has no words for stands in the attribute ``x-eventbus``, which other readers ignore:
bounds, in JSON Schema's words; the value of each symbol of an enum where they differ; deprecations.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from eventbus.contracts.avro.names import as_name, is_name
from eventbus.contracts.avro.parsed import parse
from eventbus.contracts.avro.types import MARK, Logical
from eventbus.contracts.avro.values import EPOCH, EPOCH_DAY, MICROSECOND, decimal_bytes
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import DeclarationError, InvalidSchema
from eventbus.fields import parse_timestamp
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
    Type,
)

#: Kind of a value to its type. Integers are 64 bits, as JSON's are: a bound may be lifted later,
#: an ``int`` never becomes a ``long`` for readers of before.
_SCALARS: dict[Kind, dict[str, Any]] = {
    Kind.STRING: {"type": "string"},
    Kind.INTEGER: {"type": "long"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.FLOAT: {"type": "double"},
    Kind.UUID: {"type": "string", "logicalType": "uuid"},
    Kind.TIMESTAMP: {"type": "long", "logicalType": "timestamp-micros"},
    Kind.DATE: {"type": "int", "logicalType": "date"},
}

#: Field of `Scalar` and `Array` to the word of JSON Schema.
_BOUNDS = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusive_minimum": "exclusiveMinimum",
    "exclusive_maximum": "exclusiveMaximum",
    "choices": "enum",
    "min_items": "minItems",
    "max_items": "maxItems",
}


def derived(record: Record) -> str:
    """The text of the event's schema.

    Raises
    ------
    DeclarationError
        A field has no form in Avro; the text says what to use.
    """
    text = json.dumps(_Derivation(record).schema(), ensure_ascii=False, indent=2)
    try:
        parse(Schema(Format.AVRO, text))
    except InvalidSchema as error:
        raise DeclarationError(f"{record.name} has no Avro schema: {error}") from None
    return text


class _Derivation:
    """The derivation of one event; a struct or an enum is defined where it is first used."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._defined: set[str] = set()
        self._words = [as_name(word) for word in record.name.split(".")]

    def schema(self) -> dict[str, Any]:
        """The event itself: ``order.paid`` is the record ``paid`` in the namespace ``order``."""
        *namespace, name = self._words
        head = {"type": "record", "name": name}
        if namespace:
            head["namespace"] = ".".join(namespace)
        return {**head, **self._body(self._record)}

    def _body(self, record: Record) -> dict[str, Any]:
        found: dict[str, Any] = {"doc": record.doc} if record.doc else {}
        found.update(_deprecation(record.deprecated))
        found["fields"] = [self._field(field, record) for field in record.fields]
        return found

    def _field(self, field: Field, record: Record) -> dict[str, Any]:
        where = f"{record.name}.{field.name}"
        for name in (field.name, *field.aliases):
            if not is_name(name):
                raise DeclarationError(
                    f"{where}: {name!r:.80} is no name in Avro, which knows letters, digits and "
                    f"underscores; call the field otherwise, or use format='json'"
                )
        given = [] if field.default is NO_DEFAULT else [field.default]
        found: dict[str, Any] = {
            "name": field.name,
            "type": self._element(field.element, given, where),
        }
        if field.aliases:
            found["aliases"] = list(field.aliases)
        if given:
            found["default"] = _default(field.default, field.element.type, where)
        if field.doc:
            found["doc"] = field.doc
        return {**found, **_deprecation(field.deprecated)}

    def _element(self, element: Element, defaults: Sequence[Any], where: str) -> Any:
        """`defaults` are the values that a default has at this place.

        A default is one of its union's first branch, so null comes first where it is the default.
        """
        values = [value for value in defaults if value is not None]
        if values and len(values) < len(defaults):
            raise DeclarationError(
                f"{where} has a default in which some items are null and some are not, which has "
                f"no form in Avro; make the default empty"
            )
        type_ = self._type(element.type, values, where)
        if not element.nullable:
            return type_
        return [type_, "null"] if values else ["null", type_]

    def _type(self, type_: Type, defaults: Sequence[Any], where: str) -> Any:
        if isinstance(type_, Scalar):
            return _scalar(type_, where)
        if isinstance(type_, Array):
            items = self._element(type_.items, _flat(defaults), f"{where}[]")
            return {"type": "array", "items": items, **_mark(_bounds(type_))}
        if isinstance(type_, Map):
            inner = _flat(default.values() for default in defaults)
            values = self._element(type_.values, inner, f"{where}{{}}")
            return {"type": "map", "values": values, **_mark(_bounds(type_))}
        if isinstance(type_, Enumeration):
            return self._named(type_.name, lambda: _enum(type_, where))
        return self._named(type_.name, lambda: {"type": "record", **self._body(type_)})

    def _named(self, name: str, define: Any) -> Any:
        """In the event's own namespace: another event may have another struct of this name."""
        full = ".".join([*self._words, as_name(name)])
        if full in self._defined:
            return full
        self._defined.add(full)
        head = {"name": as_name(name), "namespace": ".".join(self._words)}
        body = define()
        return {"type": body.pop("type"), **head, **body}


def symbols_of(enumeration: Enumeration, where: str) -> tuple[str, ...]:
    """The symbol of each member: its value where that is a name, or else the member's own name.

    Each by itself, so that a new member does not change the symbols of the others.
    """
    symbols = tuple(
        str(value) if is_name(value) else as_name(name) for name, value in enumeration.members
    )
    for symbol, (name, value) in zip(symbols, enumeration.members, strict=True):
        if symbols.count(symbol) > 1:
            raise DeclarationError(
                f"{where}: {enumeration.name}.{name} = {value!r:.80} has the symbol {symbol!r} in "
                f"Avro, which another member has too; give the member another name"
            )
    return symbols


def _enum(enumeration: Enumeration, where: str) -> dict[str, Any]:
    """Without a default for unknown symbols: the event's class has none either."""
    symbols = symbols_of(enumeration, where)
    values = [value for _, value in enumeration.members]
    mark = {} if list(symbols) == values else {"values": values}
    return {"type": "enum", "symbols": list(symbols), **_mark(mark)}


def _scalar(scalar: Scalar, where: str) -> Any:
    if scalar.kind is Kind.DECIMAL:
        return {**_decimal(scalar, where), **_mark(_bounds(scalar))}
    found = {**_SCALARS[scalar.kind], **_mark(_bounds(scalar))}
    return found["type"] if len(found) == 1 else found


def _decimal(scalar: Scalar, where: str) -> dict[str, Any]:
    if scalar.places is None or scalar.digits is None:
        raise DeclarationError(
            f"{where} is a Decimal without a number of places, which Avro needs to know; use "
            f"Annotated[Decimal, Places(2)]"
        )
    return {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": scalar.digits,
        "scale": scalar.places,
    }


def _bounds(type_: Scalar | Array | Map) -> dict[str, Any]:
    found = {}
    for name, word in _BOUNDS.items():
        value = getattr(type_, name, None)
        if value is not None:
            found[word] = _written(value)
    return found


def _written(value: Any) -> Any:
    """A bound in JSON; a decimal as text, as it is in events."""
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    return format(value, "f") if isinstance(value, Decimal) else value


def _mark(found: dict[str, Any]) -> dict[str, Any]:
    return {MARK: found} if found else {}


def _deprecation(deprecated: Deprecation | None) -> dict[str, Any]:
    if deprecated is None:
        return {}
    until = deprecated.until.isoformat() if deprecated.until else None
    return _mark({"deprecated": {"until": until, "instead": deprecated.instead}})


def _flat(values: Iterable[Iterable[Any]]) -> list[Any]:
    return [item for value in values for item in value]


def _default(value: Any, type_: Type, where: str) -> Any:
    """A default's JSON form in an event as its JSON form in an Avro schema."""
    if value is None:
        return None
    if isinstance(type_, Array):
        return [_default(item, type_.items.type, where) for item in value]
    if isinstance(type_, Map):
        return {key: _default(item, type_.values.type, where) for key, item in value.items()}
    if isinstance(type_, Record):
        known = {field.name: field.element.type for field in type_.fields}
        return {key: _default(item, known[key], where) for key, item in value.items()}
    if isinstance(type_, Enumeration):
        values = [member for _, member in type_.members]
        return symbols_of(type_, where)[values.index(value)]
    return _default_of_scalar(value, type_, where)


def _default_of_scalar(value: Any, scalar: Scalar, where: str) -> Any:
    if scalar.kind is Kind.TIMESTAMP:
        return (parse_timestamp(value) - EPOCH) // MICROSECOND
    if scalar.kind is Kind.DATE:
        return dt.date.fromisoformat(value).toordinal() - EPOCH_DAY
    if scalar.kind is Kind.DECIMAL:
        logical = Logical("decimal", scalar.digits, scalar.places)
        return decimal_bytes(value, logical).decode("latin-1")
    return value
