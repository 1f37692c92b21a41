"""A parked message whose data an operator has edited: checked as its handlers would, then sent.

It keeps the event's id. A handler that gave up has remembered nothing, so it takes the new data;
one that has done the event with the old data parks it as an id used twice, because its effect is
there already. With a new id the effect could happen twice.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from eventbus.contracts.receiving import Receiving
from eventbus.contracts.wire.content_types import binary_format
from eventbus.envelope import dump_data, in_binary_mode, read_envelope
from eventbus.errors import EventBusError, UndecodableMessage, UnknownName
from eventbus.event import Event
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


def data_of(bus: EventBus, parked: Parked) -> Any:
    """The data before the edit, in their JSON form; None where they have none."""
    try:
        message = in_binary_mode(replace(parked.message, content_encoding=None))
        if binary_format(message.content_type or "") is None:
            # Whatever it is called: it is the operator who looks at it.
            message = replace(message, content_type=_JSON)
        return Receiving(bus).data(message, parked.event or "")
    except EventBusError:
        return None


def read_edited(
    bus: EventBus, text: str, parked: Parked, handlers: Sequence[Handler]
) -> tuple[bytes, list[str]]:
    """The new body, JSON whatever it was before, and what is wrong with it.

    It may be sent only where nothing is.
    """
    receiving = Receiving(bus)
    try:
        body = text.encode()
        data: Any = receiving.data(Message(body, "", content_type=_JSON), "")
        if isinstance(data, dict):
            body = dump_data(data)
    except (UndecodableMessage, ValueError) as error:
        return b"", [str(error)]
    before = data_of(bus, parked)
    # Also those that the handlers do not know.
    known = frozenset(before) if isinstance(before, dict) else frozenset()
    envelope = read_envelope(parked.message)
    errors = []
    for handler in handlers:
        event_class = handler.event_class(envelope.type)
        assert event_class is not None
        read = partial(receiving.read, data, envelope, event_class)
        errors += _errors(handler.name, event_class, data, known, read)
    return body, list(dict.fromkeys(errors))


def _errors(
    handler: str,
    event_class: type[Event],
    data: Any,
    known: frozenset[str],
    read: Callable[[], Event],
) -> list[str]:
    if isinstance(data, dict):
        fields = event_class.__schema__.fields
        names = {field.data_key or name for name, field in fields.items()}
        # A reader ignores what it does not know; of a person it is a slip.
        new = sorted(data.keys() - names - known)
        if new:
            return [f"handler {handler!r} knows no field {', '.join(map(repr, new))}"]
    try:
        read()
    except UndecodableMessage as error:
        return [f"handler {handler!r}: {error}"]
    except Exception as error:  # a field or validator of the application's own
        return [f"handler {handler!r}: {type(error).__name__}: {error}"]
    return []


def edited(parked: Parked, body: bytes, operation: str, by: str, at_ms: int) -> Message:
    """The message with the new `body`, and with who has edited it."""
    message = replace(
        in_binary_mode(parked.for_replay(operation)),
        body=body,
        content_type=_JSON,
        content_encoding=None,
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
