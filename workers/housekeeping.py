"""What one dispatcher does now and then beside publishing.

Unrouted events are sent again once a queue is bound for them, and what is older than the settings
keep is deleted in small batches. Only the dispatcher that has shard 0 does it, so that several do
not do it twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from eventbus.brokers.port import Confirmation, Publisher
from eventbus.errors import EventBusError
from eventbus.outbox.publication import to_publication
from eventbus.outbox.store import OutboxStore

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


class Housekeeping:
    """Sends unrouted events again and deletes what is old."""

    def __init__(self, bus: EventBus, store: OutboxStore) -> None:
        self._bus = bus
        self._store = store
        self._next_run = 0.0

    def run(self, publisher: Publisher, shards: Collection[int]) -> None:
        """Do it, if it is time and if this dispatcher is the one to do it."""
        if 0 not in shards or time.monotonic() < self._next_run:
            return
        self._next_run = time.monotonic() + INTERVAL_SECONDS
        try:
            for name in self._store.unrouted_names():
                self._resend(publisher, name)
            self._delete_old()
        except EventBusError as error:
            # Publishing goes on; what was left undone is done the next time.
            log.warning("housekeeping was interrupted: %s", error)

    def _resend(self, publisher: Publisher, name: str) -> None:
        """Try the oldest event; if it finds a queue, send the others of its name after it."""
        limit, sent = 1, 0
        while rows := self._store.unrouted_rows(name, limit):
            confirmations = publisher.publish([to_publication(row) for row in rows]).result()
            routed = [
                row.seq
                for row, confirmation in zip(rows, confirmations, strict=True)
                if confirmation is Confirmation.ROUTED
            ]
            if routed:
                self._store.mark_routed(routed)
                sent += len(routed)
            if len(routed) < len(rows):
                break
            limit = RESEND_BATCH
        if sent:
            log.info("sent %d events %r again that no queue was bound for before", sent, name)

    def _delete_old(self) -> None:
        settings = self._bus.settings
        log_age_ms = int(settings.event_log_retention.total_seconds() * 1000)
        inbox_age_ms = int(settings.idempotency_ttl.total_seconds() * 1000)
        engine = self._bus.engine
        keys = SqlStore(engine, self._bus.service)
        _delete_in_batches(lambda: self._store.delete_logged_before(log_age_ms, DELETE_BATCH))
        _delete_in_batches(lambda: purge_inbox(engine, inbox_age_ms, DELETE_BATCH))
        _delete_in_batches(lambda: keys.purge_expired(DELETE_BATCH))


def _delete_in_batches(delete: Callable[[], int]) -> None:
    for _ in range(DELETES_PER_RUN):
        if delete() < DELETE_BATCH:
            return
