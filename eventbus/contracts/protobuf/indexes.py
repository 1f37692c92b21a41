"""Which message of a schema was written, where it is not the first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eventbus.contracts.protobuf.compiled import contract_of
from eventbus.contracts.protobuf.model import Contract
from eventbus.contracts.protobuf.reading import file_descriptors
from eventbus.contracts.schema import Schema
from eventbus.contracts.wire.frame import FIRST_MESSAGE
from eventbus.errors import UndecodableMessage


def contract_at(schema: Schema, indexes: tuple[int, ...]) -> Contract:
    """The schema with the message at `indexes` as the event's: ``(1, 0)`` is the first inside the
    second.

    Raises
    ------
    InvalidSchema
        It is no Protobuf schema.
    UndecodableMessage
        It has no such message.
    """
    contract = contract_of(schema)
    if indexes == FIRST_MESSAGE:
        return contract
    own = file_descriptors(contract.descriptors)[-1]
    name, messages = own.package, own.message_type
    for index in indexes:
        message: Any = messages[index] if index < len(messages) else None
        if message is None or message.options.map_entry:
            raise UndecodableMessage(
                f"the frame says the message type at {list(indexes)}, which the schema has not"
            )
        name = f"{name}.{message.name}" if name else message.name
        messages = message.nested_type
    return replace(contract, roots=(name,))
