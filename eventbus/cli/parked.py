"""A parked message as an operator sees it, read from whatever is in the dead-letter queue.

A worker says in headers why it parked a message. The broker itself parks too, what overflows a
queue or is delivered too often, and says so in ``x-death``. And a foreign producer may have put in
anything: each header is looked at before it is believed.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from eventbus.cli.terminal import moment
from eventbus.errors import UndecodableMessage
from eventbus.message import (
    ATTEMPTS_HEADER,
    ERROR_HEADER,
    HANDLER_HEADER,
    PARKED_AT_HEADER,
    REASON_HEADER,
    TRACEBACK_HEADER,
    Message,
)

#: What RabbitMQ's words for a reason mean (https://www.rabbitmq.com/docs/dlx).
_BROKER_REASONS = {
    "maxlen": "overflow: the queue was full, and this was its oldest message",
    "delivery_limit": "delivery limit: handed out too often without an outcome, as by a crash",
    "expired": "expired: it stayed in the queue longer than its time to live",
    "rejected": "rejected by a consumer",
}


@dataclass(frozen=True)
class Parked:
    """One message in a dead-letter queue.

    Parameters
    ----------
    id:
        The event's id. A message without one gets ``~`` and a digest of its content, so that it
        can be named all the same.
    queue:
        Full name of the queue that it was parked from.
    handler:
        The handler that failed, the only one that a replay runs; None: all of the queue.
    """

    id: str
    event: str
    queue: str
    handler: str | None
    attempts: int | None
    reason: str
    error: str | None
    parked_at_ms: int | None
    message: Message

    def row(self) -> dict[str, Any]:
        """What ``--json`` gives for it in a list."""
        return {
            "id": self.id,
            "event": self.event,
            "queue": self.queue,
            "handler": self.handler,
            "attempts": self.attempts,
            "reason": self.reason,
            "error": self.error,
            "parked_at": moment(self.parked_at_ms),
        }

    def details(self) -> dict[str, Any]:
        """What ``--json`` gives for it alone: all that the message carries."""
        text, encoded = _body(self.message.body)
        message = self.message
        return {
            **self.row(),
            "traceback": _text(message.headers.get(TRACEBACK_HEADER)),
            "routing_key": message.routing_key,
            "content_type": message.content_type,
            "headers": _jsonable(message.headers),
            "body": text,
            "body_base64": encoded,
        }

    def for_replay(self) -> Message:
        """The message as its producer sent it, for the one handler that failed."""
        fresh = self.message.without_worker_headers()
        return fresh if self.handler is None else fresh.with_headers({HANDLER_HEADER: self.handler})


def read_parked(message: Message, queue: str) -> Parked:
    """What `message`, parked from `queue`, tells of itself."""
    event_id, event = _identity(message)
    headers = message.headers
    error = _text(headers.get(ERROR_HEADER))
    return Parked(
        id=event_id,
        event=event,
        queue=queue,
        handler=_text(headers.get(HANDLER_HEADER)),
        attempts=_number(headers.get(ATTEMPTS_HEADER)),
        reason=_text(headers.get(REASON_HEADER)) or _broker_reason(headers.get("x-death")),
        error=error,
        parked_at_ms=_number(headers.get(PARKED_AT_HEADER)),
        message=message,
    )


def _identity(message: Message) -> tuple[str, str]:
    """The event's id and name, as far as the message has them."""
    from eventbus.envelope import read_envelope

    try:
        envelope = read_envelope(message)
    except UndecodableMessage:
        name = message.type or message.routing_key
        return _text(message.message_id) or _digest(message), name
    return envelope.id, envelope.type


def _digest(message: Message) -> str:
    content = message.routing_key.encode("utf-8", "surrogatepass") + b"\0" + message.body
    return f"~{hashlib.sha256(content).hexdigest()[:16]}"


def _broker_reason(deaths: Any) -> str:
    """The newest entry of RabbitMQ's ``x-death``, in words."""
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        word = str(deaths[0].get("reason"))
        return _BROKER_REASONS.get(word, f"parked by the broker: {word}")
    return "no reason given"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _body(body: bytes) -> tuple[str | None, str | None]:
    """The body as text, or in base64 where it is none."""
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode("ascii")


def _jsonable(value: Any) -> Any:
    """A header's value for JSON, whatever the header table of AMQP had in it."""
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
