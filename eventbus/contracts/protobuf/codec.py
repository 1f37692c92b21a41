"""Events as Protobuf messages (see `eventbus.contracts.wire.port.Codec`).

A field is found by its name in the writer's schema, or by an alias: the class has no numbers. What
the message leaves out is null where the schema can tell, and zero where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventbus.contracts.protobuf.compiled import contract_of
from eventbus.contracts.protobuf.decoding import Decoder
from eventbus.contracts.protobuf.encoding import EventEncoder
from eventbus.contracts.protobuf.event_reading import EventReader
from eventbus.contracts.protobuf.indexes import contract_at
from eventbus.contracts.schema import Schema
from eventbus.contracts.wire.frame import FIRST_MESSAGE
from eventbus.event import Event


class ProtobufCodec:
    """Turns events into Protobuf bytes and back; ours are the schema's first message."""

    content_type = "application/protobuf"

    def encoder(self, event_class: type[Event], schema: Schema) -> Callable[[Event], bytes]:
        """Return what writes events of this class by `schema`, the registered contract.

        Raises
        ------
        InvalidSchema
            It is no Protobuf schema with a message.
        ValidationError
            When called, with an event that has a value that the contract has no place for.
        """
        return EventEncoder(event_class, contract_of(schema))

    def decoder(
        self, writer: Schema, indexes: tuple[int, ...] = FIRST_MESSAGE
    ) -> Callable[[bytes], dict[str, Any]]:
        """Return what reads bytes written by `writer` into the event's JSON form.

        Raises
        ------
        InvalidSchema
            It is no Protobuf schema with a message.
        UndecodableMessage
            It has no message at `indexes`; or, when called, with bytes that `writer` did not write.
        """
        return Decoder(contract_at(writer, indexes))

    def reader(
        self, event_class: type[Event], writer: Schema, indexes: tuple[int, ...] = FIRST_MESSAGE
    ) -> Callable[[bytes], Event]:
        """Return what reads bytes written by `writer` into an event, resolved to its fields.

        Raises
        ------
        InvalidSchema
            It is no Protobuf schema with a message.
        UndecodableMessage
            It has no message at `indexes`; or, when called, with bytes that `writer` did not write.
        ValidationError
            When called, with an event that the class does not take.
        """
        return EventReader(event_class, Decoder(contract_at(writer, indexes)))
