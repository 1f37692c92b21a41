"""From a message to the event's JSON form, by the writer's schema alone."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from eventbus.contracts.protobuf.model import TIMESTAMP, Contract, Field, Message
from eventbus.contracts.protobuf.runtime import MessageClasses, Parser, attribute, event_message
from eventbus.contracts.protobuf.values import WRAPPERS, Convert, to_json
from eventbus.errors import UndecodableMessage

Get = Callable[[Any], Any]

#: Values of one body: two bytes can be a message, and a message as many values as it has fields.
VALUES_MAX = 500_000


class Decoder:
    """Reads the bytes of one contract into JSON values.

    Parameters
    ----------
    contract:
        The writer's.
    """

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.classes = MessageClasses(contract)
        self._message = event_message(contract)
        self._parse = Parser(contract, self.classes)
        self._whole = {name: _Whole(self, found) for name, found in contract.messages.items()}
        self._values_per_byte = max(len(found.fields) for found in contract.messages.values()) / 2

    def parse(self, data: bytes) -> Any:
        """The message in `data`.

        Raises
        ------
        UndecodableMessage
            The bytes are no such message, or hold too many.
        """
        message = self._parse(data)
        if len(data) * self._values_per_byte > VALUES_MAX:
            _Counting(self.contract).count(message, self._message)
        return message

    def __call__(self, data: bytes) -> dict[str, Any]:
        message = self.parse(data)
        try:
            data_in_json: dict[str, Any] = self.whole(self._message.full_name)(message)
        except ValueError as error:
            raise UndecodableMessage(
                f"the body is no {self._message.full_name}: {str(error)[:200]}"
            ) from None
        return data_in_json

    def whole(self, full_name: str) -> Get:
        """What reads a message with this name into a dict."""
        return self._whole[full_name]

    def to_json(self, message: Message, field: Field) -> Convert | None:
        """What makes the JSON form of one value of a field, or of one of a list's or map's."""
        value = map_value(self.contract, field) or field
        if is_object(value):
            return self.whole(value.type_name)
        return to_json(self.contract, value, message.derived)

    def getter(self, message: Message, field: Field) -> Get:
        """What takes the JSON form of a field out of a message."""
        return getter(
            self.contract,
            field,
            self.to_json(message, field),
            absent_is_default=self.has_default(message, field),
        )

    def has_default(self, message: Message, field: Field) -> bool:
        """Whether the schema says what it is where it is absent."""
        found = self._declared(message, field)
        return found is not None and bool(found.has_default_value)

    def is_declared(self, message: Message, field: Field) -> bool:
        """Whether it is no extension: those have no place in the JSON form."""
        return self._declared(message, field) is not None

    def _declared(self, message: Message, field: Field) -> Any:
        descriptor = self.classes.of(message.full_name).DESCRIPTOR
        return descriptor.fields_by_name.get(attribute(field.number))


class _Whole:
    """Reads one kind of message into a dict; built when the first one comes, as kinds recurse."""

    def __init__(self, decoder: Decoder, message: Message) -> None:
        self._decoder = decoder
        self._message = message
        self._check = misread_check(message)
        self._gets: list[tuple[str, Get]] | None = None

    def __call__(self, message: Any) -> dict[str, Any]:
        if self._gets is None:
            self._gets = [
                (field.name, self._decoder.getter(self._message, field))
                for field in self._message.fields.values()
                if self._decoder.is_declared(self._message, field)
            ]
        self._check(message)
        return {name: get(message) for name, get in self._gets}


def is_object(field: Field) -> bool:
    """Whether its values are objects in JSON: messages, but no moments and no wrappers."""
    return field.composite and field.type_name != TIMESTAMP and field.type_name not in WRAPPERS


def map_value(contract: Contract, field: Field) -> Field | None:
    """The field of a map's values; None where `field` is no map."""
    if field.repeated and field.composite:
        entry = contract.messages[field.type_name]
        if entry.is_map_entry:
            return entry.fields[2]
    return None


def getter(
    contract: Contract, field: Field, convert: Convert | None, *, absent_is_default: bool = False
) -> Get:
    """What takes a field out of a message: a value, a list, a dict, or None for an absent one."""
    name = attribute(field.number)
    if map_value(contract, field) is not None:
        # JSON has no keys but texts.
        if contract.messages[field.type_name].fields[1].type != "string":
            return _map_with(name, convert or _same, str)
        return _map_with(name, convert or _same, _same)
    if field.repeated:
        return _list(name, convert)
    if field.has_presence and not absent_is_default:
        return _present(name, convert)
    return attrgetter(name) if convert is None else _converted(name, convert)


def _same(value: Any) -> Any:
    return value


def _map_with(name: str, convert: Convert, key: Convert) -> Get:
    def get(message: Any) -> dict[str, Any]:
        return {key(found): convert(value) for found, value in getattr(message, name).items()}

    return get


def _list(name: str, convert: Convert | None) -> Get:
    if convert is None:
        return lambda message: list(getattr(message, name))
    return lambda message: [convert(item) for item in getattr(message, name)]


def _present(name: str, convert: Convert | None) -> Get:
    if convert is None:
        return lambda message: getattr(message, name) if message.HasField(name) else None
    return lambda message: convert(getattr(message, name)) if message.HasField(name) else None


def _converted(name: str, convert: Convert) -> Get:
    return lambda message: convert(getattr(message, name))


def misread_check(message: Message) -> Get:
    """What refuses a message in which a declared field came in another encoding.

    Protobuf's parsers put such a field among the unknown ones and go on with its default. Numbers
    that the schema does not have are skipped, as Protobuf says.
    """
    from google.protobuf.unknown_fields import UnknownFieldSet

    declared = frozenset(message.fields)

    def check(found: Any) -> None:
        unknown = UnknownFieldSet(found)
        if len(unknown):
            for field in unknown:
                if field.field_number in declared:
                    raise ValueError(
                        f"field {message.fields[field.field_number].name} of {message.full_name} "
                        f"is written as another type, or as an enum value that is not declared"
                    )

    return check


class _Counting:
    """Counts what the messages of a large body would become, before they do."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._left = VALUES_MAX

    def count(self, message: Any, kind: Message) -> None:
        self._left -= len(kind.fields)
        if self._left < 0:
            raise UndecodableMessage(
                f"the body holds more than {VALUES_MAX:,} values, absent ones included"
            )
        for number, field in kind.fields.items():
            held = map_value(self._contract, field) or field
            if not held.composite:
                continue
            name = attribute(number)
            inner = self._contract.messages[held.type_name]
            if not field.repeated:
                if message.HasField(name):
                    self.count(getattr(message, name), inner)
            elif held is field:
                for item in getattr(message, name):
                    self.count(item, inner)
            else:
                for item in getattr(message, name).values():
                    self.count(item, inner)
