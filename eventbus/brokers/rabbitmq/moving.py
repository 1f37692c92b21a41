"""Looking at the messages of a queue, and moving or removing them, on py-amqp's channels.

However many there are, a window of them is in memory. What is looked at is unacknowledged: nobody
else gets it meanwhile, and it goes back when the channel is closed, whoever closes it.
"""

from __future__ import annotations

import contextlib
import time
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from types import TracebackType
from typing import Any

import amqp.spec

from eventbus.brokers.port import Pace
from eventbus.brokers.rabbitmq.codec import FrameEncoder, ack_frame, requeue_frame
from eventbus.brokers.rabbitmq.forwarding import copy_of
from eventbus.brokers.rabbitmq.raw_message import RawMessage
from eventbus.errors import BrokerUnavailable, EventBusError, UnknownName
from eventbus.message import Message

#: Seconds that the broker may take for one answer.
ANSWER_SECONDS = 30.0
#: Messages that are on their way to the target at a time, and a third of those that we hold: as
#: many are decided ahead, and as many on their way to us; fewer where they are large.
WINDOW = 250
WINDOW_BYTES = 16 * 1024 * 1024
#: Seconds without a delivery after which the queue is asked whether there is one.
QUIET_SECONDS = 1.0
#: Seconds for which messages are held unacknowledged at most. The broker gives up on a consumer
#: after its consumer_timeout, half an hour by default, and it may be set lower.
HOLD_SECONDS = 300.0
#: So many messages of one consumer that are given back together keep their order; of more, a quorum
#: queue forgets it (they are the keys of an Erlang map, which is sorted up to this size).
IN_ORDER = 32
#: So many parts are given back before the queue is asked for an answer. Of more than some thirty
#: the broker puts later ones before earlier ones.
GIVE_BACK = 16


