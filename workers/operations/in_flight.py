"""Whether what is under way could be read by the classes of today: a look that changes nothing.

Rows of the outbox and of the event log, and messages in the queues of the subscriptions, are read
as a worker would read them. Of each place a bounded sample is looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from eventbus import tables
from eventbus.contracts.dataschema import version_of
from eventbus.contracts.gates.in_flight import (
    EVENT_LOG,
    OUTBOX,
    InFlight,
    Kind,
    Looked,
    Place,
)
from eventbus.contracts.receiving import DoesNotFit, Receiving
from eventbus.database import reading
from eventbus.envelope import Envelope, read_envelope
from eventbus.errors import RegistryUnavailable, UndecodableMessage
from eventbus.message import ATTEMPTS_HEADER, HANDLER_HEADER, Message
from eventbus.outbox.publication import UnsendableRow, to_publication
from eventbus.outbox.store import StoredRow
from eventbus.subscription import Handler, Subscription
from eventbus.topology import dead_letter_queue_name

if TYPE_CHECKING:
    from eventbus.brokers.port import Admin
    from eventbus.bus import EventBus
    from eventbus.event import Event


def look(bus: EventBus, sample: int) -> InFlight:
    """Read what is under way for the handlers of `bus`, and from its outbox.

    Parameters
    ----------
    sample:
        Messages that are looked at in each place: the oldest of the outbox and of the queues, the
        newest of the event log.

    Raises
    ------
    BrokerUnavailable, DatabaseUnavailable, DatabaseNotMigrated, RegistryUnavailable
        A server does not answer, or has no tables.
    """
    looking = _Looking(bus, sample)
    looking.look_at_rows(OUTBOX, tables.outbox, tables.outbox.c.seq)
    looking.look_at_rows(EVENT_LOG, tables.event_log, tables.event_log.c.published_at_ms.desc())
    admin = bus.broker.admin()
    try:
        for subscription in bus.subscriptions.values():
            looking.look_at_queues(admin, subscription)
    finally:
        admin.close()
    return InFlight(tuple(looking.places), looking.kinds)


class _Looking:
    def __init__(self, bus: EventBus, sample: int) -> None:
        self.places: list[Place] = []
        self.kinds: dict[Kind, Looked] = {}
        self._bus = bus
        self._sample = sample
        self._receiving = Receiving(bus)

    def look_at_rows(self, place: str, table: sa.Table, order: Any) -> None:
        columns = [
            table.c[name]
            for name in ("seq", "name", "partition_key", "attributes", "body", "created_at_ms")
        ]
        statement = sa.select(*columns).order_by(order).limit(self._sample)
        with reading(self._bus.engine) as connection:
            rows = [StoredRow(*row) for row in connection.execute(statement)]
            count = len(rows)
            if count == self._sample:
                count = int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
        for row in rows:
            self._look_at_row(place, row)
        self.places.append(Place(place, count, len(rows)))

    def _look_at_row(self, place: str, row: StoredRow) -> None:
        try:
            message = to_publication(row)
        except UnsendableRow as error:
            self._count(Kind(place, row.name, None), error, certain=place == OUTBOX)
            return
        handlers = [one for one in self._bus.handlers.values() if one.accepts(row.name)]
        self._read(place, message, handlers, certain=place == OUTBOX)

    def look_at_queues(self, admin: Admin, subscription: Subscription) -> None:
        queues = [queue.name for queue in subscription.topology(self._bus.settings.exchange).queues]
        for queue, stats in admin.stats(queues).items():
            looked = 0
            if queue == subscription.overflow_queue:
                # It has one consumer at a time, and nobody may look beside that.
                self.places.append(Place(queue, stats.messages, looked))
                continue
            with contextlib.closing(admin.browse(queue, self._sample)) as messages:
                for message in messages:
                    looked += 1
                    self._look_at_message(queue, subscription, message)
            # What has come since it was counted may have been looked at.
            self.places.append(Place(queue, max(stats.messages, looked), looked))

    def _look_at_message(self, queue: str, subscription: Subscription, message: Message) -> None:
        wanted = message.headers.get(HANDLER_HEADER)
        handlers = [one for one in subscription.handlers if wanted in (None, one.name)]
        parked = queue == dead_letter_queue_name(subscription.queue)
        # What was parked without a single run could not be read when it came.
        was_read = bool(message.headers.get(ATTEMPTS_HEADER))
        self._read(queue, message, handlers, certain=was_read or not parked)

    def _read(
        self, place: str, message: Message, handlers: Iterable[Handler], *, certain: bool
    ) -> None:
        kind = Kind(place, str(message.type or message.routing_key or "?")[:255], None)
        try:
            envelope = read_envelope(message)
            kind = Kind(place, envelope.type[:255], _version_of(envelope))
            received = self._receiving.receive(message, envelope)
            for event_class in self._classes(envelope.type, handlers):
                received.read(event_class)
        except RegistryUnavailable:
            # Nothing is known of the message; a worker would wait with it.
            raise
        except Exception as error:  # a validator of the application's own may raise anything
            self._count(kind, error, certain=certain)
        else:
            self._count(kind, None, certain=certain)

    def _classes(self, event: str, handlers: Iterable[Handler]) -> Iterator[type[Event]]:
        """What its handlers here read it with; of an event without one, what it was written by."""
        found = [one.event_class(event) for one in handlers if one.accepts(event)]
        if not found:
            found = [self._bus.published_events.get(event)]
        elif None in found:
            raise UndecodableMessage(f"no event class for {event[:100]!r} is declared")
        return iter(dict.fromkeys(one for one in found if one is not None))

    def _count(self, kind: Kind, error: Exception | None, *, certain: bool) -> None:
        looked = self.kinds.setdefault(kind, Looked())
        looked.messages += 1
        if error is None:
            return
        looked.unreadable += 1
        looked.certain += certain
        if looked.reason is None or (certain and looked.certain == 1):
            looked.reason = str(error)[:500] or type(error).__name__
            looked.path = error.at if isinstance(error, DoesNotFit) else None


def _version_of(envelope: Envelope) -> int | None:
    try:
        return version_of(envelope.dataschema, envelope.type) if envelope.dataschema else None
    except UndecodableMessage:
        return None
