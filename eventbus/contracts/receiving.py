"""What a message carries: its body decoded by header, and the event that a handler's class makes of
it.

    content type             JSON, or Avro and Protobuf in the Confluent frame; nothing else is read
    frame, ``dataschema``    which contract and version it was written with
    class                    upcasters, then validation: the event

A body is never guessed at: what no header names is parked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from eventbus.contracts.dataschema import FIRST_VERSION, version_of
from eventbus.contracts.paths import json_path, path_of_errors
from eventbus.contracts.schema import Format
from eventbus.contracts.upcasting import chain, upcast
from eventbus.contracts.wire.codecs import codec_of, unframed
from eventbus.contracts.wire.content_types import binary_format
from eventbus.contracts.wire.frame import HEADER_BYTES, is_framed, unframe
from eventbus.envelope import CONTENT_TYPE, Envelope, check_body, in_binary_mode, load_data
from eventbus.errors import EventBusError, UndecodableMessage, ValidationError
from eventbus.event import Event
from eventbus.message import Message

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.writers import Writer, WriterSchemas


class DoesNotFit(UndecodableMessage):
    """A message does not fit its contract, or the class that it is to be read with.

    Parameters
    ----------
    contract:
        Which, such as ``order.paid version 3``; the event alone where the message does not say.
    at:
        JSON path of the first field that does not fit.
    """

    def __init__(self, reason: str, contract: str, at: str) -> None:
        super().__init__(f"{reason} (contract {contract}, at {at})")
        self.contract = contract
        self.at = at


class Received(Protocol):
    """The data of one message."""

    def read(self, event_class: type[Event]) -> Event:
        """The event, for a handler that takes `event_class`.

        Raises
        ------
        DoesNotFit
            The data do not fit; names contract, path and reason.
        """


class Receiving:
    """Decodes the messages of a worker, on the worker's own thread."""

    def __init__(self, bus: EventBus) -> None:
        self._max_bytes = bus.settings.max_message_bytes
        self._bus = bus
        self._written: dict[tuple[str, int, tuple[int, ...], int], Written] = {}
        self._heads: dict[tuple[str, str | None, Format, bytes], Written] = {}

    def opened(self, message: Message) -> Message:
        """`message` in binary mode, which it need not have come in (`eventbus.structured`).

        Raises
        ------
        UndecodableMessage
            It is in structured mode, but no event, too large, or a batch.
        """
        return in_binary_mode(message, self._max_bytes)

    def receive(self, message: Message, envelope: Envelope) -> Received:
        """Decode as much as can be without the handler's class.

        Raises
        ------
        UndecodableMessage
            The message is of no format that is read, or nothing knows its schema.
        RegistryUnavailable
            What would know its schema does not answer: it may be read later.
        """
        message = self.opened(message)
        content_type = message.content_type
        if content_type is not None and content_type != CONTENT_TYPE:
            format = binary_format(content_type)
            if format is not None:
                return self._binary(message, envelope, format)
        return self._json(message, envelope)

    def data(self, message: Message, event: str) -> Any:
        """The data of an `event` in their JSON form, as they were written; for people.

        Raises
        ------
        EventBusError
            They cannot be decoded; the text says why.
        """
        message = self.opened(message)
        format = binary_format(message.content_type or "")
        if format is None:
            return load_data(message, self._max_bytes)
        check_body(message, self._max_bytes)
        schema_id, indexes, payload = unframed(format, message.body)
        writer = self._writer(schema_id, event, format)
        return codec_of(format).decoder(writer.schema, indexes)(payload)

    def read(self, data: Any, envelope: Envelope, event_class: type[Event]) -> Event:
        """The event that is made of `data`, the JSON form of what a message carries.

        Raises
        ------
        DoesNotFit
            The data do not fit the class.
        """
        return JsonData(data, envelope.type, _version_said(envelope)).read(event_class)

    def _json(self, message: Message, envelope: Envelope) -> Received:
        version = _version_said(envelope)
        if is_framed(message.body):
            # Confluent's JSON serialiser; no JSON text begins with this byte.
            check_body(message, self._max_bytes)
            schema_id, payload = unframe(message.body)
            writer = self._writer(schema_id, envelope.type, Format.JSON)
            version = writer.version or version
            message = replace(message, body=payload)
        return JsonData(load_data(message, self._max_bytes), envelope.type, version)

    def _binary(self, message: Message, envelope: Envelope, format: Format) -> Received:
        check_body(message, self._max_bytes)
        # The usual head of a body has this length; a later message type of Protobuf has a longer.
        length = HEADER_BYTES + (format is Format.PROTOBUF)
        head = (envelope.type, envelope.dataschema, format, message.body[:length])
        known = self._heads.get(head)
        if known is not None:
            return BinaryData(message.body[length:], known)
        schema_id, indexes, payload = unframed(format, message.body)
        said = _version_said(envelope) or FIRST_VERSION
        key = (envelope.type, schema_id, indexes, said)
        written = self._written.get(key)
        if written is None:
            writer = self._writer(schema_id, envelope.type, format)
            written = Written(envelope.type, writer, indexes, writer.version or said)
            if len(self._written) >= _WRITTEN_MAX:
                self._written.clear()
            self._written[key] = written
        if len(message.body) - len(payload) == length and len(envelope.dataschema or "") < 512:
            if len(self._heads) >= _WRITTEN_MAX:
                self._heads.clear()
            self._heads[head] = written
        return BinaryData(payload, written)

    @cached_property
    def _writers(self) -> WriterSchemas:
        # Not imported above: most workers get no body in a frame.
        from eventbus.contracts.writers import WriterSchemas

        return WriterSchemas(self._bus)

    def _writer(self, schema_id: int, event: str, format: Format) -> Writer:
        writer = self._writers.by_id(schema_id, event)
        if writer.schema.format is not format:
            raise UndecodableMessage(
                f"the message says that it is {format.value}, but the schema {schema_id} that it "
                f"was written with is {writer.schema.format.value}"
            )
        return writer


