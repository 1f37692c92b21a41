"""Publishes into the queues' tables: one transaction for everything that waits."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from eventbus import wakeup
from eventbus.backoff import Backoff
from eventbus.brokers.embedded import rows
from eventbus.brokers.embedded.bounds import Bounds
from eventbus.brokers.embedded.link import CHANNEL, Link, Refused
from eventbus.brokers.embedded.routes import Routes
from eventbus.brokers.port import Confirmation
from eventbus.errors import EventBusError
from eventbus.message import Message

logger = logging.getLogger(__name__)

#: Seconds within which every publish is answered.
CONFIRM_SECONDS = 30.0

#: Messages that one transaction takes at most: SQLite's other writers wait meanwhile.
_GROUP = 2_000


#: A message, and the one queue that it is for; None for those that are bound.
Outgoing = tuple[Message, str | None]


@dataclass(slots=True)
class _Batch:
    messages: Sequence[Message]
    queue: str | None = None
    future: Future[list[Confirmation]] = field(default_factory=Future)
    deadline: float = field(default_factory=lambda: time.monotonic() + CONFIRM_SECONDS)

    def answer(self, confirmations: list[Confirmation]) -> None:
        # Whoever waited may have given up, or the deadline may have answered first.
        with contextlib.suppress(InvalidStateError):
            self.future.set_result(confirmations)

    def unknown(self) -> None:
        self.answer([Confirmation.UNKNOWN] * len(self.messages))


class EmbeddedPublisher:
    """The `Publisher` of the embedded broker; a thread owns its connection.

    A message is copied into all its queues in one transaction: they all have it, or none.
    """

    def __init__(self, link: Link, exchange: str) -> None:
        self._link = link
        self._routes = Routes(exchange)
        self._bounds = Bounds()
        self._changed = threading.Condition()
        self._waiting: deque[_Batch] = deque()
        self._under_way: list[_Batch] = []
        self._trouble: str | None = f"connecting to {link.shown}"
        # Answered with UNKNOWN at once; what comes during the first attempt waits for it.
        self._away = False
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name="embedded-publisher", daemon=True),
            threading.Thread(target=self._watch, name="embedded-publisher-watch", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def trouble(self) -> str | None:
        return self._trouble

    def publish(
        self, messages: Sequence[Message], queue: str | None = None
    ) -> Future[list[Confirmation]]:
        batch = _Batch(list(messages), queue)
        with self._changed:
            if self._away or self._closed.is_set():
                batch.unknown()
            else:
                self._waiting.append(batch)
                self._changed.notify_all()
        return batch.future

    def wait_ready(self, timeout: float) -> bool:
        with self._changed:
            self._changed.wait_for(self._is_ready_or_closed, timeout)
            return self._trouble is None and not self._closed.is_set()

    def _is_ready_or_closed(self) -> bool:
        return self._trouble is None or self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        self._set_trouble("closed")
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(5.0)
        self._answer_unknown()

    def _run(self) -> None:
        backoff = Backoff()
        while not self._closed.is_set():
            try:
                self._link.open()
                self._set_trouble(None)
                self._serve(backoff)
            except EventBusError as error:
                self._fail(str(error))
            except Exception as error:  # a thread that ends would publish nothing for ever
                logger.exception("publishing failed unexpectedly")
                self._fail(f"{type(error).__name__}: {error}")
            self._closed.wait(backoff.next())
        self._link.close()

    def _serve(self, backoff: Backoff) -> None:
        while not self._closed.is_set():
            batches = self._take()
            if not batches:
                continue
            outgoing = [(message, batch.queue) for batch in batches for message in batch.messages]
            self._answer(batches, self._store(outgoing))
            self._set_trouble(None)
            backoff.reset()

    def _take(self) -> list[_Batch]:
        """Wait for batches; all that are there, up to the size of a group."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed.is_set())
            size = 0
            while self._waiting and size < _GROUP and not self._closed.is_set():
                batch = self._waiting.popleft()
                size += len(batch.messages)
                self._under_way.append(batch)
            return list(self._under_way)

    def _answer(self, batches: list[_Batch], confirmations: list[Confirmation]) -> None:
        with self._changed:
            self._under_way.clear()
        start = 0
        for batch in batches:
            end = start + len(batch.messages)
            batch.answer(confirmations[start:end])
            start = end

    def _store(self, outgoing: list[Outgoing]) -> list[Confirmation]:
        try:
            with self._link.writing() as connection:
                confirmations = self._insert(connection, outgoing)
        except Refused as error:
            if len(outgoing) == 1:
                logger.warning("message %s is refused: %s", outgoing[0][0].message_id, error)
                return [Confirmation.UNSENDABLE]
            # One of them is at fault: alone, each gets its own answer.
            return [self._store([one])[0] for one in outgoing]
        if Confirmation.ROUTED in confirmations:
            wakeup.notify(self._link.url, CHANNEL)
        return confirmations

    def _insert(self, connection: Connection, outgoing: list[Outgoing]) -> list[Confirmation]:
        self._bounds.begin()
        if self._routes.stale:
            self._routes.read(connection)
        elif any(not self._queues_of(message, queue) for message, queue in outgoing):
            # A queue may have been bound since: unrouted must be the truth.
            self._routes.read(connection)
        confirmations: list[Confirmation] = []
        new: list[dict[str, object]] = []
        inserted: Counter[str] = Counter()
        for message, queue in outgoing:
            queues = self._queues_of(message, queue)
            if not _fits(message):
                confirmations.append(Confirmation.UNSENDABLE)
                continue
            if not self._bounds.admit(connection, queues, self._routes.bounds):
                confirmations.append(Confirmation.REFUSED)
                continue
            confirmations.append(Confirmation.ROUTED if queues else Confirmation.UNROUTED)
            properties = rows.properties_of(message) if queues else ""
            make_row = rows.published_row if queue is None else rows.new_row
            new.extend(make_row(name, message, properties) for name in queues)
            inserted.update(queues)
        rows.insert(connection, new)
        self._bounds.enforce(connection, inserted, self._routes.bounds)
        return confirmations

    def _queues_of(self, message: Message, queue: str | None) -> tuple[str, ...]:
        if queue is None:
            return self._routes.queues_of(message.routing_key)
        return (queue,) if queue in self._routes.queues else ()

    def _fail(self, trouble: str) -> None:
        self._set_trouble(trouble, away=True)
        self._answer_unknown()

    def _set_trouble(self, trouble: str | None, *, away: bool = False) -> None:
        with self._changed:
            if trouble and trouble != self._trouble and away:
                logger.warning("publishing is interrupted: %s", trouble)
            self._trouble = trouble
            self._away = away
            self._changed.notify_all()

    def _answer_unknown(self) -> None:
        with self._changed:
            batches = [*self._under_way, *self._waiting]
            self._under_way.clear()
            self._waiting.clear()
        for batch in batches:
            batch.unknown()

    def _watch(self) -> None:
        """Answer what the database does not: it may hang without breaking the connection."""
        while not self._closed.wait(1.0):
            with self._changed:
                oldest = [*self._under_way, *self._waiting][:1]
            if oldest and time.monotonic() > oldest[0].deadline:
                self._fail(f"no answer from {self._link.shown} for {CONFIRM_SECONDS:g} s")


def _fits(message: Message) -> bool:
    """Whether the routing key is one that AMQP and every database can hold."""
    try:
        encoded = message.routing_key.encode()
    except UnicodeEncodeError:
        encoded = b"\0"
    if len(encoded) <= 255 and b"\0" not in encoded:
        return True
    logger.warning("message %s is refused: its routing key cannot be sent", message.message_id)
    return False
