"""What turns events into the bytes of one format and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from eventbus.contracts.schema import Schema
from eventbus.contracts.wire.frame import FIRST_MESSAGE
from eventbus.event import Event


class Codec(Protocol):
    """Offered as ``CODEC`` by `eventbus.contracts.avro` and `eventbus.contracts.protobuf`.

    The bytes are those behind the frame's magic byte and id (and Protobuf's message indexes).
    What a decoder raises for bytes that do not fit is UndecodableMessage, within bounded time and
    memory whatever the bytes are. Where an event does not fit `schema`, an encoder raises
    ValidationError, whose ``errors`` name the field.

    `indexes` say which message type of a ``.proto`` file was written (`eventbus.contracts.wire.
    frame`); the Avro codec does without.
    """

    #: CloudEvents ``datacontenttype`` and the AMQP property ``content-type``.
    content_type: str

    def encoder(self, event_class: type[Event], schema: Schema) -> Callable[[Event], bytes]:
        """Return what writes events of this class by `schema`, the registered contract."""

    def decoder(
        self, writer: Schema, indexes: tuple[int, ...] = FIRST_MESSAGE
    ) -> Callable[[bytes], dict[str, Any]]:
        """Return what reads bytes written by `writer` into the event's JSON form."""

    def reader(
        self, event_class: type[Event], writer: Schema, indexes: tuple[int, ...] = FIRST_MESSAGE
    ) -> Callable[[bytes], Event]:
        """Return what reads bytes written by `writer` into an event, resolved to its fields.

        The fast way: `decoder` and ``Event.__read__`` give the same event.
        """
