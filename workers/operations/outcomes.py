"""What became of messages that were sent again: handled, or parked once more.

Nobody tells an operator's process. That a handler has done an event is remembered by the
idempotency store or the inbox, which can be asked; that a message came back is seen in its
dead-letter queue.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

import sqlalchemy as sa

from eventbus.brokers.port import Admin
from eventbus.database import reading
from eventbus.envelope import in_binary_mode, read_envelope
from eventbus.errors import EventBusError, UndecodableMessage, UnknownName
from eventbus.message import REPLAY_HEADER
from eventbus.tables import inbox
from eventbus.topology import dead_letter_queue_name

from ..idempotency import make_store
from ..idempotency.names import bounded, handler_name
from ..idempotency.port import Key
from .parked import Parked

if TYPE_CHECKING:
    from eventbus.bus import EventBus

_log = logging.getLogger("eventbus.operations")

_CHUNK = 200


class Handled:
    """Tells how many of the messages that it was shown have been handled since.

    Only messages of handlers that the application declares; it needs `known` to be True.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._open: list[list[Key]] = []
        self.count = 0
        #: Whether every message so far has handlers that can be asked for.
        self.known = True

    def expect(self, parked: Parked) -> None:
        """Look out for one more."""
        keys = self._keys(parked)
        if keys:
            self._open.append(keys)
        else:
            self.known = False

    def look(self) -> int:
        """How many have been handled by now, by each of their handlers."""
        try:
            done = self._done({key for keys in self._open for key in keys})
        except EventBusError as error:
            _log.warning("what is handled cannot be asked: %s", error)
            self.known = False
            return self.count
        left = [keys for keys in self._open if not done.issuperset(keys)]
        self.count += len(self._open) - len(left)
        self._open = left
        return self.count

    def _keys(self, parked: Parked) -> list[Key]:
        try:
            message = in_binary_mode(parked.message)
            envelope = read_envelope(message)
            subscription = self._bus.subscription(parked.queue)
        except (UndecodableMessage, UnknownName):
            return []
        fingerprint = blake2b(message.body, digest_size=8).hexdigest()
        return [
            Key(handler.name, f"{envelope.source} {envelope.id}", fingerprint)
            for handler in subscription.handlers
            if handler.accepts(envelope.type) and parked.handler in (None, handler.name)
        ]

    def _done(self, keys: Iterable[Key]) -> set[Key]:
        handlers = self._bus.handlers
        plain = [key for key in keys if not handlers[key.handler].transactional]
        transactional = [key for key in keys if handlers[key.handler].transactional]
        return {*self._remembered(plain), *self._in_inbox(transactional)}

    def _remembered(self, keys: Sequence[Key]) -> Iterator[Key]:
        if not keys:
            return
        with closing(make_store(self._bus)) as store:
            for part in _chunks(keys):
                yield from (key for key, done in zip(part, store.done(part), strict=True) if done)

    def _in_inbox(self, keys: Sequence[Key]) -> Iterator[Key]:
        service = self._bus.service
        for part in _chunks(keys):
            names = {
                (bounded(handler_name(service, key.handler), 200), bounded(key.event_id, 300)): key
                for key in part
            }
            columns = sa.tuple_(inbox.c.handler, inbox.c.event_id)
            query = sa.select(inbox.c.handler, inbox.c.event_id).where(columns.in_(list(names)))
            with reading(self._bus.engine) as connection:
                yield from (names[row.handler, row.event_id] for row in connection.execute(query))


def _chunks(keys: Sequence[Key]) -> Iterator[list[Key]]:
    left = iter(keys)
    while part := list(islice(left, _CHUNK)):
        yield part


class Returned:
    """How many of the messages that an operation has sent are in the dead-letter queues again.

    Counted by how the queues have grown, which costs nothing; looked at one by one only where
    that gives a reason to, as others are parked there as well. To be asked while nothing is held.

    Parameters
    ----------
    counts:
        Full name of each queue to how many messages were parked when the operation began.
    before:
        How many had come back by then, of an operation that is resumed.
    """

    def __init__(
        self, admin: Admin, operation: str, counts: Mapping[str, int], before: int = 0
    ) -> None:
        self._admin = admin
        self._operation = operation
        self._expected = dict(counts)
        self._before = before
        self._strangers = 0

    def sent(self, queue: str, count: int) -> None:
        """So many were taken out of the dead letters of `queue`."""
        self._expected[queue] -= count

    def at_most(self) -> int:
        """How many have come back, and perhaps some that only look so."""
        names = {dead_letter_queue_name(queue): count for queue, count in self._expected.items()}
        stats = self._admin.stats(list(names))
        grown = sum(max(0, found.messages - names[name]) for name, found in stats.items())
        return self._before + max(0, grown - self._strangers)

    def exactly(self) -> int:
        """How many have come back."""
        suspected = self.at_most()
        if suspected == self._before:
            return suspected
        found = 0
        for queue in self._expected:
            for message in self._admin.browse(dead_letter_queue_name(queue)):
                found += bool(message.headers.get(REPLAY_HEADER) == self._operation)
        self._strangers += max(0, suspected - found)
        return found
