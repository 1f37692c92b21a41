"""A stored row as the message to publish."""

from __future__ import annotations

import json

from eventbus.envelope import to_message
from eventbus.errors import EventBusError
from eventbus.message import Message
from eventbus.outbox.store import StoredRow
from eventbus.settings import BINARY, STRUCTURED
from eventbus.structured import packed


class UnsendableRow(EventBusError):
    """A row does not hold what eventbus writes; no message can be made of it."""


def to_publication(row: StoredRow, content_mode: str = BINARY) -> Message:
    """The message for a row of the outbox or of the event log; the same each time it is sent.

    Parameters
    ----------
    content_mode:
        CloudEvents AMQP protocol binding §1.3: ``binary`` or ``structured``. Either says the same.

    Raises
    ------
    UnsendableRow
        Somebody else has written to the table.
    """
    try:
        attributes = json.loads(row.attributes)
        if not all(type(value) is str for value in attributes.values()):
            raise TypeError("an attribute is not a string")
        message = to_message(attributes, row.body, row.created_at_ms // 1000)
        return packed(message) if content_mode == STRUCTURED else message
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnsendableRow(
            f"the columns of row {row.seq} do not hold an event ({type(error).__name__}: "
            f"{str(error)[:200]})"
        ) from None
