"""Keeps bounded queues bounded: the oldest ready messages beyond the bound are dead-lettered."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventbus import tables
from eventbus.brokers.embedded import rows
from eventbus.brokers.embedded.routes import Bound

#: Counting a queue reads all of it, so it is done after this share of the room that was left,
#: and at a full queue after this share of its bound.
_SHARE_OF_ROOM = 4
_SHARE_OF_BOUND = 100


class Bounds:
    """Counts a queue seldom, and then moves what is too much.

    A queue may exceed its bound by a hundredth, and by what other publishers add meanwhile.
    """

    def __init__(self) -> None:
        self._until_count: dict[str, int] = {}

    def enforce(
        self, connection: Connection, inserted: Mapping[str, int], bounds: Mapping[str, Bound]
    ) -> None:
        """Call it in the transaction that has inserted so many messages by queue."""
        for queue, count in inserted.items():
            if bound := bounds.get(queue):
                left = self._until_count.get(queue, 0) - count
                if left <= 0:
                    left = _trim(connection, queue, bound)
                self._until_count[queue] = left


def _trim(connection: Connection, queue: str, bound: Bound) -> int:
    """Dead-letter what is too much; returns how many more to insert before the next count."""
    # One at a time: two that count the same excess would each move it.
    connection.execute(
        sa.select(tables.queue.c.name).where(tables.queue.c.name == queue).with_for_update()
    )
    excess = _ready_count(connection, queue) - bound.max_length
    left = excess
    while left > 0:
        found = rows.lock_ready(connection, queue, min(left, rows.CHUNK))
        if not found:
            break
        reason = f"maxlen: queue {queue!r} held more than its {bound.max_length} messages"
        rows.park(connection, found, bound.dead_letters, reason)
        left -= len(found)
    return max(-excess // _SHARE_OF_ROOM, bound.max_length // _SHARE_OF_BOUND, 1)


def _ready_count(connection: Connection, queue: str) -> int:
    return int(
        connection.scalar(
            sa.select(sa.func.count())
            .select_from(tables.message)
            .where(
                tables.message.c.queue == queue,
                tables.message.c.owner == rows.NOBODY,
                tables.message.c.available_at_ms <= 0,
            )
        )
        or 0
    )
