"""A message as AMQP 0-9-1 knows it: a body, a routing key, properties and headers.

Every broker adapter takes and gives these; `eventbus.envelope` turns an event into one and back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

#: The one handler a retried or dead-lettered copy is meant for; absent on a fresh message.
HANDLER_HEADER = "eventbus-handler"
#: Attempts of that handler that have failed so far.
ATTEMPTS_HEADER = "eventbus-attempts"
#: Epoch milliseconds before which a retried copy is not to run.
NOT_BEFORE_HEADER = "eventbus-not-before"
#: Why a message was parked, in one sentence.
REASON_HEADER = "eventbus-reason"
#: Class name of the error of the last attempt, its first line, and its time in epoch milliseconds.
ERROR_HEADER = "eventbus-error"
ERROR_MESSAGE_HEADER = "eventbus-error-message"
ERROR_AT_HEADER = "eventbus-error-at"
#: The same of the first attempt that failed.
FIRST_ERROR_HEADER = "eventbus-first-error"
FIRST_ERROR_MESSAGE_HEADER = "eventbus-first-error-message"
FIRST_ERROR_AT_HEADER = "eventbus-first-error-at"
#: The end of the traceback of the last attempt.
TRACEBACK_HEADER = "eventbus-traceback"
#: Of a message that does not fit: which contract, and the JSON path of the field.
CONTRACT_HEADER = "eventbus-contract"
PATH_HEADER = "eventbus-path"
#: Epoch milliseconds at which the message was parked.
PARKED_AT_HEADER = "eventbus-parked-at"
#: The operation that sent a parked message again (`eventbus.workers.operations.dead_letters`).
REPLAY_HEADER = "eventbus-replay"
#: Who has edited a parked message before it was sent again, and when, in epoch milliseconds.
EDITED_BY_HEADER = "eventbus-edited-by"
EDITED_AT_HEADER = "eventbus-edited-at"

#: What the worker adds and a replay takes off again.
WORKER_HEADERS = frozenset(
    {
        HANDLER_HEADER,
        ATTEMPTS_HEADER,
        NOT_BEFORE_HEADER,
        REASON_HEADER,
        ERROR_HEADER,
        ERROR_MESSAGE_HEADER,
        ERROR_AT_HEADER,
        FIRST_ERROR_HEADER,
        FIRST_ERROR_MESSAGE_HEADER,
        FIRST_ERROR_AT_HEADER,
        TRACEBACK_HEADER,
        CONTRACT_HEADER,
        PATH_HEADER,
        PARKED_AT_HEADER,
        REPLAY_HEADER,
    }
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message, outgoing or incoming.

    Parameters
    ----------
    body:
        The bytes, in the form that `content_type` says.
    routing_key:
        As in AMQP 0-9-1: at most 255 bytes of UTF-8.
    headers:
        The AMQP header table: strings, integers, booleans and what else a foreign producer sent.
    message_id, type, content_type, content_encoding, correlation_id, app_id:
        The AMQP properties of the same names (AMQP 0-9-1, Basic class).
    timestamp:
        Epoch seconds, as the AMQP property; whole seconds only.
    """

    body: bytes
    routing_key: str
    headers: dict[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    type: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: str | None = None
    app_id: str | None = None
    timestamp: int | None = None

    def with_headers(self, added: dict[str, Any]) -> Message:
        """The same message with `added` headers; the others are kept."""
        return replace(self, headers={**self.headers, **added})

    def without_worker_headers(self) -> Message:
        """The same message as its producer sent it: nothing of retries, parking or ``x-death``."""
        kept = {
            name: value
            for name, value in self.headers.items()
            if name not in WORKER_HEADERS
            and name != "x-death"
            and not name.startswith("x-first-")
            and not name.startswith("x-last-")
            and name != "x-delivery-count"
        }
        return replace(self, headers=kept)


def last_death(headers: dict[str, Any]) -> dict[str, Any]:
    """RabbitMQ's note of why it dead-lettered a message the last time; empty without one.

    With ``reason``, ``queue``, ``exchange``, ``routing-keys``, ``count``
    (https://www.rabbitmq.com/docs/dlx#effects). Older entries may be a producer's invention.
    """
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        return deaths[0]
    return {}
