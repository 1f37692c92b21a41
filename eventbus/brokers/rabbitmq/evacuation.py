"""Taking all messages out of a queue and deleting it, so that none is lost in between.

RabbitMQ deletes a quorum queue whatever it holds: ``if-empty`` is refused (540, and the connection
is closed with it). So the queue is deleted under a consumer of ours: what arrives until the last
moment has been handed to us, and goes where the rest went.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from eventbus.brokers.rabbitmq.forwarding import copy_of
from eventbus.brokers.rabbitmq.raw_message import RawMessage
from eventbus.errors import BrokerUnavailable, EventBusError, QueueInUse
from eventbus.message import Message

#: Copies that are on their way to the target at a time.
WINDOW = 500
#: Seconds without a message after which a queue counts as empty, and after its deletion as gone.
QUIET_SECONDS = 0.3
#: Seconds after which the broker is asked whether a queue that is never quiet is at least empty.
LOOK_SECONDS = 1.0
#: Seconds that the broker may take for one answer.
ANSWER_SECONDS = 30.0


class Evacuation:
    """Moves what is in `source` to `target`, and can delete `source` at the end.

    Parameters
    ----------
    channel, publishing:
        Two channels for this alone.
    already_there:
        Tells of a message whether an earlier run, which was killed, has moved it; asked once for
        each message.
    moved:
        Called with a number of messages each time so many have arrived.
    """

    def __init__(
        self,
        channel: Any,
        publishing: Any,
        source: str,
        target: str,
        already_there: Callable[[Message], bool],
        moved: Callable[[int], None],
    ) -> None:
        self._channel = channel
        self._publishing = publishing
        self._source = source
        self._target = target
        self._already_there = already_there
        self._moved = moved
        self._arrived: deque[RawMessage] = deque()
        #: Publish tag to the delivery tag of the original.
        self._unconfirmed: dict[int, int] = {}
        self._published = 0
        self._failure: EventBusError | None = None
        #: Whether the source sends no more.
        self._ended = False
        #: Whether it is there no more, to take acknowledgements.
        self._gone = False

    def run(self, *, delete: bool, then: Callable[[], None] = lambda: None) -> None:
        """Move until the source is empty; with `delete` it is then deleted.

        What comes meanwhile is moved as well.

        Parameters
        ----------
        then:
            Called as soon as the source is deleted.

        Raises
        ------
        EventBusError
            The target takes no message, or somebody else consumes the source. What was not moved
            is in the source still.
        """
        self._begin()
        self._move_until_quiet()
        if not delete:
            self._channel.basic_cancel(self._tag)
            # What is under way would else go back, and be there twice.
            self._ended = True
            self._move_until_quiet()
            return
        _, _, consumers = self._channel.queue_declare(self._source, passive=True)
        if consumers > 1:
            raise in_use(self._source, 0, consumers - 1)
        count = self._channel.queue_delete(self._source)
        self._gone = self._ended = True
        try:
            then()
        finally:
            self._move_until_quiet()
        if count:
            raise EventBusError(
                f"{count} messages came to {self._source!r} faster than they could be moved, and "
                f"were deleted with it; 'eventbus replay' sends them again from the event log"
            )

    def _begin(self) -> None:
        self._publishing.confirm_select()
        self._publishing.events["basic_ack"].add(self._on_ack)
        self._publishing.events["basic_nack"].add(self._on_nack)
        self._publishing.events["basic_return"].add(self._on_return)
        self._channel.basic_qos(0, WINDOW, False)
        self._tag = self._channel.basic_consume(
            self._source,
            callback=self._arrived.append,
            # The deletion ends the consumer, and the broker says so.
            on_cancel=lambda _tag: None,
        )

    def _move_until_quiet(self) -> None:
        started = active_at = time.monotonic()
        while True:
            moved = self._step()
            now = time.monotonic()
            if moved:
                active_at = now
            elif self._unconfirmed and now - active_at > ANSWER_SECONDS:
                raise BrokerUnavailable(
                    f"queue {self._target!r} confirms nothing within {ANSWER_SECONDS:g} s; what "
                    f"was not moved is in {self._source!r} still"
                )
            elif not self._unconfirmed and now - active_at > QUIET_SECONDS:
                return
            if now - started > LOOK_SECONDS and not self._ended:
                started = now
                if self._is_caught_up():
                    return

    def _is_caught_up(self) -> bool:
        """Whether all that is in the source has been handed to us: others send all the time."""
        return bool(self._channel.queue_declare(self._source, passive=True).message_count == 0)

    def _step(self) -> bool:
        """Move what has arrived, and wait a moment for more; whether anything happened."""
        before = self._published, len(self._unconfirmed)
        while self._arrived and len(self._unconfirmed) < WINDOW:
            self._move(self._arrived.popleft())
        with contextlib.suppress(TimeoutError):
            self._channel.connection.drain_events(timeout=QUIET_SECONDS / 3)
        if self._failure is not None:
            raise self._failure
        return bool(self._arrived) or (self._published, len(self._unconfirmed)) != before

    def _move(self, raw: RawMessage) -> None:
        message = raw.decoded()
        if raw.exchange:
            # It goes on through the default exchange, where a worker believes these headers.
            message = message.without_worker_headers()
        if self._already_there(message):
            self._acknowledge(raw.delivery_tag)
            return
        self._published += 1
        self._unconfirmed[self._published] = raw.delivery_tag
        self._publishing.basic_publish(
            RawMessage.outgoing(copy_of(message)),
            exchange="",
            routing_key=self._target,
            mandatory=True,
        )

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if self._failure is not None:
            # Perhaps the answer to what came back. The original stays: better twice than never.
            return
        tags = [one for one in self._unconfirmed if one <= tag] if multiple else [tag]
        for one in tags:
            self._acknowledge(self._unconfirmed.pop(one))
        self._moved(len(tags))

    def _acknowledge(self, delivery_tag: int) -> None:
        if not self._gone:
            self._channel.basic_ack(delivery_tag)

    def _on_nack(self, _tag: int, _multiple: bool) -> None:
        self._failure = EventBusError(
            f"queue {self._target!r} refuses messages (is it full?); what was not moved is in "
            f"{self._source!r} still"
        )

    def _on_return(self, *_arguments: Any) -> None:
        self._failure = EventBusError(
            f"queue {self._target!r} has vanished; what was not moved is in {self._source!r} still"
        )


def delete_unused(channel: Any, queue: str, is_quorum: bool) -> list[RawMessage]:
    """Delete `queue` only if nothing is in it, nothing consumes it and nothing comes meanwhile.

    Returns
    -------
    list of RawMessage
        What came in the very moment of the deletion, and is nowhere else now.

    Raises
    ------
    QueueInUse
        It is left as it was.
    """
    _, messages, consumers = channel.queue_declare(queue, passive=True)
    if messages or consumers:
        raise in_use(queue, messages, consumers)
    if not is_quorum:
        channel.queue_delete(queue, if_unused=True, if_empty=True)
        return []
    arrived: list[RawMessage] = []
    channel.basic_consume(queue, callback=arrived.append, on_cancel=lambda _tag: None)
    _listen(channel, arrived)
    if arrived:
        # They go back when the channel is closed.
        raise in_use(queue, len(arrived), 0)
    channel.queue_delete(queue)
    _listen(channel, arrived)
    return arrived


def _listen(channel: Any, arrived: list[RawMessage]) -> None:
    deadline = time.monotonic() + QUIET_SECONDS
    while (left := deadline - time.monotonic()) > 0 and not arrived:
        with contextlib.suppress(TimeoutError):
            channel.connection.drain_events(timeout=left)


def in_use(queue: str, messages: int, consumers: int) -> QueueInUse:
    """The error that says why `queue` is not deleted."""
    return QueueInUse(
        f"queue {queue!r} is in use: it has {messages} messages and {consumers} consumers"
    )