class Look:
    """The messages of one queue, on a channel of its own; closed, it gives back what it holds.

    The first message is fetched alone, the others as a consumer gets them: each ``basic.get`` of a
    quorum queue is a decision of its cluster, of which it makes some hundred a second.

    Parameters
    ----------
    channel:
        Used for nothing else: its delivery tags are counted.
    """

    def __init__(self, channel: Any, queue: str) -> None:
        #: How many messages are still to come.
        self.left = 0
        self._channel = channel
        self._queue = queue
        self._began = time.monotonic()
        self._arrived: deque[RawMessage] = deque()
        self._consumer_tag: str | None = None
        self._prefetch = 0
        #: The first delivery tag of each consumer so far.
        self._consumers = array("Q")
        self._last_tag = 0
        self._largest = 1
        #: Delivery tags of what was looked at and is not acknowledged, in order.
        self._held = array("Q")

    def __enter__(self) -> Look:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._give_back()
        elif isinstance(error, Exception):
            # The channel's end does it as well, but the queue hears of that only later.
            with contextlib.suppress(Exception):
                self._give_back()

    @property
    def held_long(self) -> bool:
        """Whether what it holds should be given back soon."""
        return time.monotonic() - self._began > HOLD_SECONDS

    @property
    def kept(self) -> int:
        """How many messages were looked at and not acknowledged."""
        return len(self._held)

    def messages(self, limit: int | None) -> Iterator[RawMessage]:
        """The messages that are in the queue now, up to `limit`.

        Without an end of its own, what is moved into the same queue or published meanwhile would
        be shown for ever.
        """
        if limit is not None and limit < 1:
            return
        raw: RawMessage | None = self._channel.basic_get(self._queue, no_ack=False)
        if raw is None:
            return
        others = int(raw.delivery_info["message_count"])
        self.left = others if limit is None else min(others, limit - 1)
        while raw is not None:
            self._last_tag = raw.delivery_tag
            self._held.append(raw.delivery_tag)
            yield raw
            raw = self._next() if self.left > 0 else None

    def _next(self) -> RawMessage | None:
        if not self._arrived:
            if self._consumer_tag is None or self._unsettled >= self._prefetch:
                self._consume()
            if not self._wait():
                return None
        raw = self._arrived.popleft()
        self.left -= 1
        self._largest = max(self._largest, len(raw.body or b""))
        if self._prefetch > 2 * self._affordable:
            self._stop()
        return raw

    def _consume(self) -> None:
        """Begin to consume; anew when what the caller keeps has filled the prefetch.

        Earlier, something might be on its way: of a consumer that is cancelled, the queue takes
        it back, and it comes again after others.
        """
        self._stop()
        self._prefetch = self._affordable
        self._consumers.append(self._last_tag + 1)
        self._channel.basic_qos(0, self._prefetch, False)
        self._consumer_tag = self._channel.basic_consume(self._queue, callback=self._arrived.append)

    @property
    def _unsettled(self) -> int:
        """What of the present consumer's messages is not acknowledged."""
        return len(self._held) - bisect_left(self._held, self._consumers[-1])

    @property
    def _affordable(self) -> int:
        """How many messages may be in memory, as large as they have been so far."""
        return min(3 * WINDOW, max(1, WINDOW_BYTES // self._largest))

    def _wait(self) -> bool:
        """Wait for a delivery; False where there is none left, because somebody else got it."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._arrived:
            with contextlib.suppress(TimeoutError):
                self._channel.connection.drain_events(timeout=QUIET_SECONDS)
                continue
            ready = self._channel.queue_declare(self._queue, passive=True).message_count
            if not ready and not self._arrived:
                return False
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"queue {self._queue!r} holds {ready} messages and delivers none within "
                    f"{ANSWER_SECONDS:g} s"
                )
        return True

    def acknowledge(self, tags: Sequence[int]) -> None:
        """Remove messages, given by their delivery tags in order, in one write."""
        number = self._channel.channel_id
        # The leading ones before which nothing is kept: the broker settles them all at once.
        count = next(
            (n for n, (tag, held) in enumerate(zip(tags, self._held, strict=False)) if tag != held),
            min(len(tags), len(self._held)),
        )
        frames = [ack_frame(number, tags[count - 1], True)] if count else []
        frames += [ack_frame(number, tag, False) for tag in tags[count:]]
        self._channel.connection.transport.write(b"".join(frames))
        self._forget(tags)

    def _forget(self, tags: Sequence[int]) -> None:
        gone = set(tags)
        start = bisect_left(self._held, tags[0])
        self._held[start:] = array("Q", (tag for tag in self._held[start:] if tag not in gone))

    def _stop(self) -> None:
        if self._consumer_tag is not None:
            tag, self._consumer_tag = self._consumer_tag, None
            self._channel.basic_cancel(tag)

    def _give_back(self) -> None:
        self._stop()
        ends = self._ends([*self._held, *(raw.delivery_tag for raw in self._arrived)])
        for start in range(0, len(ends), GIVE_BACK):
            number = self._channel.channel_id
            frames = [requeue_frame(number, tag, True) for tag in ends[start : start + GIVE_BACK]]
            self._channel.connection.transport.write(b"".join(frames))
            # An answer says that the queue has got so far.
            self._channel.queue_declare(self._queue, passive=True)
        self._channel.basic_recover(requeue=True)
        self._channel.wait(amqp.spec.Basic.RecoverOk, timeout=ANSWER_SECONDS)

    def _ends(self, tags: Sequence[int]) -> list[int]:
        """The last tag of each part of `tags` that keeps its order when it is given back."""
        ends: list[int] = []
        for _, of_consumer in groupby(tags, lambda tag: bisect_right(self._consumers, tag)):
            part = list(of_consumer)
            ends += part[IN_ORDER - 1 :: IN_ORDER]
            if len(part) % IN_ORDER:
                ends.append(part[-1])
        return ends


class Target:
    """Publishes to one queue, a batch at a time, and waits until the broker has each of it."""

    def __init__(self, channel: Any, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        self._encoder = FrameEncoder(channel.channel_id, channel.connection.frame_max)
        self._sent = 0
        self._unconfirmed: set[int] = set()
        self._refused: set[int] = set()
        self._failure: EventBusError | None = None
        self._returned = False
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    def send(self, messages: Sequence[Message]) -> range:
        """Send copies of `messages`; returns what `wait` is to be given."""
        frames = [self._encoder.publish("", self._queue, copy_of(one)) for one in messages]
        tags = range(self._sent + 1, self._sent + 1 + len(frames))
        self._sent += len(frames)
        self._unconfirmed.update(tags)
        self._channel.connection.transport.write(b"".join(frames))
        return tags

    def wait(self, tags: range) -> list[bool]:
        """Wait for the broker's answers; which of the messages the queue has. Then see `check`."""
        self._wait()
        missing = self._unconfirmed | self._refused
        return [tag not in missing for tag in tags]

    def check(self) -> None:
        """Raise what went wrong.

        Raises
        ------
        UnknownName
            The queue does not exist.
        EventBusError
            It refuses messages.
        BrokerUnavailable
            It does not answer.
        """
        if self._failure is not None:
            raise self._failure

    def _wait(self) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._unconfirmed and not self._returned:
            if time.monotonic() > deadline:
                self._failure = BrokerUnavailable(
                    f"queue {self._queue!r} confirms nothing within {ANSWER_SECONDS:g} s; "
                    f"what was not moved stays where it is"
                )
                return
            with contextlib.suppress(TimeoutError):
                self._channel.connection.drain_events(timeout=QUIET_SECONDS)

    def _on_ack(self, tag: int, multiple: bool) -> None:
        # After a return it is not known whether this is the answer to what came back. The
        # original stays: twice is better than not at all.
        if not self._returned:
            self._unconfirmed.difference_update(self._answered(tag, multiple))

    def _answered(self, tag: int, multiple: bool) -> list[int]:
        return [one for one in self._unconfirmed if one <= tag] if multiple else [tag]

    def _on_nack(self, tag: int, multiple: bool) -> None:
        answered = self._answered(tag, multiple)
        self._refused.update(answered)
        self._unconfirmed.difference_update(answered)
        self._failure = EventBusError(
            f"queue {self._queue!r} refuses messages (is it full?); what was not moved stays"
        )

    def _on_return(self, *_arguments: Any) -> None:
        self._returned = True
        self._failure = UnknownName(
            f"no queue {self._queue!r} exists on the broker; what was not moved stays"
        )


def settle(
    open_look: Callable[[], AbstractContextManager[Look]],
    target: Target | None,
    decide: Callable[[Message], Message | None],
    limit: int | None,
    pace: Pace | None,
) -> int:
    """Send what `decide` returns to `target`, and remove the original; returns how many.

    Without a target the original is removed, whatever `decide` returns but None.

    Parameters
    ----------
    open_look:
        Opens a look at the queue: one after the other, none of which holds messages for long.
    """
    moved, present = 0, None
    while limit is None or moved < limit:
        with open_look() as look:
            chosen = _Chosen(look, decide, present)
            before = moved
            # Held for long or not, each look moves something: otherwise they might never end.
            while not (moved == limit or (look.held_long and moved > before)):
                left = None if limit is None else limit - moved
                room = _window(left)
                if pace is not None:
                    room = pace.next_batch(room)
                if room < 1:
                    return moved
                chosen.fill(room)
                batch = chosen.take(room)
                if not batch:
                    chosen.check()
                    return moved
                moved += _settle_batch(look, target, batch, chosen, left, pace)
            present = look.kept + look.left
    return moved


def _window(left: int | None) -> int:
    return WINDOW if left is None else min(WINDOW, left)


#: The delivery tag of an original, and the message to send for it.
_Choice = tuple[int, Message]


class _Chosen:
    """The messages of a look that are to be moved, decided ahead while others are on their way.

    What was decided before a decision failed is carried out; then the failure is raised.
    """

    def __init__(
        self, look: Look, decide: Callable[[Message], Message | None], present: int | None
    ) -> None:
        self._look = look
        self._decide = decide
        self._messages = look.messages(present)
        self._ready: deque[_Choice] = deque()
        self._size = 0
        self._error: Exception | None = None

    def fill(self, count: int) -> None:
        """Have `count` ready, if there are as many, and not too large."""
        ready = self._ready
        while len(ready) < count and self._size < WINDOW_BYTES and self._error is None:
            if ready and self._look.held_long:
                return
            raw = next(self._messages, None)
            if raw is None:
                return
            try:
                message = self._decide(raw.decoded())
            except Exception as error:
                self._error = error
                return
            if message is not None:
                ready.append((raw.delivery_tag, message))
                self._size += len(message.body)

    def take(self, count: int) -> list[_Choice]:
        """Up to `count` of those that are ready."""
        taken = [self._ready.popleft() for _ in range(min(count, len(self._ready)))]
        self._size -= sum(len(message.body) for _, message in taken)
        return taken

    def check(self) -> None:
        """Raise what a decision has raised."""
        if self._error is not None:
            raise self._error


def _settle_batch(
    look: Look,
    target: Target | None,
    batch: Sequence[_Choice],
    chosen: _Chosen,
    left: int | None,
    pace: Pace | None,
) -> int:
    """Send a batch and remove the originals; nothing is under way when it returns or raises."""
    sent = None if target is None else target.send([message for _, message in batch])
    tags = [tag for tag, _ in batch]
    settled = 0
    try:
        # While the broker works.
        chosen.fill(_window(None if left is None else left - len(batch)))
    finally:
        if target is not None and sent is not None:
            tags = [tag for tag, there in zip(tags, target.wait(sent), strict=True) if there]
        if tags:
            # A crash before this line leaves them in both: twice is better than not at all.
            look.acknowledge(tags)
        settled = len(tags)
        if pace is not None:
            pace.advance(settled)
        if target is not None:
            target.check()
    return settled
