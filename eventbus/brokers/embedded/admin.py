"""Declaring, counting, looking and moving."""

from __future__ import annotations

import itertools
import json
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Row

from eventbus import database, tables, wakeup
from eventbus.brokers.embedded import definitions, rows
from eventbus.brokers.embedded.link import CHANNEL, Link
from eventbus.brokers.embedded.routes import FRESH_SECONDS
from eventbus.brokers.port import Advice, Pace, Progress, QueueStats
from eventbus.database import now_ms
from eventbus.drift import Found, FoundQueue, mismatch
from eventbus.errors import QueueInUse, UnknownName
from eventbus.message import Message
from eventbus.topology import RETRY_LEVELS_MS, Binding, Queue, Topology

#: Rows that are read, or moved, at a time; fewer where they are large.
_PAGE = 250
_PAGE_BYTES = 16 * 1024 * 1024

_message = tables.message


class EmbeddedAdmin:
    """The `Admin` of the embedded broker."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._unbound_at = -math.inf

    def declare(self, topology: Topology) -> None:
        try:
            self._declare(topology)
        except _DeclaredMeanwhile:
            # By another process, a moment ago: now it is there to compare with.
            self._declare(topology)

    def _declare(self, topology: Topology) -> None:
        with self._link.writing() as connection:
            known = definitions.arguments_of_all(connection)
            self._add(connection, topology, set(known))
        differences = list(definitions.differences(topology, known))
        if differences:
            raise mismatch(differences)

    def inspect(self, declared: Topology, prefix: str) -> Found:
        with self._link.reading() as connection:
            return definitions.inspect(connection, declared, prefix)

    def unbind(self, binding: Binding) -> None:
        with self._link.writing() as connection:
            definitions.unbind(connection, binding)
        self._unbound_at = time.monotonic()

    def delete(self, queue: FoundQueue) -> None:
        with self._link.writing() as connection:
            _require_unused(connection, queue.name)
            if definitions.unbind_all(connection, queue.name):
                self._unbound_at = time.monotonic()
        # Until then publishers may still use the bindings as they have read them.
        time.sleep(max(0.0, self._unbound_at + 2 * FRESH_SECONDS - time.monotonic()))
        with self._link.writing() as connection:
            _require_unused(connection, queue.name)
            definitions.remove(connection, queue.name)

    def replace(self, queue: Queue, bindings: Sequence[Binding], progress: Progress) -> None:
        with self._link.writing() as connection:
            consumers = definitions.attached_consumers(connection).count(queue.name)
            if consumers:
                raise _in_use(queue.name, 0, consumers)
            definitions.change(connection, queue)
            progress.step("changed")
        self.declare(Topology((), (queue,), tuple(bindings)))

    def _add(self, connection: Connection, topology: Topology, known: set[str]) -> None:
        bound = {
            tuple(row)
            for row in connection.execute(
                sa.select(
                    tables.binding.c.exchange, tables.binding.c.queue, tables.binding.c.pattern
                )
            )
        }
        queues = [
            {"name": queue.name, "arguments": json.dumps(queue.arguments, sort_keys=True)}
            for queue in topology.queues
            if queue.name not in known
        ]
        bindings = [
            {"exchange": binding.exchange, "queue": binding.queue, "pattern": binding.pattern}
            for binding in topology.bindings
            if (binding.exchange, binding.queue, binding.pattern) not in bound
        ]
        try:
            if queues:
                connection.execute(tables.queue.insert(), queues)
            if bindings:
                connection.execute(tables.binding.insert(), bindings)
        except exc.IntegrityError as error:
            raise _DeclaredMeanwhile from error

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        with self._link.reading() as connection:
            now = connection.scalar(sa.select(now_ms()))
            known = definitions.arguments_of_all(connection)
            attached = definitions.attached_consumers(connection)
            return {
                queue: QueueStats(
                    int(
                        connection.scalar(
                            sa.select(sa.func.count())
                            .select_from(_message)
                            .where(_held(queue, known[queue], now))
                        )
                        or 0
                    ),
                    attached.count(queue),
                )
                for queue in queues
                if queue in known
            }

    def browse(self, queue: str, limit: int | None = None) -> Generator[Message, None, None]:
        for row in itertools.islice(self._rows(queue), limit):
            yield _readable(row)

    def transfer(
        self,
        queue: str,
        decide: Callable[[Message], Message | None],
        target: str,
        limit: int | None = None,
        pace: Pace | None = None,
    ) -> int:
        with self._link.reading() as connection:
            _require(definitions.arguments_of_all(connection), target)

        def move(connection: Connection, chosen: dict[int, Message]) -> None:
            rows.insert(connection, [rows.new_row(target, one) for one in chosen.values()])

        moved = self._settle(queue, decide, move, limit, pace)
        if moved:
            wakeup.notify(self._link.url, CHANNEL)
        return moved

    def remove(
        self,
        queue: str,
        decide: Callable[[Message], bool],
        limit: int | None = None,
        pace: Pace | None = None,
    ) -> int:
        def chosen(message: Message) -> Message | None:
            return message if decide(message) else None

        return self._settle(queue, chosen, lambda connection, rows: None, limit, pace)

    def _settle(
        self,
        queue: str,
        decide: Callable[[Message], Message | None],
        act: Callable[[Connection, dict[int, Message]], None],
        limit: int | None,
        pace: Pace | None,
    ) -> int:
        """Delete the rows that `decide` chooses, each after `act`, in one transaction with it."""
        moved = 0
        found = self._rows(queue)
        ended = False
        while not ended and (limit is None or moved < limit):
            room = _PAGE if limit is None else min(_PAGE, limit - moved)
            if pace is not None:
                room = pace.next_batch(room)
            if room < 1:
                break
            chosen: dict[int, Message] = {}
            settled = 0
            try:
                ended = _choose(found, decide, chosen, room)
            finally:
                # What was decided before a decision failed, or was interrupted, is carried out.
                settled = self._carry_out(chosen, act)
                moved += settled
                if pace is not None:
                    pace.advance(settled)
        return moved

    def _carry_out(
        self, chosen: dict[int, Message], act: Callable[[Connection, dict[int, Message]], None]
    ) -> int:
        """Settle what nobody has taken since it was read."""
        if not chosen:
            return 0
        with self._link.writing() as connection:
            free = rows.still_owned(connection, chosen)
            left = {seq: message for seq, message in chosen.items() if seq in free}
            act(connection, left)
            rows.delete(connection, left)
        return len(left)

    def purge(self, queue: str) -> int:
        with self._link.writing() as connection:
            known = definitions.arguments_of_all(connection)
            now = connection.scalar(sa.select(now_ms()))
            result = connection.execute(
                _message.delete().where(_held(queue, _require(known, queue), now))
            )
            return int(result.rowcount)

    def server(self) -> str:
        return f"embedded in {database.server_version(self._link.engine)}"

    def advice(self) -> list[Advice]:
        return []  # `doctor` looks at the database anyway

    def close(self) -> None:
        self._link.close()

    def _rows(self, queue: str) -> Iterator[Row[Any]]:
        """What `queue` holds now, read page by page, each in a transaction of its own."""
        with self._link.reading() as connection:
            arguments = _require(definitions.arguments_of_all(connection), queue)
            now = connection.scalar(sa.select(now_ms()))
            last = connection.scalar(sa.select(sa.func.max(_message.c.seq))) or 0
        after, size = 0, 1
        while after < last:
            with self._link.reading() as connection:
                page = connection.execute(
                    sa.select(_message)
                    .where(
                        _held(queue, arguments, now),
                        _message.c.seq > after,
                        _message.c.seq <= last,
                    )
                    .order_by(_message.c.seq)
                    .limit(size)
                ).all()
            if not page:
                return
            after = page[-1].seq
            largest = max(len(row.body) for row in page)
            size = min(_PAGE, max(1, _PAGE_BYTES // max(1, largest)))
            yield from page


def _choose(
    found: Iterator[Row[Any]],
    decide: Callable[[Message], Message | None],
    chosen: dict[int, Message],
    room: int,
) -> bool:
    """Put up to `room` messages that `decide` chooses into `chosen`; whether none is left."""
    size = 0
    while len(chosen) < room and size < _PAGE_BYTES:
        row = next(found, None)
        if row is None:
            return True
        message = decide(_readable(row))
        if message is not None:
            chosen[row.seq] = message
            size += len(message.body)
    return False


class _DeclaredMeanwhile(Exception):
    """Another process has declared the same at the same time."""


def _require_unused(connection: Connection, queue: str) -> None:
    messages = definitions.messages_in(connection, queue)
    consumers = definitions.attached_consumers(connection).count(queue)
    if messages or consumers:
        raise _in_use(queue, messages, consumers)


def _in_use(queue: str, messages: int, consumers: int) -> QueueInUse:
    return QueueInUse(
        f"queue {queue!r} is in use: it has {messages} messages and {consumers} consumers"
    )


def _require(known: dict[str, dict[str, Any]], queue: str) -> dict[str, Any]:
    if queue not in known:
        raise UnknownName.among("queue", queue, known)
    return known[queue]


def _held(queue: str, arguments: dict[str, Any], now: int | None) -> sa.ColumnElement[bool]:
    """The rows that `queue` holds and no consumer has.

    A retry queue has no rows: what RabbitMQ would keep there waits in the queue it returns to.
    """
    at = now or 0
    if "x-message-ttl" not in arguments or not arguments.get("x-dead-letter-routing-key"):
        lowest, highest, name = 0, at, queue
    else:
        name = arguments["x-dead-letter-routing-key"]
        lowest, highest = (at + edge for edge in _level(int(arguments["x-message-ttl"])))
    return sa.and_(
        _message.c.queue == name,
        _message.c.owner == rows.NOBODY,
        _message.c.available_at_ms.between(lowest, highest),
    )


def _level(level_ms: int) -> tuple[int, int]:
    """The delays, first and last, for which `retry_level_ms` gives this level."""
    position = bisect_left(RETRY_LEVELS_MS, level_ms)
    first = math.ceil(level_ms / 1.1) if position else 1
    following = RETRY_LEVELS_MS[position + 1 : position + 2] or (2**62,)
    return first, math.ceil(following[0] / 1.1) - 1


def _readable(row: Row[Any]) -> Message:
    """The message of `row`, or what can be read of it."""
    try:
        return rows.message_of(row)
    except ValueError:
        return Message(bytes(row.body), row.routing_key)
