"""Keeps bounded queues bounded: what a queue has no room for overflows, or is refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventbus import tables
from eventbus.brokers.embedded import rows
from eventbus.brokers.embedded.routes import Bound
from eventbus.topology import overflow_queue_name

#: Counting a queue reads all of it, so it is done after this share of the room that was left,
#: and at a full queue after this share of its bound.
_SHARE_OF_ROOM = 4
_SHARE_OF_BOUND = 100

#: A queue that has refused takes again when it is this much below its bound, like RabbitMQ's.
_SHARE_TO_REOPEN = 5

#: A full queue is not counted again within so many seconds.
_FULL_SECONDS = 0.1


class Bounds:
    """Counts a queue seldom, and then moves or refuses what is too much.

    A queue may exceed its bound by a hundredth, and by what other publishers add meanwhile.
    """

    def __init__(self) -> None:
        self._until_count: dict[str, int] = {}
        #: Queues that refuse, and when to count them again.
        self._full: dict[str, float] = {}
        #: What was admitted in this transaction and cannot be counted yet.
        self._admitted: Counter[str] = Counter()

    def begin(self) -> None:
        """Call it at the begin of a transaction."""
        self._admitted.clear()

    def admit(
        self, connection: Connection, queues: Iterable[str], bounds: Mapping[str, Bound]
    ) -> bool:
        """Whether every one of `queues` that refuses what is too much has room for a message.

        If so, the room is taken: the caller inserts the message in this transaction.
        """
        refusing = [queue for queue in queues if (bound := bounds.get(queue)) and bound.refuses]
        if not all(self._has_room(connection, queue, bounds[queue]) for queue in refusing):
            return False
        for queue in refusing:
            self._until_count[queue] -= 1
        self._admitted.update(refusing)
        return True

    def _has_room(self, connection: Connection, queue: str, bound: Bound) -> bool:
        if self._until_count.get(queue, 0) > 0:
            return True
        if time.monotonic() < self._full.get(queue, 0.0):
            return False
        room = bound.max_length - _ready_count(connection, queue) - self._admitted[queue]
        needed = max(1, bound.max_length // _SHARE_TO_REOPEN) if queue in self._full else 1
        if room < needed:
            self._full[queue] = time.monotonic() + _FULL_SECONDS
            return False
        self._full.pop(queue, None)
        self._until_count[queue] = _before_next_count(room, bound)
        return True

    def enforce(
        self, connection: Connection, inserted: Mapping[str, int], bounds: Mapping[str, Bound]
    ) -> None:
        """Move what is too much; call it in the transaction that has inserted so many by queue."""
        for queue, count in inserted.items():
            bound = bounds.get(queue)
            if bound and not bound.refuses:
                left = self._until_count.get(queue, 0) - count
                if left <= 0:
                    left = _trim(connection, queue, bound)
                self._until_count[queue] = left


def _trim(connection: Connection, queue: str, bound: Bound) -> int:
    """Dead-letter what is too much; returns how many more to insert before the next count."""
    # One at a time: two that count the same excess would each move it.
    rows.lock_queue(connection, queue)
    excess = _ready_count(connection, queue) - bound.max_length
    left = excess
    while left > 0:
        found = rows.lock_ready(connection, queue, min(left, rows.CHUNK))
        if not found:
            break
        if bound.dead_letters == overflow_queue_name(queue):
            rows.move(connection, found, bound.dead_letters)
        else:
            reason = f"maxlen: queue {queue!r} held more than its {bound.max_length} messages"
            rows.park(connection, found, bound.dead_letters, reason)
        left -= len(found)
    return _before_next_count(-excess, bound)


def _before_next_count(room: int, bound: Bound) -> int:
    return max(room // _SHARE_OF_ROOM, bound.max_length // _SHARE_OF_BOUND, 1)


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
