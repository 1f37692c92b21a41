"""Takes rows of its queues, hands them out, and settles them: in few, short transactions."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from eventbus import tables, wakeup
from eventbus.backoff import Backoff
from eventbus.brokers.embedded import rows
from eventbus.brokers.embedded.link import CHANNEL, Link
from eventbus.brokers.port import Delivery, Settlement
from eventbus.database import now_ms
from eventbus.errors import BrokerUnavailable, EventBusError
from eventbus.message import Message
from eventbus.topology import dead_letter_queue_name

logger = logging.getLogger(__name__)

#: How long a consumer is taken for alive after its last sign: what a killed one had is delivered
#: again this much later, and a stalled one loses what it has.
LEASE_SECONDS = 5.0
#: Seconds between two signs of life, each a write.
RENEW_SECONDS = 1.5
#: Seconds between two looks for retries that are due and consumers that are dead, each a read.
LOOK_SECONDS = 1.0


class _Tag(NamedTuple):
    """Names a delivery: the row, and the owner for whom it was taken."""

    owner: str
    seq: int


class EmbeddedConsumer:
    """The `Consumer` of the embedded broker; a thread owns its connection.

    It has a row in ``eventbus_consumer`` with a lease. Rows that it takes carry its identity, and
    each settlement is fenced by it: what was taken from a stalled consumer, it settles in vain.
    """

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name[:255]
        self._owner = uuid.uuid4().hex
        self._prefetch: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        #: Queues of which one consumer has messages at a time.
        self._exclusive: set[str] = set()
        self._on_deliveries: Callable[[list[Delivery]], None] = _ignore
        self._unsettled: dict[str, set[int]] = {}
        self._settlements: deque[Settlement] = deque()
        self._listener = wakeup.listener_for(link.engine, CHANNEL)
        self._thread = threading.Thread(target=self._run, name="embedded-consumer", daemon=True)
        self._trouble: str | None = "not started"
        self._consuming = threading.Event()
        self._cancelled = False
        self._paused: set[str] = set()
        # Held while deliveries are handed out: after `cancel` returns there are none.
        self._handing_out = threading.RLock()
        self._closing = threading.Event()
        self._close_deadline = float("inf")
        self._renewed_at = self._looked_at = float("-inf")
        self._next_due_seconds = LOOK_SECONDS
        self._due: set[str] = set()
        self._abandoned: list[str] = []

    def start(
        self,
        queues: Mapping[str, int],
        on_deliveries: Callable[[list[Delivery]], None],
    ) -> None:
        self._prefetch = dict(queues)
        self._unsettled = {queue: set() for queue in queues}
        self._on_deliveries = on_deliveries
        self._trouble = f"connecting to {self._link.shown}"
        self._thread.start()

    def settle(self, settlements: Sequence[Settlement]) -> None:
        self._settlements.extend(settlements)
        self._listener.wake()

    def cancel(self) -> None:
        with self._handing_out:
            self._cancelled = True
        self._consuming.clear()
        self._show_queues()

    def pause(self, queue: str) -> None:
        self._paused.add(queue)
        self._show_queues()

    def resume(self, queue: str) -> None:
        self._paused.discard(queue)
        self._show_queues()

    def _show_queues(self) -> None:
        """Write which queues are consumed into our row, with a sign of life that is due now."""
        self._renewed_at = float("-inf")
        self._listener.wake()

    def wait_consuming(self, timeout: float) -> bool:
        return self._consuming.wait(timeout)

    @property
    def trouble(self) -> str | None:
        return self._trouble

    def close(self, timeout: float) -> None:
        self._close_deadline = time.monotonic() + timeout
        self.cancel()
        self._closing.set()
        self._listener.wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        self._listener.close()

    def _run(self) -> None:
        backoff = Backoff(longest=3.0)
        while not self._closing.is_set():
            try:
                self._serve(backoff)
            except EventBusError as error:
                self._fail(str(error))
            except Exception as error:  # a thread that ends would consume nothing for ever
                logger.exception("consuming failed unexpectedly")
                self._fail(f"{type(error).__name__}: {error}")
            self._closing.wait(backoff.next())
        self._leave()
        self._link.close()

    def _fail(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.warning("consuming is interrupted: %s", trouble)
        self._trouble = trouble
        self._consuming.clear()

    def _serve(self, backoff: Backoff) -> None:
        self._enter()
        self._trouble = None
        backoff.reset()
        if not self._cancelled:
            self._consuming.set()
        while not self._closing.is_set():
            room = self._room()
            if not self._has_work(room):
                self._listener.wait(self._idle_seconds())
            elif claimed := self._exchange(room):
                self._listener.active()
                self._hand_out(claimed)

    def _enter(self) -> None:
        """Register, or come back after a break: what is ours and was never handed out goes back."""
        with self._link.writing() as connection:
            self._read_limits(connection)
            if not self._renew(connection):
                self._register(connection)
            held = connection.execute(
                sa.select(tables.message.c.queue, tables.message.c.seq).where(
                    tables.message.c.queue.in_(list(self._prefetch)),
                    tables.message.c.owner == self._owner,
                )
            ).all()
            strays = [row.seq for row in held if row.seq not in self._unsettled[row.queue]]
            rows.give_back(connection, strays, self._owner)
        kept = {(row.queue, row.seq) for row in held}
        for queue, seqs in self._unsettled.items():
            self._unsettled[queue] = {seq for seq in seqs if (queue, seq) in kept}

    def _read_limits(self, connection: Connection) -> None:
        found = connection.execute(
            sa.select(tables.queue.c.name, tables.queue.c.arguments).where(
                tables.queue.c.name.in_(list(self._prefetch))
            )
        ).all()
        missing = sorted(set(self._prefetch) - {row.name for row in found})
        if missing:
            raise BrokerUnavailable(
                f"embedded broker: queue {missing[0]!r} does not exist in {self._link.shown}; "
                f"run 'eventbus topology apply'"
            )
        for row in found:
            declared: dict[str, Any] = json.loads(row.arguments)
            if declared.get("x-single-active-consumer"):
                self._exclusive.add(row.name)
            if isinstance(limit := declared.get("x-delivery-limit"), int):
                self._limits[row.name] = limit

    def _register(self, connection: Connection) -> None:
        """Begin as somebody else: what the last identity had may be with another consumer."""
        self._owner = uuid.uuid4().hex
        for seqs in self._unsettled.values():
            seqs.clear()
        connection.execute(
            tables.consumer.insert().values(
                owner=self._owner,
                name=self._name,
                queues=self._queues_shown(),
                lease_until_ms=now_ms() + int(LEASE_SECONDS * 1000),
            )
        )
        self._renewed_at = time.monotonic()

    def _renew(self, connection: Connection) -> bool:
        """Give a sign of life; False when the lease was lost, and with it every message."""
        began = time.monotonic()
        result = connection.execute(
            tables.consumer.update()
            .where(tables.consumer.c.owner == self._owner)
            .values(
                queues=self._queues_shown(),
                lease_until_ms=now_ms() + int(LEASE_SECONDS * 1000),
            )
        )
        self._renewed_at = began
        return result.rowcount > 0

    def _queues_shown(self) -> str:
        return json.dumps(sorted(queue for queue in self._prefetch if self._is_wanted(queue)))

    def _is_wanted(self, queue: str) -> bool:
        return not self._cancelled and queue not in self._paused

    def _room(self) -> dict[str, int]:
        """How many more messages each queue may hand out."""
        room = {q: limit - len(self._unsettled[q]) for q, limit in self._prefetch.items()}
        return {queue: free for queue, free in room.items() if free > 0 and self._is_wanted(queue)}

    def _has_work(self, room: dict[str, int]) -> bool:
        """Whether a transaction is worth its write: decided by reading, if at all."""
        look_due = time.monotonic() - self._looked_at >= min(LOOK_SECONDS, self._next_due_seconds)
        if self._settlements and not look_due:
            return True
        found = self._look(room, look_due) if room or look_due else False
        return bool(found or self._settlements or self._abandoned) or self._renewal_is_due()

    def _renewal_is_due(self) -> bool:
        return time.monotonic() - self._renewed_at >= RENEW_SECONDS

    def _idle_seconds(self) -> float:
        renewal = self._renewed_at + RENEW_SECONDS - time.monotonic()
        return max(0.0, min(renewal, LOOK_SECONDS, self._next_due_seconds))

    def _look(self, room: dict[str, int], thoroughly: bool) -> bool:
        """Read whether there is something to take; `thoroughly`: also what is due, who is dead."""
        with self._link.reading() as connection:
            found = connection.execute(_ready_or_due(tuple(self._prefetch))).one()
            now, firsts = found[0], found[1:]
            if thoroughly:
                self._abandoned = self._find_abandoned(connection, now)
                self._looked_at = time.monotonic()
        ready = False
        waits = [LOOK_SECONDS]
        for queue, first, due_at in zip(self._prefetch, firsts[::2], firsts[1::2], strict=True):
            if due_at is not None and due_at <= now:
                self._due.add(queue)
            elif due_at is not None:
                waits.append((due_at - now) / 1000)
            ready = ready or (queue in room and (first == 0 or queue in self._due))
        self._next_due_seconds = min(waits)
        return ready

    def _find_abandoned(self, connection: Connection, now: int) -> list[str]:
        """Owners of messages of our queues who are dead, or were never registered."""
        message, consumer = tables.message, tables.consumer
        return list(
            connection.scalars(
                sa.select(message.c.owner)
                .distinct()
                .select_from(message.outerjoin(consumer, consumer.c.owner == message.c.owner))
                .where(
                    message.c.queue.in_(list(self._prefetch)),
                    message.c.owner > rows.NOBODY,
                    sa.or_(consumer.c.owner.is_(None), consumer.c.lease_until_ms < now),
                )
            )
        )

    def _exchange(self, room: dict[str, int]) -> list[Delivery]:
        """One transaction: settle what is to be settled, take what there is room for."""
        settlements = self._take_settlements()
        claimed: list[tuple[str, Row[Any]]] = []
        try:
            with self._link.writing() as connection:
                if self._renewal_is_due() and not self._renew(connection):
                    self._register(connection)
                freed = self._take_from_the_dead(connection)
                freed = self._settle(connection, settlements) or freed
                room = self._room_after(room, settlements)
                for queue, free in room.items():
                    claimed += self._claim(connection, queue, free)
        except BaseException:
            self._settlements.extendleft(reversed(settlements))
            raise
        self._abandoned.clear()
        for settlement in settlements:
            self._unsettled[settlement.delivery.queue].discard(settlement.delivery.tag.seq)
        for queue, row in claimed:
            self._unsettled[queue].add(row.seq)
        if freed:
            wakeup.notify(self._link.url, CHANNEL)
        return [self._delivery(queue, row) for queue, row in claimed]

    def _room_after(
        self, room: dict[str, int], settlements: Sequence[Settlement]
    ) -> dict[str, int]:
        """The room once `settlements` are done, in this very transaction."""
        after = dict(room)
        for settlement in settlements:
            queue = settlement.delivery.queue
            if settlement.delivery.tag.seq in self._unsettled[queue]:
                after[queue] = after.get(queue, 0) + 1
        return {queue: free for queue, free in after.items() if self._is_wanted(queue)}

    def _take_settlements(self) -> list[Settlement]:
        taken = []
        while self._settlements:
            settlement = self._settlements.popleft()
            if settlement.delivery.tag.owner == self._owner:
                taken.append(settlement)
        return taken

    def _settle(self, connection: Connection, settlements: Sequence[Settlement]) -> bool:
        """Carry out `settlements`; whether other consumers have something to take now."""
        returned = [s.delivery.tag.seq for s in settlements if s.requeue]
        done = [s for s in settlements if not s.requeue]
        forwarding = [s for s in done if s.forwards]
        rows.give_back(connection, returned, self._owner)
        if forwarding:
            seqs = [s.delivery.tag.seq for s in forwarding]
            ours = rows.still_owned(connection, seqs, self._owner)
            for settlement in forwarding:
                # What somebody else has by now, they will forward.
                if settlement.delivery.tag.seq in ours:
                    _forward(connection, settlement)
        rows.delete(connection, [s.delivery.tag.seq for s in done], self._owner)
        return bool(returned)

    def _take_from_the_dead(self, connection: Connection) -> bool:
        freed = 0
        for owner in sorted(self._abandoned):
            connection.execute(
                tables.consumer.delete().where(
                    tables.consumer.c.owner == owner,
                    tables.consumer.c.lease_until_ms < now_ms(),
                )
            )
            alive = connection.scalar(
                sa.select(tables.consumer.c.owner).where(tables.consumer.c.owner == owner)
            )
            if alive is None:
                freed += rows.take_away(connection, list(self._prefetch), owner)
        if freed:
            logger.warning("%d messages of a consumer that died are delivered again", freed)
        return freed > 0

    def _claim(self, connection: Connection, queue: str, free: int) -> list[tuple[str, Row[Any]]]:
        if queue in self._due:
            rows.make_due_ready(connection, queue)
            self._due.discard(queue)
        if queue in self._exclusive and rows.others_have(connection, queue, self._owner):
            return []
        found = rows.claim(connection, queue, self._owner, free)
        limit = self._limits.get(queue)
        doomed = [row for row in found if limit is not None and row.deliveries >= limit]
        if doomed:
            reason = f"delivery_limit: delivered {limit} times from {queue!r} without an outcome"
            rows.park(connection, doomed, dead_letter_queue_name(queue), reason)
            found = [row for row in found if row.deliveries < (limit or 0)]
        return [(queue, row) for row in found]

    def _delivery(self, queue: str, row: Row[Any]) -> Delivery:
        tag = _Tag(self._owner, row.seq)
        redelivered = row.deliveries > 0
        try:
            message = rows.message_of(row)
            return Delivery(
                queue, tag, message, redelivered, None, row.from_exchange, row.deliveries
            )
        except ValueError as error:
            bare = Message(bytes(row.body), row.routing_key)
            return Delivery(
                queue, tag, bare, redelivered, undecodable=str(error), deliveries=row.deliveries
            )

    def _hand_out(self, deliveries: list[Delivery]) -> None:
        handed_out = False
        try:
            with self._handing_out:
                if not self._cancelled:
                    self._on_deliveries(deliveries)
                    handed_out = True
        finally:
            if not handed_out:
                self.settle([Settlement(delivery, requeue=True) for delivery in deliveries])

    def _leave(self) -> None:
        """Settle what is left and give everything back, as long as `close` allows."""
        backoff = Backoff()
        while True:
            try:
                self._exchange({})
                self._deregister()
                return
            except Exception as error:  # of whatever kind: what is ours goes back by its lease
                self._trouble = str(error)
            pause = backoff.next()
            if time.monotonic() + pause >= self._close_deadline:
                # The lease ends by itself, and others take over.
                return
            time.sleep(pause)

    def _deregister(self) -> None:
        held = [seq for seqs in self._unsettled.values() for seq in seqs]
        with self._link.writing() as connection:
            rows.give_back(connection, held, self._owner)
            connection.execute(
                tables.consumer.delete().where(tables.consumer.c.owner == self._owner)
            )
        if held:
            wakeup.notify(self._link.url, CHANNEL)


def _forward(connection: Connection, settlement: Settlement) -> None:
    queue = settlement.delivery.queue
    for forward in settlement.forwards:
        if forward.queue is None and forward.delay_ms is not None:
            rows.insert_waiting(connection, rows.new_row(queue, forward.message), forward.delay_ms)
        else:
            target = forward.queue or dead_letter_queue_name(queue)
            rows.insert(connection, [rows.new_row(target, forward.message)])


def _ready_or_due(queues: tuple[str, ...]) -> sa.Select[Any]:
    """The clock, and for each queue: 0 if a row is ready, and when the next one is due."""
    message = tables.message
    columns: list[Any] = [now_ms()]
    for queue in queues:
        first = (
            sa.select(message.c.available_at_ms)
            .where(message.c.queue == queue, message.c.owner == rows.NOBODY)
            .order_by(message.c.available_at_ms, message.c.seq)
            .limit(1)
        )
        columns.append(first.scalar_subquery())
        columns.append(first.where(message.c.available_at_ms > 0).scalar_subquery())
    return sa.select(*columns)


def _ignore(deliveries: list[Delivery]) -> None:
    """Until `start` says who gets them."""
