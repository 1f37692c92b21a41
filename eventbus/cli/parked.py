"""The shapes in which a parked message is shown and exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventbus.cli.terminal import moment
from eventbus.message import (
    CONTRACT_HEADER,
    EDITED_AT_HEADER,
    EDITED_BY_HEADER,
    PATH_HEADER,
    TRACEBACK_HEADER,
)

if TYPE_CHECKING:
    from eventbus.cli.bodies import Bodies
    from eventbus.workers.operations.parked import Failure, Parked


def row_of(parked: Parked) -> dict[str, Any]:
    """What ``--json`` gives for it in a list."""
    return {
        "id": parked.id,
        "event": parked.event,
        "queue": parked.queue,
        "handler": parked.handler,
        "attempts": parked.attempts,
        "reason": parked.reason,
        "error": parked.error,
        "parked_at": moment(parked.parked_at_ms),
    }


def details_of(parked: Parked, bodies: Bodies) -> dict[str, Any]:
    """What ``--json`` gives for it alone, and an export: all that the message carries."""
    message = parked.message
    return {
        **row_of(parked),
        "contract": _text(message.headers.get(CONTRACT_HEADER)),
        "path": _text(message.headers.get(PATH_HEADER)),
        "first_failure": _failure(parked.first_failure),
        "last_failure": _failure(parked.last_failure),
        "replayed_by": parked.operation,
        "edited_by": _text(message.headers.get(EDITED_BY_HEADER)),
        "edited_at": _moment(message.headers.get(EDITED_AT_HEADER)),
        "traceback": _text(message.headers.get(TRACEBACK_HEADER)),
        "routing_key": message.routing_key,
        "content_type": message.content_type,
        "headers": jsonable(message.headers),
        **bodies.forms(message, parked.event),
    }


def _failure(failure: Failure) -> dict[str, Any] | None:
    if failure.error is None and failure.message is None and failure.at_ms is None:
        return None
    return {"error": failure.error, "message": failure.message, "at": moment(failure.at_ms)}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _moment(value: Any) -> str | None:
    return moment(value) if isinstance(value, int) and not isinstance(value, bool) else None


def jsonable(value: Any) -> Any:
    """A header's value for JSON, whatever the header table of AMQP had in it."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
