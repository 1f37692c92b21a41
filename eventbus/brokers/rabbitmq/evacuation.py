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

from eventbus.brokers.rabbitmq.moving import Target
from eventbus.brokers.rabbitmq.raw_message import RawMessage
from eventbus.errors import EventBusError, QueueInUse
from eventbus.message import Message

#: Messages that are with us at a time, and those that are sent on together.
WINDOW = 500
BATCH = 250
#: Seconds without a message after which those that are here are sent on.
PAUSE_SECONDS = 0.1
#: Seconds without a message after which a queue counts as empty, and after its deletion as gone.
QUIET_SECONDS = 0.3
#: Seconds after which the broker is asked whether a queue that is never quiet is at least empty.
LOOK_SECONDS = 1.0


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
        Called with a number of messages each time so many have arrived, before they are
        acknowledged: what it raises, or a kill, leaves them in both queues.
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
        self._source = source
        self._target = Target(publishing, target)
        self._already_there = already_there
        self._moved = moved
        self._arrived: deque[RawMessage] = deque()
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
        self._channel.basic_qos(0, WINDOW, False)
        tag = self._channel.basic_consume(
            self._source,
            callback=self._arrived.append,
            # The deletion ends the consumer, and the broker says so.
            on_cancel=lambda _tag: None,
        )
        self._move_until_quiet()
        if delete:
            self._delete(then)
            return
        self._channel.basic_cancel(tag)
        # What is with us would else go back, and into the queue's middle.
        self._ended = True
        self._move_until_quiet()

    def _delete(self, then: Callable[[], None]) -> None:
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

    def _move_until_quiet(self) -> None:
        looked_at = active_at = time.monotonic()
        while True:
            if self._wait():
                self._send()
                active_at = time.monotonic()
            elif time.monotonic() - active_at > QUIET_SECONDS:
                return
            if not self._ended and time.monotonic() - looked_at > LOOK_SECONDS:
                looked_at = time.monotonic()
                if self._is_caught_up():
                    return

    def _is_caught_up(self) -> bool:
        """Whether all that is in the source has been handed to us: others send all the time."""
        return bool(self._channel.queue_declare(self._source, passive=True).message_count == 0)

    def _wait(self) -> bool:
        """Wait for a batch, or for as much of it as comes; whether there is any."""
        with contextlib.suppress(TimeoutError):
            while len(self._arrived) < BATCH:
                self._channel.connection.drain_events(timeout=PAUSE_SECONDS)
        return bool(self._arrived)

    def _send(self) -> None:
        """Send on what has arrived, and acknowledge what the target has of it."""
        batch = [self._arrived.popleft() for _ in range(min(len(self._arrived), BATCH))]
        wanted = [(raw, message) for raw in batch if (message := self._chosen(raw)) is not None]
        there: list[bool] = self._target.wait(self._target.send([message for _, message in wanted]))
        missing = {raw.delivery_tag for (raw, _), has in zip(wanted, there, strict=True) if not has}
        self._moved(len(wanted) - len(missing))
        if not self._gone:
            self._acknowledge([raw.delivery_tag for raw in batch], missing)
        self._target.check()

    def _chosen(self, raw: RawMessage) -> Message | None:
        message = raw.decoded()
        if raw.exchange:
            # It goes on through the default exchange, where a worker believes these headers.
            message = message.without_worker_headers()
        return None if self._already_there(message) else message

    def _acknowledge(self, tags: list[int], missing: set[int]) -> None:
        if not missing:
            self._channel.basic_ack(tags[-1], multiple=True)
            return
        for tag in tags:
            if tag not in missing:
                self._channel.basic_ack(tag)


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
