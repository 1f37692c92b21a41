"""Replay: published events sent again, to one subscription only.

A new consumer is filled from history, and what a broker lost is made up for, without disturbing
any other queue: the copies go straight to the one queue. They have the ids they had, so a handler
that has done an event, and still remembers it, does not do it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, replace

from eventbus.brokers.port import Admin, Confirmation, Publisher
from eventbus.errors import BrokerUnavailable, UnknownName
from eventbus.message import HANDLER_HEADER, Message
from eventbus.outbox.event_log import SETTLED_AFTER_MS, EventLog, LoggedRow, Position, Selection
from eventbus.outbox.publication import UnsendableRow, to_publication

from .operation import Operation

log = logging.getLogger("eventbus.replay")

BATCH = 500
#: How often the depth of the queue is looked at, in events sent and in seconds while waiting.
LOOK_EVERY = 1_000
LOOK_SECONDS = 0.5
#: What a broker that is away or refuses gets before the replay gives up; it can be resumed.
PATIENCE_SECONDS = 60.0
#: How often an interruption is noticed while the broker is waited for.
TICK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Target:
    """Where a replay goes.

    Parameters
    ----------
    queue:
        Full name of the subscription's queue.
    handler:
        The only handler that is to run; None for all of the queue that take the event.
    max_depth:
        While the queue holds more messages than this, the replay waits: it is to fill the queue no
        faster than its workers empty it, and never its bound.
    """

    queue: str
    handler: str | None = None
    max_depth: int = 10_000


class Replay:
    """Sends the events of a selection to one queue, in the order in which they were published.

    Parameters
    ----------
    now_ms:
        The database's clock at the start. Events published later are not part of it: the queue's
        bindings bring them.
    """

    def __init__(
        self,
        event_log: EventLog,
        publisher: Publisher,
        admin: Admin,
        target: Target,
        selection: Selection,
        now_ms: int,
    ) -> None:
        self._log = event_log
        self._publisher = publisher
        self._admin = admin
        self._target = target
        until = now_ms if selection.until_ms is None else min(selection.until_ms, now_ms)
        self._selection = replace(selection, until_ms=until)
        #: Before it, a transaction that was open at the start may still add events to the log.
        self._settled_at_ms = until + SETTLED_AFTER_MS
        self._until_look = 0

    def run(self, operation: Operation, start: Position | None = None) -> None:
        """Send what comes after `start`.

        Raises
        ------
        OperationInterrupted, OperationStopped
            `operation` was ended.
        UnknownName
            The queue does not exist, or not any more.
        BrokerUnavailable
            The broker is away for too long, or refuses for too long.
        """
        position = start
        while True:
            rows = self._read(position, operation)
            if not rows:
                return
            sent = 0
            while sent < len(rows):
                count = operation.next_batch(len(rows) - sent)
                self._wait_for_room(count, operation)
                batch = rows[sent : sent + count]
                damaged = self._send(batch, operation)
                sent += count
                position = batch[-1].position
                operation.advance(
                    count, failed=operation.record.failed + damaged, position=_json(position)
                )

    def _read(self, position: Position | None, operation: Operation) -> list[LoggedRow]:
        """The next events; before it says that there are none, late ones have had their time."""
        while not (rows := self._log.read(self._selection, position, BATCH)):
            left_ms = self._settled_at_ms - self._log.now_ms()
            if left_ms <= 0:
                # Once more: between the read and the clock the last could have come.
                return self._log.read(self._selection, position, BATCH)
            operation.check()
            time.sleep(min(left_ms / 1000, TICK_SECONDS))
        return rows

    def _wait_for_room(self, count: int, operation: Operation) -> None:
        self._until_look -= count
        if self._until_look > 0:
            return
        while self._depth() > self._target.max_depth:
            operation.check()
            time.sleep(LOOK_SECONDS)
        self._until_look = LOOK_EVERY

    def _depth(self) -> int:
        queue = self._target.queue
        stats = self._admin.stats([queue])
        if queue not in stats:
            raise UnknownName(
                f"queue {queue!r} is not on the broker; what was not sent can be resumed"
            )
        return stats[queue].messages

    def _send(self, rows: Sequence[LoggedRow], operation: Operation) -> int:
        """Send `rows` until the broker has all of them; returns how many cannot be sent."""
        messages = []
        for one in rows:
            try:
                messages.append(self._message(one))
            except UnsendableRow as error:
                log.error("not sent again: %s", error)
        damaged = len(rows) - len(messages)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while messages:
            answers = self._publish(messages, operation)
            damaged += answers.count(Confirmation.UNSENDABLE)
            messages = [
                message
                for message, answer in zip(messages, answers, strict=True)
                if answer not in (Confirmation.ROUTED, Confirmation.UNSENDABLE)
            ]
            if Confirmation.UNROUTED in answers:
                self._depth()  # says that it is gone
            if messages and time.monotonic() > give_up_at:
                raise BrokerUnavailable(self._why_not(answers))
            if messages:
                operation.check()
                self._publisher.wait_ready(LOOK_SECONDS)
                time.sleep(TICK_SECONDS)
        return damaged

    def _message(self, one: LoggedRow) -> Message:
        message = to_publication(one.row)
        if self._target.handler is None:
            return message
        return message.with_headers({HANDLER_HEADER: self._target.handler})

    def _publish(self, messages: Sequence[Message], operation: Operation) -> list[Confirmation]:
        future = self._publisher.publish(messages, queue=self._target.queue)
        while True:
            try:
                return future.result(TICK_SECONDS)
            except NotYet:
                operation.check()

    def _why_not(self, answers: Sequence[Confirmation]) -> str:
        queue = self._target.queue
        if Confirmation.REFUSED in answers:
            return f"queue {queue!r} refuses messages for {PATIENCE_SECONDS:g} s: is it full?"
        trouble = self._publisher.trouble or "no answer"
        return f"the broker takes nothing for {PATIENCE_SECONDS:g} s: {trouble}"


def _json(position: Position) -> list[int]:
    return [position.published_at_ms, position.seq]


def read_position(value: object) -> Position | None:
    """The position that an operation's record holds."""
    if isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value):
        return Position(*value)
    return None
