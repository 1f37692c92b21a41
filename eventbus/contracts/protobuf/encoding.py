"""From an event to the bytes of a contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import marshmallow

from eventbus import fields
from eventbus.contracts.protobuf.decoding import is_object, map_value
from eventbus.contracts.protobuf.model import TIMESTAMP, Contract, Field, Message
from eventbus.contracts.protobuf.runtime import MessageClasses, attribute, event_message
from eventbus.contracts.protobuf.values import WRAPPERS, Convert, enum_values, timestamp_of
from eventbus.errors import ValidationError
from eventbus.event import Event, Struct

_MarshmallowField = marshmallow.fields.Field
_MISFIT = (marshmallow.ValidationError, ValueError, TypeError, KeyError, AttributeError)

#: Python's types of the JSON form that a Protobuf type takes as they are.
_TAKES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "double": (float, int),
    "float": (float,),
}


class EventEncoder:
    """Writes events of one class by one contract.

    Raises
    ------
    ValidationError
        When called: the contract has no place for a value; `errors` names the fields.
    """

    def __init__(self, event_class: type[Event], contract: Contract) -> None:
        self._class = event_class
        self._encoding = _Encoding(contract)
        message = event_message(contract)
        self._columns = self._encoding.columns(message, event_class)
        self._message_class = self._encoding.classes.of(message.full_name)

    def __call__(self, event: Event) -> bytes:
        values = event.__dict__
        filled = {}
        for name, number, convert in self._columns:
            value = values[name]
            if value is not None:
                try:
                    filled[number] = value if convert is None else convert(value)
                except _MISFIT as error:
                    raise self._unfit(name, error) from None
        try:
            data: bytes = self._message_class(**filled).SerializeToString(deterministic=True)
        except _MISFIT as error:
            raise self._unfit("", error) from None
        return data

    def _unfit(self, name: str, error: Exception) -> ValidationError:
        text = f"has no place in the Protobuf contract: {str(error)[:200]}"
        key = self._class.__schema__.fields[name].data_key or name if name else "_schema"
        return ValidationError(
            f"{self._class.__event_name__} is not valid: {key}: {text}", {key: [text]}
        )


class _Encoding:
    """Makes what a message class takes of the values of a struct."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.classes = MessageClasses(contract)

    def columns(
        self, message: Message, struct: type[Struct]
    ) -> list[tuple[str, str, Convert | None]]:
        """Name of the attribute, name in the message class, and the conversion of each field."""
        found: list[tuple[str, str, Convert | None]] = []
        for name, field in struct.__schema__.fields.items():
            written = message.by_name.get(field.data_key or name)
            if written is None:
                found.append((name, "", _no_such_field))
            else:
                convert = self._convert(message, written, field)
                found.append((name, attribute(written.number), convert))
        return found

    def _convert(
        self, message: Message, written: Field, field: _MarshmallowField[Any]
    ) -> Convert | None:
        value = map_value(self._contract, written)
        if value is not None:
            if type(field) is not fields.Mapping:
                return _not_a("dict")
            return _each_of_dict(self._one(message, value, field.values))
        if written.repeated:
            if type(field) is not fields.List:
                return _not_a("list")
            return _each_of_list(self._one(message, written, field.inner))
        return self._one(message, written, field)

    def _one(
        self, message: Message, written: Field, field: _MarshmallowField[Any]
    ) -> Convert | None:
        if is_object(written):
            if not isinstance(field, fields.StructField):
                return _not_a("Struct")
            return self._struct(self._contract.messages[written.type_name], field.struct)
        if written.type_name == TIMESTAMP:
            if type(field) is not fields.Timestamp:
                return _not_a("datetime")
            made = self.classes.of(TIMESTAMP)
            return lambda moment: made(**timestamp_of(moment))
        if written.type_name in WRAPPERS:
            wrapper = self.classes.of(written.type_name)
            inner = self._scalar(
                message, self._contract.messages[written.type_name].fields[1], field
            )
            return lambda value: wrapper(**{attribute(1): inner(value)})
        if type(field) is fields.Text and written.type == "string":
            return None
        return self._scalar(message, written, field)

    def _struct(self, message: Message, struct: type[Struct]) -> Convert:
        columns = self.columns(message, struct)
        made = self.classes.of(message.full_name)

        def convert(value: Any) -> Any:
            values = value.__dict__
            return made(
                **{
                    name: values[key] if one is None else one(values[key])
                    for key, name, one in columns
                    if values[key] is not None
                }
            )

        return convert

    def _scalar(self, message: Message, written: Field, field: _MarshmallowField[Any]) -> Convert:
        """By the JSON form, which is what readers get back."""
        if written.type == "enum":
            values = enum_values(self._contract, written, message.derived)
            numbers = {value: number for number, value in values.items()}
            return lambda value: numbers[field._serialize(value, None, None)]
        takes = _TAKES.get(written.type, (int,))
        if written.type == "bytes":
            takes = ()

        def convert(value: Any) -> Any:
            dumped = field._serialize(value, None, None)
            if type(dumped) not in takes:
                raise TypeError(f"a {written.type} cannot hold {dumped!r:.80}")
            return dumped

        return convert


def _each_of_list(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda values: [convert(value) for value in values]


def _each_of_dict(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None
    return lambda values: {key: convert(value) for key, value in values.items()}


def _no_such_field(value: Any) -> Any:
    raise ValueError("it has no such field")


def _not_a(kind: str) -> Callable[[Any], Any]:
    def refuse(value: Any) -> Any:
        raise TypeError(f"it asks for a {kind}")

    return refuse
