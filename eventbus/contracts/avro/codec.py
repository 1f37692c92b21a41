"""Events as Avro bodies and back.

They are written by fastavro. They are read here: fastavro, made for files of one's own, ends the
process on a deeply nested body, loops on a block of 2⁶² nulls, and takes a branch -1 of a union for
the last (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventbus.contracts.avro.binary import BROKEN, Malformed, malformed, whole
from eventbus.contracts.avro.events import EventReading
from eventbus.contracts.avro.parsed import parse
from eventbus.contracts.avro.reading import Reading
from eventbus.contracts.avro.types import Record
from eventbus.contracts.avro.writing import DoesNotFit, writer
from eventbus.contracts.schema import Schema
from eventbus.errors import InvalidSchema, UndecodableMessage, ValidationError
from eventbus.event import Event


class AvroCodec:
    """See `eventbus.contracts.wire.port`.

    Bytes without a logical type have Avro's own JSON form, a character each. A field of the class
    that is a string reads them as UTF-8, as Avro's promotion does.
    """

    content_type = "application/avro"

    def encoder(self, event_class: type[Event], schema: Schema) -> Callable[[Event], bytes]:
        """What writes events by `schema`; ValidationError where one does not fit."""
        write = writer(_record(schema))
        name = event_class.__event_name__ or event_class.__name__

        def encode(event: Event) -> bytes:
            try:
                return write(event.__wire__())
            except DoesNotFit as error:
                raise _unfit(name, error.errors) from None

        return encode

    def decoder(
        self, writer: Schema, indexes: tuple[int, ...] = ()
    ) -> Callable[[bytes], dict[str, Any]]:
        """What reads bytes written by `writer` into JSON form, under the writer's field names."""
        root = _record(writer)
        reading = Reading(root)
        return _decoding(whole(reading.json(root), reading.metered))

    def reader(
        self, event_class: type[Event], writer: Schema, indexes: tuple[int, ...] = ()
    ) -> Callable[[bytes], Event]:
        """What reads bytes written by `writer` into an event of this class."""
        root = _record(writer)
        reading = Reading(root)
        read = whole(EventReading(reading).struct(root, event_class), reading.metered)
        decode = self.decoder(writer)

        def read_event(body: bytes) -> Event:
            try:
                event: Event = read(body)
            except BROKEN as error:
                # All that is wrong is said by the class itself, in its own words.
                event_class.__read__(decode(body))
                raise _undecodable(malformed(error)) from None
            return event

        return read_event


def _record(schema: Schema) -> Record:
    root = parse(schema)
    if not isinstance(root, Record):
        raise InvalidSchema(f"the contract of an event is an Avro record, not a {root.kind}")
    return root


def _decoding(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decode(body: bytes) -> Any:
        try:
            return read(body)
        except BROKEN as error:
            raise _undecodable(malformed(error)) from None

    return decode


def _undecodable(error: Malformed) -> UndecodableMessage:
    at = f", at {'.'.join(error.path)[:200]}" if error.path else ""
    return UndecodableMessage(f"the Avro body does not fit its contract: {error}{at}", error.path)


def _unfit(event: str, errors: Any) -> ValidationError:
    told = errors if isinstance(errors, dict) else {"_schema": errors}
    return ValidationError(f"{event} does not fit its contract: {_first(told)}", told)


def _first(errors: Any, path: str = "") -> str:
    """The first of nested errors, with its path."""
    while isinstance(errors, dict):
        key = next(iter(errors))
        path = f"{path}.{key}" if path else str(key)
        errors = errors[key]
    return f"{path}: {errors[0]}"
