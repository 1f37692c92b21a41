"""A stored row as the message to publish."""

from __future__ import annotations

import json

from eventbus.envelope import to_message
from eventbus.message import Message
from eventbus.outbox.store import StoredRow


def to_publication(row: StoredRow) -> Message:
    """The message for a row of the outbox or of the event log; the same each time it is sent."""
    return to_message(json.loads(row.attributes), row.body, row.created_at_ms // 1000)
