"""Looking at the messages of a queue and moving them to another, on py-amqp's channels."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import amqp.spec

from eventbus.brokers.rabbitmq.forwarding import copy_of
from eventbus.brokers.rabbitmq.raw_message import RawMessage
from eventbus.errors import BrokerUnavailable, EventBusError, UnknownName
from eventbus.message import Message

#: Seconds that the broker may take for one answer.
ANSWER_SECONDS = 30.0
#: Messages that are on their way to us, or to the target, at a time.
WINDOW = 500
#: Seconds without a delivery after which nothing more is expected: a worker got the rest.
QUIET_SECONDS = 1.0


@contextlib.contextmanager
def present(channel: Any, queue: str, limit: int | None = None) -> Iterator[Iterator[RawMessage]]:
    """The messages that are in `queue` now, up to `limit`; the unacknowledged go back at the end.

    Without an end of its own, what is moved into the same queue or published meanwhile would be
    shown for ever.
    """
    fetch = _Fetch(channel, queue)
    yield fetch.messages(limit)
    fetch.stop()
    # Said, not left to the channel's end, of which the queue hears only later.
    channel.basic_recover(requeue=True)
    channel.wait(amqp.spec.Basic.RecoverOk, timeout=ANSWER_SECONDS)


class _Fetch:
    """Gets messages of a queue, the first alone, the others as a consumer does.

    Each ``basic.get`` of a quorum queue is a decision of its cluster: some hundred a second.
    """

    def __init__(self, channel: Any, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        self._arrived: deque[RawMessage] = deque()
        self._consumer_tag: str | None = None

    def messages(self, limit: int | None) -> Iterator[RawMessage]:
        if limit is not None and limit < 1:
            return
        first = self._channel.basic_get(self._queue, no_ack=False)
        if first is None:
            return
        yield first
        left = first.delivery_info["message_count"]
        if limit is not None:
            left = min(left, limit - 1)
        while left > 0:
            # What the caller keeps unacknowledged fills the prefetch: after each window a new
            # consumer, with a new one.
            for raw in self._window(min(left, WINDOW)):
                left -= 1
                yield raw
            if self._consumer_tag is None:
                return
            self.stop()

    def _window(self, size: int) -> Iterator[RawMessage]:
        self._channel.basic_qos(0, size, False)
        self._consumer_tag = self._channel.basic_consume(self._queue, callback=self._arrived.append)
        for _ in range(size):
            while not self._arrived:
                try:
                    self._channel.connection.drain_events(timeout=QUIET_SECONDS)
                except TimeoutError:
                    self.stop()
                    return
            yield self._arrived.popleft()

    def stop(self) -> None:
        """Get no more."""
        if self._consumer_tag is not None:
            tag, self._consumer_tag = self._consumer_tag, None
            self._channel.basic_cancel(tag)


class Move:
    """Publishes to one queue, pipelined, and acknowledges each original once its copy is there.

    Leaving it waits for what is still on its way, also after an error.

    Raises
    ------
    UnknownName
        The target does not exist.
    EventBusError
        The target refuses messages.
    """

    def __init__(self, channel: Any, publishing: Any, target: str) -> None:
        self.sent = 0
        self.moved = 0
        self._channel = channel
        self._publishing = publishing
        self._target = target
        #: Publish tag to the delivery tag of the original, in order.
        self._unconfirmed: dict[int, int] = {}
        self._failure: EventBusError | None = None
        self._returned = False
        publishing.confirm_select()
        publishing.events["basic_ack"].add(self._on_ack)
        publishing.events["basic_nack"].add(self._on_nack)
        publishing.events["basic_return"].add(self._on_return)

    def __enter__(self) -> Move:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wait(0)
        if error is None and self._failure is not None:
            raise self._failure

    def send(self, message: Message, original: int) -> None:
        """Send a copy of `message`; `original` is the delivery tag to acknowledge afterwards."""
        self.sent += 1
        self._unconfirmed[self.sent] = original
        self._publishing.basic_publish(
            RawMessage.outgoing(copy_of(message)),
            exchange="",
            routing_key=self._target,
            mandatory=True,
        )
        self._wait(WINDOW)
        if self._failure is not None:
            raise self._failure

    def _wait(self, allowed: int) -> None:
        """Until no more than `allowed` copies are unconfirmed, or one came back."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while len(self._unconfirmed) > allowed and not self._returned:
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"queue {self._target!r} confirms nothing within {ANSWER_SECONDS:g} s; "
                    f"what was not moved stays where it is"
                )
            with contextlib.suppress(TimeoutError):
                self._publishing.connection.drain_events(timeout=QUIET_SECONDS)

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if self._returned:
            # It is not known whether this is the answer to what came back. The original stays:
            # twice is better than not at all.
            return
        for original in self._answered(tag, multiple):
            self._channel.basic_ack(original)
            self.moved += 1

    def _answered(self, tag: int, multiple: bool) -> list[int]:
        tags = [one for one in self._unconfirmed if one <= tag] if multiple else [tag]
        return [self._unconfirmed.pop(one) for one in tags]

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._answered(tag, multiple)
        self._failure = EventBusError(
            f"queue {self._target!r} refuses messages (is it full?); what was not moved stays"
        )

    def _on_return(self, *_arguments: Any) -> None:
        self._returned = True
        self._failure = UnknownName(
            f"no queue {self._target!r} exists on the broker; what was not moved stays"
        )
