"""What one dispatcher does now and then beside publishing.

Unrouted events are sent again once a queue is bound for them, and what is older than the settings
keep is deleted in small batches. Only the dispatcher that has shard 0 does it, so that several do
not do it twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from eventbus.brokers.port import Confirmation, Publisher
from eventbus.errors import DatabaseUnavailable, EventBusError
from eventbus.message import Message
from eventbus.outbox import partitions
from eventbus.outbox.event_log import EventLog
from eventbus.outbox.publication import UnsendableRow, to_publication
from eventbus.outbox.store import StoredRow

from .idempotency.inbox_retention import purge_inbox
from .idempotency.sql import SqlStore

if TYPE_CHECKING:
    from eventbus.bus import EventBus

log = logging.getLogger("eventbus.dispatcher")

#: How often it runs, in seconds.
INTERVAL_SECONDS = 15.0
#: Rows that one statement deletes: short enough to disturb nobody.
DELETE_BATCH = 1_000
#: Deletes in one run, so that publishing never waits long.
DELETES_PER_RUN = 20
RESEND_BATCH = 500
#: Sending again takes no longer in one run; the rest comes after the lease is renewed.
RESEND_SECONDS = 2.0


class Housekeeping:
    """Sends unrouted events again and deletes what is old."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._log = EventLog(bus.engine)
        self._partition_trouble: str | None = None
        self._next_run = 0.0

    def run(self, publisher: Publisher, shards: Collection[int]) -> None:
        """Do it, if it is time and if this dispatcher is the one to do it."""
        if 0 not in shards or time.monotonic() < self._next_run:
            return
        self._next_run = time.monotonic() + INTERVAL_SECONDS
        try:
            self._resend_unrouted(publisher)
            self._delete_old()
        except EventBusError as error:
            # Publishing goes on; what was left undone is done the next time.
            log.warning("housekeeping was interrupted: %s", error)

    @property
    def _log_age_ms(self) -> int:
        return int(self._bus.settings.event_log_retention.total_seconds() * 1000)

    def maintain_partitions(self) -> bool:
        """Make and drop partitions of the event log; whether it has any.

        Without today's an event goes to the default partition: slower to clean up, and no worse.
        """
        existing = partitions.existing_days(self._bus.engine)
        if existing is None:
            return False
        try:
            partitions.maintain(self._bus.engine, existing, self._log_age_ms)
            self._partition_trouble = None
        except DatabaseUnavailable as error:
            if str(error) != self._partition_trouble:
                log.warning("the event log's partitions are not looked after: %s", error)
            self._partition_trouble = str(error)
        return True

    def _delete_logged(self) -> None:
        age_ms = self._log_age_ms
        # A day's partition is dropped when all of it is old; until then its rows may stay.
        partitioned = self.maintain_partitions() and age_ms >= partitions.DAY_MS
        _delete_in_batches(
            lambda: self._log.delete_before(age_ms, DELETE_BATCH, default_partition=partitioned)
        )

    def _resend_unrouted(self, publisher: Publisher) -> None:
        deadline = time.monotonic() + RESEND_SECONDS
        for name in self._log.unrouted_names():
            if not self._resend(publisher, name, deadline):
                self._next_run = 0.0
                return

    def _resend(self, publisher: Publisher, name: str, deadline: float) -> bool:
        """Try the oldest event; if it finds a queue, send the others of its name after it.

        False where the `deadline` came before the last of them.
        """
        limit, last, sent = 1, 0, 0
        in_time = True
        while in_time and (rows := self._log.unrouted_rows(name, last, limit)):
            last = rows[-1].seq
            sendable, messages = _messages(rows, self._bus.settings.content_mode)
            confirmations = publisher.publish(messages).result()
            routed = [
                row.seq
                for row, confirmation in zip(sendable, confirmations, strict=True)
                if confirmation is Confirmation.ROUTED
            ]
            if routed:
                self._log.mark_routed(name, routed)
                sent += len(routed)
                limit = RESEND_BATCH
            if len(routed) < len(sendable):
                break
            in_time = time.monotonic() < deadline
        if sent:
            log.info("sent %d events %r again that no queue was bound for before", sent, name)
        return in_time

    def _delete_old(self) -> None:
        settings = self._bus.settings
        inbox_age_ms = int(settings.idempotency_ttl.total_seconds() * 1000)
        engine = self._bus.engine
        keys = SqlStore(engine, self._bus.service)
        self._delete_logged()
        _delete_in_batches(lambda: purge_inbox(engine, inbox_age_ms, DELETE_BATCH))
        _delete_in_batches(lambda: keys.purge_expired(DELETE_BATCH))


def _messages(
    rows: Sequence[StoredRow], content_mode: str
) -> tuple[list[StoredRow], list[Message]]:
    """The rows that can be sent, and their messages; a damaged one stays in the log as it is."""
    sendable, messages = [], []
    for row in rows:
        try:
            messages.append(to_publication(row, content_mode))
            sendable.append(row)
        except UnsendableRow as error:
            log.error("not sent again: %s", error)
    return sendable, messages


def _delete_in_batches(delete: Callable[[], int]) -> None:
    for _ in range(DELETES_PER_RUN):
        if delete() < DELETE_BATCH:
            return
