"""A stored row as the message to publish."""

from __future__ import annotations

import json

from eventbus.envelope import to_message
from eventbus.errors import EventBusError
from eventbus.message import Message
from eventbus.outbox.store import StoredRow


class UnsendableRow(EventBusError):
    """A row does not hold what eventbus writes; no message can be made of it."""


def to_publication(row: StoredRow) -> Message:
    """The message for a row of the outbox or of the event log; the same each time it is sent.

    Raises
    ------
    UnsendableRow
        Somebody else has written to the table.
    """
    try:
        attributes = json.loads(row.attributes)
        if not all(type(value) is str for value in attributes.values()):
            raise TypeError("an attribute is not a string")
        return to_message(attributes, row.body, row.created_at_ms // 1000)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnsendableRow(
            f"the columns of row {row.seq} do not hold an event ({type(error).__name__}: "
            f"{str(error)[:200]})"
        ) from None
