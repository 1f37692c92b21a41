"""Message classes of the protobuf package for a contract, whatever its fields are called.

A field may be called like a method of the message class, such as ``Clear``. On the wire only the
number counts, so the fields get names of ours.
"""

from __future__ import annotations

from typing import Any

from eventbus.contracts.protobuf.model import Contract, Message
from eventbus.contracts.protobuf.reading import file_descriptors
from eventbus.errors import InvalidSchema, UndecodableMessage


def attribute(number: int) -> str:
    """The name of the field with this number in our message classes."""
    return f"field_{number}_"


class MessageClasses:
    """The message classes of one contract, in a descriptor pool of its own.

    Raises
    ------
    InvalidSchema
        The installed protobuf package does not know what the schema uses.
    """

    def __init__(self, contract: Contract) -> None:
        from google.protobuf import descriptor_pool

        self._pool = descriptor_pool.DescriptorPool()
        self._classes: dict[str, Any] = {}
        try:
            for file in file_descriptors(contract.descriptors):
                _rename_fields(file.message_type)
                self._pool.Add(file)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise InvalidSchema(
                f"the installed protobuf package cannot use this schema: {str(error)[:200]}"
            ) from None

    def of(self, full_name: str) -> Any:
        """The class of the message with this name."""
        if full_name not in self._classes:
            from google.protobuf import message_factory

            descriptor = self._pool.FindMessageTypeByName(full_name)
            self._classes[full_name] = message_factory.GetMessageClass(descriptor)
        return self._classes[full_name]


def _rename_fields(messages: Any) -> None:
    for message in messages:
        if not message.options.map_entry:
            for field in message.field:
                field.name = attribute(field.number)
                field.ClearField("json_name")
            for index, oneof in enumerate(message.oneof_decl):
                oneof.name = f"oneof_{index}_"
        _rename_fields(message.nested_type)


def event_message(contract: Contract) -> Message:
    """The message of the event; InvalidSchema where the schema has none."""
    if contract.event is None:
        raise InvalidSchema("the schema declares no message that could be an event")
    return contract.event


class Parser:
    """Turns bytes into the message of a contract's event.

    Raises
    ------
    UndecodableMessage
        When called, with bytes that are no such message.
    """

    def __init__(self, contract: Contract, classes: MessageClasses) -> None:
        from google.protobuf.message import DecodeError

        message = event_message(contract)
        self._name = message.full_name
        self._from_string = classes.of(message.full_name).FromString
        self._has_required = any(
            field.required
            for found in contract.messages.values()
            for field in found.fields.values()
        )
        # The implementation in Python recurses, and decodes text itself.
        self._errors = (DecodeError, RecursionError, ValueError)

    def __call__(self, data: bytes) -> Any:
        try:
            message = self._from_string(data)
        except self._errors as error:
            raise UndecodableMessage(
                f"the body is no {self._name} of Protobuf: {str(error)[:200]}"
            ) from None
        if self._has_required and not message.IsInitialized():
            missing = ", ".join(message.FindInitializationErrors()[:3])
            raise UndecodableMessage(
                f"the body is no {self._name} of Protobuf: required fields are missing"
                f"{_numbers(missing)}"
            )
        return message


def _numbers(names: str) -> str:
    """The names are ours, which say the numbers."""
    shown = names.replace("field_", "").replace("_", "")
    return f" (number {shown})" if shown else ""
