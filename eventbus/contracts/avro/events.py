"""A writer's schema and an event's class compiled into what reads its bodies into events.

Field by field, from the encoding straight to the value that the class keeps: what its marshmallow
fields would make of the JSON form, without the detour. The common pairs of type and field have a
short way; everything else takes the field's own `deserialize`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import marshmallow
from marshmallow import missing

from eventbus import fields
from eventbus.contracts.avro import binary
from eventbus.contracts.avro.binary import Read
from eventbus.contracts.avro.reading import Reading, plain
from eventbus.contracts.avro.resolution import enum_values
from eventbus.contracts.avro.types import Array, Enum, Logical, Map, Node, Record, Union
from eventbus.contracts.avro.values import date_of, decimal_of, moment_of, to_json
from eventbus.event import Struct

_AnyField = marshmallow.fields.Field[Any]

#: Fields that neither look at nor need anything but the value.
_PLAIN_FIELDS = (fields.Text, fields.Int, fields.Bool, fields.Float, fields.Uuid)
_KEY = fields.Text()


class _Unfit(ValueError):
    """The class refuses what was read; its own words are said by `Event.__read__`."""


class EventReading:
    """Compiles readers of structs for one writer's schema."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._structs: dict[tuple[int, type[Struct]], Read] = {}

    def struct(self, node: Record, cls: type[Struct]) -> Read:
        """What reads `node` into a struct of this class."""
        key = id(node), cls
        if key not in self._structs:
            self._structs[key] = lambda body, at: self._structs[key](body, at)
            self._structs[key] = self._reading.record(node, self._record(node, cls))
        return self._structs[key]

    def _record(self, node: Record, cls: type[Struct]) -> Read:
        declared = cls.__schema__.fields
        sources = {name: _source(node, cls, name) for name in declared}
        wanted = {source: name for name, source in sources.items() if source is not None}
        parts: list[tuple[str, str | None, Read]] = []
        for field in node.fields:
            name = wanted.get(field.name)
            read = self.value(field.type, declared[name]) if name else None
            parts.append((field.name, name, read or self._reading.skip(field.type)))
        absent = {
            name: declared[name].load_default for name, source in sources.items() if source is None
        }
        return binary.record(parts, _made(cls, absent))

    def value(self, node: Node, field: _AnyField) -> Read:
        """What reads `node` into the value that `field` makes of it."""
        if isinstance(node, Union):
            return self._reading.union(node, [self.value(one, field) for one in node.branches])
        if node.kind == "null":
            return binary.converted(binary.read_null, None if field.allow_none else _no_null)
        return self._checked(node, field) or self._by_json(node, field)

    def _checked(self, node: Node, field: _AnyField) -> Read | None:
        """The short way with the field's validators, where there is one."""
        read = self._short(node, field)
        validators = tuple(field.validators)
        if read is None or not validators:
            return read

        def check(value: Any) -> Any:
            try:
                for validator in validators:
                    validator(value)
            except marshmallow.ValidationError as error:
                raise _Unfit(str(error.messages)) from None
            return value

        return binary.converted(read, check)

    def _short(self, node: Node, field: _AnyField) -> Read | None:
        # By the exact type: a subclass may read otherwise.
        if isinstance(node, Record):
            return self.struct(node, field.struct) if type(field) is fields.StructField else None
        if isinstance(node, Array):
            if type(field) is not fields.List:
                return None
            return self._reading.array(node, self.value(node.items, field.inner))
        if isinstance(node, Map):
            if type(field) is not fields.Mapping:
                return None
            key = binary.converted(binary.read_string, _loaded(_KEY))
            return self._reading.mapping(node, key, self.value(node.values, field.values))
        if isinstance(node, Enum):
            if type(field) is not fields.EnumValue:
                return None
            return binary.converted(binary.one_of(_members(node, field)), _known)
        return self._single(node, field)

    def _single(self, node: Node, field: _AnyField) -> Read | None:
        kind, logical = type(field), node.logical
        if logical is not None:
            native = _NATIVE.get((node.kind, logical.name, kind))
            if native is None and _same_decimal(logical, field):
                native = partial(decimal_of, logical=logical)
            if native is not None:
                return binary.converted(plain(node), native)
        if kind not in _PLAIN_FIELDS:
            return None
        if node.kind == "bytes" and logical is None:
            # Avro promotes bytes to a string, and takes them for UTF-8 then.
            return binary.converted(plain(node), _loaded(field, bytes.decode))
        return binary.converted(plain(node), _loaded(field, to_json(node)))

    def _by_json(self, node: Node, field: _AnyField) -> Read:
        return binary.converted(self._reading.json(node), _whole(field))


def _same_decimal(logical: Logical, field: _AnyField) -> bool:
    """Whether the decimals of the two have the same digits and places."""
    return (
        type(field) is fields.DecimalText
        and field.places is not None
        and (field.digits, field.places) == (logical.precision, logical.scale)
    )


def _source(node: Record, cls: type[Struct], name: str) -> str | None:
    """The writer's field that the class's field is read from: by its name, or an earlier one."""
    written = {field.name for field in node.fields}
    wire_name = cls.__schema__.fields[name].data_key or name
    for known in (wire_name, *cls.__marks__[name].aliases):
        if known in written:
            return known
    return None


def _made(cls: type[Struct], absent: dict[str, Any]) -> Callable[[dict[str, Any]], Struct]:
    """What makes the struct of the values, with the defaults of those that the writer has not."""
    make = cls.__from_valid__
    if not absent:
        return make
    required = [name for name, default in absent.items() if default is missing]

    def with_defaults(values: dict[str, Any]) -> Struct:
        if required:
            raise _Unfit(f"the writer has not {required[0]}")
        for name, default in absent.items():
            values[name] = default() if callable(default) else default
        return make(values)

    return with_defaults


def _loaded(field: _AnyField, convert: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
    """The field's conversion of a value that is neither missing nor null."""
    deserialize = field._deserialize

    def load(raw: Any) -> Any:
        try:
            return deserialize(raw if convert is None else convert(raw), None, None)
        except marshmallow.ValidationError as error:
            raise _Unfit(str(error.messages)) from None

    return load


def _whole(field: _AnyField) -> Callable[[Any], Any]:
    def load(raw: Any) -> Any:
        try:
            return field.deserialize(raw)
        except marshmallow.ValidationError as error:
            raise _Unfit(str(error.messages)) from None

    return load


def _no_null(value: None) -> None:
    raise _Unfit("null where the class has no null")


_UNKNOWN = object()


def _members(node: Enum, field: _AnyField) -> list[Any]:
    """The class's member for each of the writer's symbols."""
    found = []
    for value in enum_values(node).values():
        try:
            found.append(field.deserialize(value))
        except marshmallow.ValidationError:
            found.append(_UNKNOWN)
    return found


def _known(member: Any) -> Any:
    if member is _UNKNOWN:
        raise _Unfit("a symbol that the class does not know")
    return member


_NATIVE: dict[tuple[str, str, type], Callable[[Any], Any]] = {
    ("long", "timestamp-micros", fields.Timestamp): moment_of,
    ("int", "date", fields.Date): date_of,
}
