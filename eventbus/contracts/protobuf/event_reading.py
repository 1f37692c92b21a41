"""From a message to an event, as `Event.__read__` would make it of the JSON form, but at once."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import marshmallow

from eventbus import fields
from eventbus.contracts.protobuf.decoding import (
    Decoder,
    Get,
    getter,
    is_object,
    map_value,
    misread_check,
)
from eventbus.contracts.protobuf.model import TIMESTAMP, Field, Message
from eventbus.contracts.protobuf.runtime import event_message
from eventbus.contracts.protobuf.values import Convert, enum_values, finite, moment_of
from eventbus.event import Event, Struct

#: What anything raises that does not fit; the slow way then finds out what and where.
_MISFIT = (marshmallow.ValidationError, ValueError, TypeError, KeyError, ArithmeticError)

#: Field and Protobuf type whose values are Python's, and in range.
_AS_THEY_ARE = frozenset(
    [(fields.Bool, "bool")]
    + [
        (fields.Int, type_)
        for type_ in (
            "int64",
            "int32",
            "fixed32",
            "uint32",
            "sfixed32",
            "sfixed64",
            "sint32",
            "sint64",
        )
    ]
)
#: Fields whose JSON form is a text, and a Protobuf string too.
_READ_FROM_TEXT = (fields.Uuid, fields.DecimalText, fields.Date)

_MarshmallowField = marshmallow.fields.Field


class _Misfit(ValueError):
    """A value that the class does not take."""


class EventReader:
    """Reads the bytes of one contract into events of one class."""

    def __init__(self, event_class: type[Event], decoder: Decoder) -> None:
        self._class = event_class
        self._decoder = decoder
        self._values = _values_reader(decoder, event_message(decoder.contract), event_class)

    def __call__(self, data: bytes) -> Event:
        message = self._decoder.parse(data)
        if self._values is not None:
            try:
                return self._class.__from_valid__(self._values(message))
            except _MISFIT:
                pass
        # Reports everything that is wrong, by the names of the JSON form.
        return self._class.__read__(self._decoder(data))


def _values_reader(decoder: Decoder, message: Message, struct: type[Struct]) -> Get | None:
    """What reads the fields of a struct; None where the class needs one that the writer lacks."""
    gets: list[tuple[str, Get]] = []
    for name, field in struct.__schema__.fields.items():
        written = _written(message, struct, name, field)
        get = _default(field) if written is None else _get(decoder, message, written, field)
        if get is None:
            return None
        gets.append((name, get))
    check = misread_check(message)

    def read(found: Any) -> dict[str, Any]:
        check(found)
        return {name: get(found) for name, get in gets}

    return read


def _written(
    message: Message, struct: type[Struct], name: str, field: _MarshmallowField[Any]
) -> Field | None:
    """The writer's field, by the name on the wire or an earlier one."""
    for known in (field.data_key or name, *struct.__marks__[name].aliases):
        found = message.by_name.get(known)
        if found is not None:
            return found
    return None


def _default(field: _MarshmallowField[Any]) -> Get | None:
    default = field.load_default
    if default is marshmallow.missing:
        return None
    if callable(default):
        return lambda message: default()
    return lambda message: default


def _get(decoder: Decoder, message: Message, written: Field, field: _MarshmallowField[Any]) -> Get:
    """What takes the field's value out of a message, and raises what is in `_MISFIT`."""
    value = map_value(decoder.contract, written)
    if value is not None and type(field) is fields.Mapping:
        convert = _single(decoder, message, value, field.values)
        get = getter(decoder.contract, written, convert)
        return _then(get, _check_keys, *_validators(field))
    if written.repeated and value is None and type(field) is fields.List:
        convert = _single(decoder, message, written, field.inner)
        return _then(getter(decoder.contract, written, convert), *_validators(field))
    if written.repeated or decoder.has_default(message, written):
        return _by_json_form(decoder.getter(message, written), field)
    get = getter(decoder.contract, written, _single(decoder, message, written, field))
    return get if field.allow_none or not written.has_presence else _then(get, _refuse_none)


def _single(
    decoder: Decoder, message: Message, written: Field, field: _MarshmallowField[Any]
) -> Convert | None:
    """What makes the field's value of a single one; None where it is that value itself."""
    kind = type(field)
    convert: Convert | None
    if kind is fields.Text and written.type == "string":
        convert = _text
    elif kind in _READ_FROM_TEXT and written.type == "string":
        convert = _from_text(field)
    elif (kind, written.type) in _AS_THEY_ARE:
        convert = None
    elif kind is fields.Float and written.type in ("double", "float"):
        convert = finite
    elif kind is fields.Timestamp and written.type_name == TIMESTAMP:
        convert = moment_of
    elif isinstance(field, fields.EnumValue) and written.type == "enum":
        convert = _members(decoder, message, written, field.enum).__getitem__
    elif isinstance(field, fields.StructField) and is_object(written):
        inner = decoder.contract.messages[written.type_name]
        convert = _struct(decoder, inner, field.struct)
    else:
        return _by_json_form(decoder.to_json(message, written), field)
    validators = _validators(field)
    return _then(convert or _same, *validators) if validators else convert


def _from_text(field: _MarshmallowField[Any]) -> Convert:
    return lambda value: field._deserialize(value, None, None)


def _text(value: str) -> str:
    # Protobuf's own parser has seen to the rest: it is UTF-8.
    if "\0" in value:
        raise _Misfit
    return value


def _same(value: Any) -> Any:
    return value


def _refuse(value: Any) -> Any:
    raise _Misfit


def _refuse_none(value: Any) -> None:
    if value is None:
        raise _Misfit


def _check_keys(value: dict[str, Any]) -> None:
    if any("\0" in key for key in value):
        raise _Misfit


def _members(
    decoder: Decoder, message: Message, written: Field, enumeration: type[enum.Enum]
) -> dict[int, enum.Enum]:
    """Number to member, of those that the class has."""
    known = {member.value: member for member in enumeration}
    values = enum_values(decoder.contract, written, message.derived)
    return {number: known[value] for number, value in values.items() if value in known}


def _struct(decoder: Decoder, message: Message, struct: type[Struct]) -> Convert:
    read = _values_reader(decoder, message, struct)
    if read is None:
        return _refuse
    return lambda found: struct.__from_valid__(read(found))


def _by_json_form(to_json: Convert | None, field: _MarshmallowField[Any]) -> Convert:
    """The way of every field: its JSON form, and what the field makes of that."""
    if to_json is None:
        return lambda value: field.deserialize(value)
    return lambda value: field.deserialize(to_json(value))


def _then(first: Convert, *checks: Callable[[Any], Any]) -> Convert:
    """`first`, and then each of `checks` on its result."""
    if not checks:
        return first

    def run(value: Any) -> Any:
        result = first(value)
        for check in checks:
            check(result)
        return result

    return run


def _validators(field: _MarshmallowField[Any]) -> tuple[Callable[[Any], Any], ...]:
    return (field._validate,) if field.validators else ()