class JsonData:
    """The data of a JSON message."""

    __slots__ = ("_data", "_event", "_version")

    def __init__(self, data: Any, event: str, version: int | None) -> None:
        self._data = data
        self._event = event
        self._version = version

    def read(self, event_class: type[Event]) -> Event:
        """See `Received`."""
        try:
            if event_class.__upcasters__:
                return event_class.__read__(self._upcast(event_class))
            return event_class.__read__(self._data)
        except (ValidationError, UndecodableMessage) as error:
            version = self._version
            contract = self._event if version is None else f"{self._event} version {version}"
            raise _unfit(error, contract) from None

    def _upcast(self, event_class: type[Event]) -> Any:
        version = self._version or FIRST_VERSION
        steps = chain(event_class.__upcasters__, version, self._event)
        return upcast(steps, version, self._data, self._event) if steps else self._data


class Written:
    """What was written with one schema, and how each class reads it."""

    def __init__(self, event: str, writer: Writer, indexes: tuple[int, ...], version: int) -> None:
        self.contract = writer.contract
        self._event = event
        self._schema = writer.schema
        self._indexes = indexes
        self._version = version
        self._readers: dict[type[Event], Callable[[bytes], Event]] = {}

    def reader(self, event_class: type[Event]) -> Callable[[bytes], Event]:
        """Return what reads a payload into an event; it raises where nothing can."""
        reader = self._readers.get(event_class)
        if reader is None:
            try:
                reader = self._make_reader(event_class)
            except EventBusError as error:
                reader = _raising(str(error))
            self._readers[event_class] = reader
        return reader

    def _make_reader(self, event_class: type[Event]) -> Callable[[bytes], Event]:
        codec = codec_of(self._schema.format)
        event, version = self._event, self._version
        steps = chain(event_class.__upcasters__, version, event)
        if not steps:
            return codec.reader(event_class, self._schema, self._indexes)
        decode = codec.decoder(self._schema, self._indexes)
        return lambda payload: event_class.__read__(upcast(steps, version, decode(payload), event))


class BinaryData:
    """The data of an Avro or a Protobuf message."""

    __slots__ = ("_payload", "_written")

    def __init__(self, payload: bytes, written: Written) -> None:
        self._payload = payload
        self._written = written

    def read(self, event_class: type[Event]) -> Event:
        """See `Received`."""
        written = self._written
        try:
            return written.reader(event_class)(self._payload)
        except (ValidationError, UndecodableMessage) as error:
            raise _unfit(error, written.contract) from None


#: Combinations of event, schema, message type and version; a stranger may send any number.
_WRITTEN_MAX = 4_096


def _version_said(envelope: Envelope) -> int | None:
    """The version that the message says; None where it says none."""
    uri = envelope.dataschema
    return None if uri is None else version_of(uri, envelope.type)


def _unfit(error: ValidationError | UndecodableMessage, contract: str) -> DoesNotFit:
    if isinstance(error, ValidationError):
        return DoesNotFit(str(error), contract, path_of_errors(error.errors))
    return DoesNotFit(str(error), contract, json_path(error.path))


def _raising(reason: str) -> Callable[[bytes], Event]:
    def read(payload: bytes) -> Event:
        raise UndecodableMessage(reason)

    return read
