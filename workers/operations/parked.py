"""A parked message, read from whatever is in a dead-letter queue.

A worker says in headers why it parked a message. The broker itself parks too, what is delivered
too often, and says so in ``x-death``. And a foreign producer may have put in anything: each header
is looked at before it is believed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from eventbus.envelope import read_envelope
from eventbus.errors import UndecodableMessage
from eventbus.message import (
    ATTEMPTS_HEADER,
    ERROR_AT_HEADER,
    ERROR_HEADER,
    ERROR_MESSAGE_HEADER,
    FIRST_ERROR_AT_HEADER,
    FIRST_ERROR_HEADER,
    FIRST_ERROR_MESSAGE_HEADER,
    HANDLER_HEADER,
    PARKED_AT_HEADER,
    REASON_HEADER,
    REPLAY_HEADER,
    Message,
    last_death,
)

#: What RabbitMQ's words for a reason mean (https://www.rabbitmq.com/docs/dlx).
_BROKER_REASONS = {
    "maxlen": "overflow: the queue was full, and this was its oldest message",
    "delivery_limit": "delivery limit: handed out too often without an outcome, as by a crash",
    "expired": "expired: it stayed in the queue longer than its time to live",
    "rejected": "rejected by a consumer",
}


class Failure(NamedTuple):
    """A failed attempt: the error's class, its first line, and when it was, in epoch ms."""

    error: str | None
    message: str | None
    at_ms: int | None


class Group(NamedTuple):
    """What messages have in common that were parked for the same cause."""

    queue: str
    handler: str | None
    event: str
    error: str


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
    parked_at_ms:
        None where nothing says so.
    operation:
        The id of the replay that had sent it before it was parked again, if any.
    """

    id: str
    event: str
    queue: str
    handler: str | None
    attempts: int | None
    reason: str
    error: str | None
    parked_at_ms: int | None
    operation: str | None
    message: Message

    @property
    def group(self) -> Group:
        """The group it is counted in: the error's class, or its reason up to the colon."""
        error = self.error or self.reason.partition(":")[0]
        return Group(self.queue, self.handler, self.event, error)

    @property
    def first_failure(self) -> Failure:
        """The first attempt that failed."""
        return self._failure(FIRST_ERROR_HEADER, FIRST_ERROR_MESSAGE_HEADER, FIRST_ERROR_AT_HEADER)

    @property
    def last_failure(self) -> Failure:
        """The last attempt that failed."""
        return self._failure(ERROR_HEADER, ERROR_MESSAGE_HEADER, ERROR_AT_HEADER)

    def _failure(self, error: str, message: str, at: str) -> Failure:
        get = self.message.headers.get
        return Failure(_text(get(error)), _text(get(message)), _number(get(at)))

    @property
    def digest(self) -> str:
        """Tells this parked message from others: where it was parked, when, and its content."""
        message = self.message
        parts = (self.queue, self.id, self.handler or "", str(self.parked_at_ms), self.reason)
        content = "\0".join(parts).encode("utf-8", "surrogatepass") + b"\0" + message.body
        return hashlib.sha256(content).hexdigest()

    def for_replay(self, operation: str) -> Message:
        """The message as its producer sent it, for the one handler that failed."""
        added: dict[str, Any] = {REPLAY_HEADER: operation}
        if self.handler is not None:
            added[HANDLER_HEADER] = self.handler
        return self.message.without_worker_headers().with_headers(added)


def read_parked(message: Message, queue: str) -> Parked:
    """What `message`, parked from `queue`, tells of itself."""
    event_id, event = _identity(message)
    headers = message.headers
    death = last_death(headers)
    return Parked(
        id=event_id,
        event=event,
        queue=queue,
        handler=_text(headers.get(HANDLER_HEADER)),
        attempts=_number(headers.get(ATTEMPTS_HEADER)),
        reason=_text(headers.get(REASON_HEADER)) or _broker_reason(death),
        error=_text(headers.get(ERROR_HEADER)),
        parked_at_ms=_number(headers.get(PARKED_AT_HEADER)) or _died_at_ms(death),
        operation=_text(headers.get(REPLAY_HEADER)),
        message=message,
    )


def _identity(message: Message) -> tuple[str, str]:
    """The event's id and name, as far as the message has them."""
    try:
        envelope = read_envelope(message)
    except UndecodableMessage:
        name = message.type or message.routing_key
        return _text(message.message_id) or _digest(message), name
    return envelope.id, envelope.type


def _digest(message: Message) -> str:
    content = message.routing_key.encode("utf-8", "surrogatepass") + b"\0" + message.body
    return f"~{hashlib.sha256(content).hexdigest()[:16]}"


def _broker_reason(death: dict[str, Any]) -> str:
    """The newest entry of RabbitMQ's ``x-death``, in words."""
    if not death:
        return "no reason given"
    word = str(death.get("reason"))
    return _BROKER_REASONS.get(word, f"parked by the broker: {word}")


def _died_at_ms(death: dict[str, Any]) -> int | None:
    time = death.get("time")
    return int(time.timestamp() * 1000) if isinstance(time, datetime) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
