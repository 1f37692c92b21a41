"""A parked message whose data an operator has edited: checked as its handlers would, then sent.

It keeps the event's id. A handler that gave up has remembered nothing, so it takes the new data;
one that has done the event with the old data parks it as an id used twice, because its effect is
there already. With a new id the effect could happen twice.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eventbus.envelope import dump_data, load_data, read_envelope
from eventbus.errors import UndecodableMessage, UnknownName, ValidationError
from eventbus.message import EDITED_AT_HEADER, EDITED_BY_HEADER, Message
from eventbus.subscription import Handler

from .parked import Parked

if TYPE_CHECKING:
    from eventbus.bus import EventBus

#: A message is edited by a person, and its original is kept in the audit.
MOST_EDITED = 20
LARGEST_BODY_BYTES = 256 * 1024

_JSON = "application/json"


class NotEditable(UnknownName):
    """The message cannot be edited: nobody would know whether the new data is right."""


def handlers_of(bus: EventBus, parked: Parked) -> list[Handler]:
    """The handlers that would get it.

    Raises
    ------
    NotEditable
        It is no event, or the application declares no handler for it.
    """
    try:
        envelope = read_envelope(parked.message)
        subscription = bus.subscription(parked.queue)
    except (UndecodableMessage, UnknownName) as error:
        raise NotEditable(f"{parked.id!r} cannot be edited: {error}") from None
    found = [
        handler
        for handler in subscription.handlers
        if handler.accepts(envelope.type) and parked.handler in (None, handler.name)
    ]
    if not found or any(handler.event_class(envelope.type) is None for handler in found):
        raise NotEditable(
            f"{parked.id!r} cannot be edited: this application has no handler with an event class "
            f"for {parked.event!r} from {parked.queue!r}"
        )
    if len(parked.message.body) > LARGEST_BODY_BYTES:
        raise NotEditable(
            f"{parked.id!r} has {len(parked.message.body)} bytes; at most {LARGEST_BODY_BYTES} "
            f"can be edited"
        )
    return found


def read_edited(
    text: str, parked: Parked, handlers: Sequence[Handler], max_bytes: int
) -> tuple[bytes, list[str]]:
    """The new body, and what is wrong with it; it may be sent only where nothing is."""
    try:
        body = text.encode()
        message = Message(body, parked.message.routing_key, content_type=_JSON)
        data: Any = load_data(message, max_bytes)
        if isinstance(data, dict):
            body = dump_data(data)
    except (UndecodableMessage, ValueError) as error:
        return b"", [str(error)]
    known = _fields_of(parked)
    errors = [e for handler in handlers for e in _errors(handler, parked.event, data, known)]
    return body, list(dict.fromkeys(errors))


def _fields_of(parked: Parked) -> frozenset[str]:
    """The names of the fields before the edit, those that the handlers do not know included."""
    try:
        data = json.loads(parked.message.body)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(data) if isinstance(data, dict) else frozenset()


def _errors(handler: Handler, event: str, data: Any, known: frozenset[str]) -> list[str]:
    event_class = handler.event_class(event)
    assert event_class is not None
    if isinstance(data, dict):
        fields = event_class.__schema__.fields
        names = {field.data_key or name for name, field in fields.items()}
        # A reader ignores what it does not know; of a person it is a slip.
        new = sorted(data.keys() - names - known)
        if new:
            return [f"handler {handler.name!r} knows no field {', '.join(map(repr, new))}"]
    try:
        event_class.__read__(data)
    except ValidationError as error:
        return [f"handler {handler.name!r}: {error}"]
    except Exception as error:  # a field or validator of the application's own
        return [f"handler {handler.name!r}: {type(error).__name__}: {error}"]
    return []


def edited(parked: Parked, body: bytes, operation: str, by: str, at_ms: int) -> Message:
    """The message with the new `body`, and with who has edited it."""
    message = replace(
        parked.for_replay(operation), body=body, content_type=_JSON, content_encoding=None
    )
    return message.with_headers({EDITED_BY_HEADER: by, EDITED_AT_HEADER: at_ms})


def original_of(parked: Parked) -> dict[str, Any]:
    """What the audit keeps of a message that was edited."""
    return {
        "id": parked.id,
        "event": parked.event,
        "queue": parked.queue,
        "handler": parked.handler,
        "content_type": parked.message.content_type,
        "body_base64": base64.b64encode(parked.message.body).decode("ascii"),
    }
