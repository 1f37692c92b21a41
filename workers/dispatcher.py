"""The dispatcher: moves outbox rows to the broker.

It reads a batch of its shards, publishes it pipelined, reads each message's own outcome and
settles the rows in one statement, while the next batch is already on its way. What a crash leaves
behind is published again: at least once, never lost, never before its transaction committed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from eventbus import database, wakeup
from eventbus.backoff import Backoff
from eventbus.brokers.port import Confirmation, Publisher
from eventbus.errors import BrokerUnavailable, DatabaseUnavailable
from eventbus.hooks import (
    DispatcherReady,
    DispatcherShutdown,
    EventHeldBack,
    EventResumed,
    Unrouted,
)
from eventbus.message import Message
from eventbus.outbox.publication import UnsendableRow, to_publication
from eventbus.outbox.row import OUTBOX_CHANNEL
from eventbus.outbox.store import OutboxStore, StoredRow
from eventbus.outbox.transitions import Change, Fail, Hold, HoldBack, Log, plan_waves, settle

from .crash_points import crash_point
from .holds import STUCK_SECONDS, Holds
from .housekeeping import Housekeeping
from .monitoring.report import DISPATCHER, Report

if TYPE_CHECKING:
    from eventbus.bus import EventBus

log = logging.getLogger("eventbus.dispatcher")

#: How long the shards of a dispatcher that died stay without one.
LEASE = timedelta(seconds=10)

#: Batches under way at a time: one is confirmed while the next is read. More would only make a
#: crash publish more twice.
PIPELINE_DEPTH = 3

#: Outcomes after which a row is out of the way of the later rows of its key.
_TAKEN = (Confirmation.ROUTED, Confirmation.UNROUTED)

#: How long `Dispatcher.run_once` waits for a connection, and for a blocked broker.
READY_SECONDS = 10.0

#: How often delayed rows are looked for while there is other work.
DELAYED_SECONDS = 0.05

#: How long a stop waits for the confirms of what is under way.
DRAIN_SECONDS = 15.0

#: How often it is looked whether to wait for confirms any longer.
LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Batch:
    """Rows on their way to the broker.

    Parameters
    ----------
    waves:
        Positions of rows, as `plan_waves` gives them.
    first:
        The outcomes of the first wave.
    alone:
        One row, sent with nothing else under way to find out whether it breaks the connection.
    stuck:
        Keys of which an earlier row was not taken; their rows go no further.
    careful:
        How many rows there are of each event that needs care (`eventbus.workers.holds`).
    """

    rows: list[StoredRow]
    messages: list[Message]
    waves: list[list[int]]
    keys: set[str]
    first: Future[list[Confirmation]]
    alone: bool
    stuck: set[str] = field(default_factory=set)
    careful: Counter[str] = field(default_factory=Counter)
    confirmations: dict[int, Confirmation] | None = None


class Dispatcher:
    """Publishes the outbox of a bus until it is stopped.

    Parameters
    ----------
    batch_size:
        Rows that are read, published and settled together.
    poll_interval:
        How often the outbox is looked at when no notification comes.
    name:
        Shown in the broker's list of connections and in the log.

    Example::

        Dispatcher(bus).run()
    """

    def __init__(
        self,
        bus: EventBus,
        *,
        batch_size: int = 500,
        poll_interval: timedelta = timedelta(seconds=1),
        name: str | None = None,
    ) -> None:
        self._bus = bus
        self._batch_size = batch_size
        self._poll_seconds = poll_interval.total_seconds()
        self._name = name or f"{bus.service}.dispatcher"
        self._owner = f"{self._name[:20]}-{uuid.uuid4().hex}"
        self._store = OutboxStore(bus.engine)
        self._housekeeping = Housekeeping(bus)
        #: What is under way at a stop is in the outbox still: nothing is left undone.
        self.drained = True
        self._stopping = threading.Event()
        self._give_up_at = math.inf
        self._listener: wakeup.Listener | None = None
        self._publisher: Publisher | None = None
        self._in_flight: deque[Batch] = deque()
        self._shards: frozenset[int] = frozenset()
        self._renew_at = 0.0
        self._limit = batch_size
        self._rows_read = 0
        self._look_at_delayed_at = 0.0
        #: ``seq`` of rows that broke the connection when they were sent alone.
        self._suspects: set[int] = set()
        self._trouble: str | None = None
        self._database_trouble: str | None = None
        self._holds = Holds(bus.refusing_bound)
        #: Rows were marked as held in this cycle: there may be more to read.
        self._marked = False
        self._report = Report(DISPATCHER, bus.service, self._name)
        self._report.counts = dict.fromkeys(("published", "unrouted", "refused", "failed"), 0)

    # -- control ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Finish what is under way, give up the shards and return from `run`; from any thread."""
        self._give_up_at = min(self._give_up_at, time.monotonic() + DRAIN_SECONDS)
        self._stopping.set()
        self._wake()

    def stop_now(self) -> None:
        """Like `stop`: there is nothing to abandon that a second dispatcher would not repeat."""
        self.stop()

    def report(self) -> Report:
        """What this dispatcher does now; from any thread. The counts in it go on growing."""
        report = self._report
        publisher = self._publisher
        report.trouble = self._database_trouble or (publisher.trouble if publisher else None)
        report.ready = publisher is not None and report.trouble is None
        report.held = self._holds.names()
        if self._stopping.is_set():
            report.state = "draining"
        return report

    def run(self) -> None:
        """Publish until `stop`; a server that is away is waited for.

        Raises
        ------
        DatabaseNotMigrated
            The tables are missing or of another version.
        DatabaseUnavailable
            The database is away at the start.
        """
        database.check(self._bus.engine)
        self._housekeeping.maintain_partitions()
        publisher = self._open()
        self._report.state = "running"
        ready = False
        backoff = Backoff()
        try:
            while not self._stopping.is_set():
                self._report.beat = time.time()
                if not ready and publisher.wait_ready(0):
                    ready = True
                    self._bus.hooks.fire(DispatcherReady(self._name))
                try:
                    if not self._cycle(publisher):
                        self._wait(publisher)
                    backoff.reset()
                    self._database_trouble = None
                except DatabaseUnavailable as error:
                    self._database_trouble = str(error)
                    seconds = backoff.next()
                    log.warning("%s; next try in %.1f s", error, seconds)
                    self._stopping.wait(seconds)
        finally:
            self._close(publisher)

    def run_once(self) -> int:
        """Publish what is in the outbox now, or until `stop`; returns how many rows were read.

        Raises
        ------
        BrokerUnavailable
            The broker cannot be reached.
        """
        database.check(self._bus.engine)
        self._housekeeping.maintain_partitions()
        self._bus.broker.ping()
        publisher = self._open()
        try:
            while not self._stopping.is_set():
                if not publisher.wait_ready(READY_SECONDS):
                    raise BrokerUnavailable(f"not publishing: {publisher.trouble}")
                if not self._cycle(publisher):
                    if not self._in_flight:
                        break
                    self._finish(publisher)
        finally:
            self._close(publisher)
        return self._rows_read

    def _open(self) -> Publisher:
        self._publisher = self._bus.broker.publisher(self._name)
        self._listener = wakeup.listener_for(self._bus.engine, OUTBOX_CHANNEL)
        if self._stopping.is_set():
            self._listener.wake()
        return self._publisher

    def _close(self, publisher: Publisher) -> None:
        self.stop()
        try:
            self._drain(publisher)
        except DatabaseUnavailable as error:
            log.warning("%s; what was confirmed last will be published again", error)
        # Closed before the shards are given up: a row that left later could be overtaken.
        publisher.close()
        try:
            self._store.release(self._owner)
        except DatabaseUnavailable as error:
            log.warning("%s; the shards are free when the lease has run out", error)
        if self._listener is not None:
            self._listener.close()
        self._bus.hooks.fire(DispatcherShutdown(self._name))

    # -- one cycle ----------------------------------------------------------------------------

    def _cycle(self, publisher: Publisher) -> bool:
        """Publish what is new, then settle what is confirmed; False when it is time to wait.

        What is new does not wait for the confirms of what went before, unless enough is under way.
        """
        if time.monotonic() >= self._renew_at:
            self._renew(publisher)
        self._marked = False
        full = self._fill(publisher)
        if self._in_flight and (full or self._in_flight[0].first.done()):
            self._finish(publisher)
            return True
        return self._marked

    def _fill(self, publisher: Publisher) -> bool:
        """Start batches while there is room for them; whether there is no more."""
        if not self._broker_ready(publisher):
            return False
        # A row can only be told to be at fault when nothing else was under way.
        while len(self._in_flight) < (1 if self._limit == 1 else PIPELINE_DEPTH):
            held = self._read_held()
            new, more = self._read_new(self._limit - len(held))
            rows = held + new
            if rows:
                self._rows_read += len(rows)
                if self._listener is not None:
                    self._listener.active()
                self._in_flight.append(self._start(publisher, rows))
            if not more:
                return False
            if not rows:
                # All that was read waits for what is under way, or for its event's turn.
                return True
        return True

    def _renew(self, publisher: Publisher) -> None:
        # A shard may go to another dispatcher here, so nothing of it may be under way.
        self._drain(publisher)
        now = time.monotonic()
        owned = self._store.renew(self._owner, int(LEASE.total_seconds() * 1000))
        # Only now: without a lease nothing is read, so nothing is published.
        self._renew_at = now + LEASE.total_seconds() / 3
        if owned != self._shards:
            log.info("publishing %d of the outbox's shards", len(owned))
            self._shards = owned
            self._holds.found_held(self._store.held_names(owned), now)
        self._holds.forget_calm(now)
        self._store.promote_delayed()
        if self._broker_ready(publisher):
            self._housekeeping.run(publisher, self._shards)

    def _in_flight_seqs(self) -> list[int]:
        return [row.seq for batch in self._in_flight for row in batch.rows]

    def _read_held(self) -> list[StoredRow]:
        """Rows that were held back and whose event's turn it is, up to half of a batch."""
        rows: list[StoredRow] = []
        now = time.monotonic()
        due = self._holds.with_backlog(now)
        if not due or (self._limit == 1 and self._in_flight):
            return rows
        share = max(self._limit // 2 // len(due), 1)
        for name, hold in due.items():
            if len(rows) == self._limit:
                break
            room = min(hold.room(now), share)
            found = self._store.held_batch(self._shards, name, room, self._in_flight_seqs())
            rows += found
            if not found and not hold.under_way:
                # None is left, or those that are wait behind others of their keys.
                hold.backlog = name in self._store.held_names(self._shards)
                hold.look_at = now + STUCK_SECONDS
        return rows

    def _read_new(self, limit: int) -> tuple[list[StoredRow], bool]:
        """The next rows to send, and whether there may be more; what must wait is marked so."""
        if not self._shards or limit < 1:
            return [], bool(self._shards)
        found = self._store.next_batch(self._shards, limit, self._in_flight_seqs())
        rows = self._apart(found)
        if rows:
            crash_point("dispatcher.claimed")
        more = len(rows) == limit
        self._holds.meet(row.name for row in rows)
        return (self._not_held(rows) if self._holds else rows), more

    def _not_held(self, rows: list[StoredRow]) -> list[StoredRow]:
        """Hold the rows back whose event has no room; the others, but none behind those.

        A row is marked only once all earlier ones of its key are settled or marked: until then it
        is left, and read again.
        """
        now = time.monotonic()
        under_way = set().union(*(batch.keys for batch in self._in_flight))
        behind: set[str] = set()
        sent, held = [], []
        room = {name: 0 if hold.backlog else hold.room(now) for name, hold in self._holds}
        for row in rows:
            key = row.partition_key
            if key in behind:
                continue
            if room.get(row.name, 1) > 0:
                sent.append(row)
                if row.name in room:
                    room[row.name] -= 1
                if key is not None:
                    under_way.add(key)
                continue
            if key is None or key not in under_way:
                held.append((row, HoldBack(f"waits for its turn: a queue refuses {row.name!r}")))
            if key is not None:
                behind.add(key)
        if held:
            self._store.settle(self._owner, held)
            self._holds.found_held((row.name for row, _ in held), now)
            self._marked = True
        return sent

    def _apart(self, rows: list[StoredRow]) -> list[StoredRow]:
        """The rows before the first suspect; it alone, once nothing else is under way."""
        for position, row in enumerate(rows):
            if row.seq in self._suspects:
                if position:
                    return rows[:position]
                return [] if self._in_flight else [row]
        return rows

    def _messages(self, rows: list[StoredRow]) -> tuple[list[StoredRow], list[Message]]:
        """The rows that can be sent, and their messages; the others are parked as failed.

        One row that cannot be sent must not stop those behind it.
        """
        sendable, messages = [], []
        unsendable: list[tuple[StoredRow, Change]] = []
        content_mode = self._bus.settings.content_mode
        for row in rows:
            try:
                messages.append(to_publication(row, content_mode))
                sendable.append(row)
            except UnsendableRow as error:
                log.error("parked in the outbox: %s", error)
                unsendable.append((row, Fail(str(error))))
        self._store.settle(self._owner, unsendable)
        return sendable, messages

    def _start(self, publisher: Publisher, rows: list[StoredRow]) -> Batch:
        rows, messages = self._messages(rows)
        in_flight = set().union(*(batch.keys for batch in self._in_flight))
        waves = plan_waves([row.partition_key for row in rows], in_flight)
        keys = {row.partition_key for row in rows if row.partition_key is not None}
        stuck = set().union(*(batch.stuck for batch in self._in_flight))
        first = publisher.publish([messages[position] for position in waves[0]])
        first.add_done_callback(self._wake)
        careful = self._holds.count_under_way(row.name for row in rows)
        batch = Batch(rows, messages, waves, keys, first, self._is_alone(rows), stuck, careful)
        crash_point("dispatcher.published")
        return batch

    def _is_alone(self, rows: Sequence[StoredRow]) -> bool:
        return (
            len(rows) == 1
            and not self._in_flight
            and (self._limit == 1 or rows[0].seq in self._suspects)
        )

    def _finish(self, publisher: Publisher) -> None:
        """Wait for the oldest batch's outcomes and settle its rows."""
        batch = self._in_flight[0]
        if batch.confirmations is None:
            batch.confirmations = self._collect(publisher, batch)
            crash_point("dispatcher.confirmed")
        changes = self._changes(batch, batch.confirmations)
        # Only after the rows are settled is the batch forgotten: if the database is away now, its
        # outcomes are written when it is back, and nothing is published again.
        self._store.settle(self._owner, changes)
        self._in_flight.popleft()
        self._count(changes)
        self._note_answers(batch, changes)
        for later in self._in_flight:
            later.stuck |= batch.stuck
        crash_point("dispatcher.settled")
        self._adapt(batch)

    def _count(self, changes: Sequence[tuple[StoredRow, Change]]) -> None:
        counts = self._report.counts
        for row, change in changes:
            if isinstance(change, Log):
                counts["published" if change.routed else "unrouted"] += 1
                if not change.routed and self._bus.hooks:
                    self._bus.hooks.fire(Unrouted(row.name, json.loads(row.attributes)["id"]))
            elif isinstance(change, (Hold, HoldBack)):
                counts["refused"] += 1
            elif isinstance(change, Fail):
                counts["failed"] += 1

    def _note_answers(self, batch: Batch, changes: Sequence[tuple[StoredRow, Change]]) -> None:
        """What the answers say of each event that needs care, or needs it from now on."""
        refused = Counter(row.name for row, change in changes if isinstance(change, HoldBack))
        if not (batch.careful or refused):
            return
        taken = Counter(row.name for row, change in changes if isinstance(change, Log))
        now = time.monotonic()
        for name in batch.careful.keys() | refused.keys():
            was_closed = self._holds.is_closed(name)
            self._holds.answered(name, batch.careful[name], taken[name], refused[name], now)
            if self._holds.is_closed(name) != was_closed:
                self._bus.hooks.fire(EventResumed(name) if was_closed else EventHeldBack(name))

    def _collect(self, publisher: Publisher, batch: Batch) -> dict[int, Confirmation]:
        """Publish wave after wave and read the outcomes, by position in the batch."""
        confirmations: dict[int, Confirmation] = {}
        future, positions = batch.first, batch.waves[0]
        for number, wave in enumerate(batch.waves):
            if number and (self._stopping.is_set() or time.monotonic() >= self._renew_at):
                # What is left stays in the outbox. One key can have as many waves as rows, and
                # the lease must not run out over them.
                break
            if number:
                positions = [p for p in wave if batch.rows[p].partition_key not in batch.stuck]
                if not positions:
                    continue
                future = publisher.publish([batch.messages[p] for p in positions])
            answers = self._answers(publisher, future)
            for position, confirmation in zip(positions, answers, strict=True):
                confirmations[position] = confirmation
                key = batch.rows[position].partition_key
                if confirmation not in _TAKEN and key is not None:
                    batch.stuck.add(key)
        return confirmations

    def _answers(
        self, publisher: Publisher, future: Future[list[Confirmation]]
    ) -> list[Confirmation]:
        """Wait for the broker; a stop waits `DRAIN_SECONDS`, and not for one that is blocked."""
        while True:
            with contextlib.suppress(NotYet):
                return future.result(LOOK_SECONDS)
            self._report.beat = time.time()
            late = time.monotonic() >= self._give_up_at
            if late or (self._stopping.is_set() and not publisher.wait_ready(0)):
                # What is under way is answered now: as unknown.
                publisher.close()

    def _changes(
        self, batch: Batch, confirmations: dict[int, Confirmation]
    ) -> list[tuple[StoredRow, Change]]:
        fail_unrouted = self._bus.settings.unroutable == "fail"
        return [
            (
                batch.rows[position],
                settle(
                    confirmation,
                    batch.rows[position].attempts,
                    fail_unrouted=fail_unrouted,
                    suspect=batch.alone,
                ),
            )
            for position, confirmation in confirmations.items()
        ]

    def _adapt(self, batch: Batch) -> None:
        """Search a message that kills the connection by halving; grow again when all is well."""
        unknown = Confirmation.UNKNOWN in (batch.confirmations or {}).values()
        if batch.alone and unknown:
            self._suspects.add(batch.rows[0].seq)
        elif batch.alone:
            self._suspects.discard(batch.rows[0].seq)
        if unknown and not batch.alone:
            self._limit = max(1, min(self._limit, len(batch.rows)) // 8)
        elif self._limit < self._batch_size:
            self._limit = min(self._batch_size, self._limit * 2)

    def _drain(self, publisher: Publisher) -> None:
        while self._in_flight:
            self._finish(publisher)

    # -- waiting ------------------------------------------------------------------------------

    def _wake(self, _confirmed: object = None) -> None:
        """End the wait under way, or else the next one; from any thread."""
        if self._listener is not None:
            self._listener.wake()

    def _wait(self, publisher: Publisher) -> None:
        """Wait for new rows, for confirms, for a broker that is away, or for the next duty."""
        seconds = min(self._poll_seconds, max(self._renew_at - time.monotonic(), 0.0))
        seconds = min(seconds, self._seconds_to_delayed())
        seconds = min(seconds, self._holds.seconds_to_look(time.monotonic()))
        if not self._broker_ready(publisher):
            publisher.wait_ready(seconds)
        elif seconds > 0 and self._listener is not None:
            self._listener.wait(seconds)

    def _seconds_to_delayed(self) -> float:
        """Promote the delayed rows that are due; when to look again at the latest."""
        now = time.monotonic()
        if now < self._look_at_delayed_at:
            return self._look_at_delayed_at - now
        self._look_at_delayed_at = now + DELAYED_SECONDS
        due_ms = self._store.promote_delayed()
        return self._poll_seconds if due_ms is None else due_ms / 1000

    def _broker_ready(self, publisher: Publisher) -> bool:
        """Whether to publish now; tells a change of that once."""
        if publisher.wait_ready(0):
            if self._trouble is not None:
                log.info("the broker is back; publishing goes on")
                self._trouble = None
            return True
        trouble = publisher.trouble or "connecting"
        if trouble != self._trouble:
            log.warning("not publishing, the outbox is the buffer: %s", trouble)
            self._trouble = trouble
        return False
