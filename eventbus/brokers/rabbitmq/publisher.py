"""Publishing with asynchronous confirms: each message's own outcome, pipelined."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from eventbus.brokers.port import Confirmation
from eventbus.brokers.rabbitmq.address import Address
from eventbus.brokers.rabbitmq.codec import FrameEncoder, Unencodable, decode_message
from eventbus.brokers.rabbitmq.connection import DataConnection
from eventbus.brokers.rabbitmq.link import Link
from eventbus.message import Message

logger = logging.getLogger(__name__)

#: Seconds within which the broker must confirm; afterwards the connection is given up.
CONFIRM_SECONDS = 30.0
#: What may be unconfirmed on the wire; more waits here, so that a slow broker's answer to the
#: first message is not behind a mountain of later ones.
MAX_UNCONFIRMED = 10_000
MAX_UNCONFIRMED_BYTES = 32 * 1024 * 1024
#: Bytes joined for one write. pika copies what the socket did not take, so not much larger.
_WRITE_BYTES = 64 * 1024

_ACCESS_REFUSED = 403

#: Exchange, routing key, message.
Outgoing = tuple[str, str, Message]


class _Batch:
    """Messages that were published together and are answered together."""

    __slots__ = (
        "deadline", "first_tag", "frames", "future", "index", "keys", "loose", "low",
        "open", "outcomes", "positions", "returned", "sent",
    )  # fmt: skip

    def __init__(self, outgoing: Sequence[Outgoing], future: Future[list[Confirmation]]) -> None:
        self.future: Future[list[Confirmation]] | None = future
        self.keys = outgoing
        self.frames: list[bytes] = []
        #: Index of each frame in `outcomes`; None when every message has a frame.
        self.positions: list[int] | None = None
        self.outcomes: list[Confirmation | None] = [None] * len(outgoing)
        self.deadline = 0.0
        self.first_tag = 0
        self.sent = 0
        #: Frames below it are answered; `loose` above it are, too; `open` are not.
        self.low = 0
        self.loose: set[int] = set()
        self.open = 0
        self.returned: set[int] = set()
        self.index: dict[tuple[str | None, str], deque[int]] | None = None

    def encode(self, encoder: FrameEncoder) -> None:
        publish = encoder.publish
        try:
            self.frames = [publish(*one) for one in self.keys]
        except (Unencodable, AttributeError, TypeError, ValueError):
            self._encode_what_can_be(encoder)
        self.open = len(self.frames)

    def _encode_what_can_be(self, encoder: FrameEncoder) -> None:
        self.frames = []
        self.positions = []
        for position, (exchange, routing_key, message) in enumerate(self.keys):
            try:
                frame = encoder.publish(exchange, routing_key, message)
            except (Unencodable, AttributeError, TypeError, ValueError) as error:
                logger.error("message %s cannot be published: %s", message.message_id, error)
                self.outcomes[position] = Confirmation.UNSENDABLE
            else:
                self.frames.append(frame)
                self.positions.append(position)

    def position(self, frame: int) -> int:
        return frame if self.positions is None else self.positions[frame]

    def complete(self) -> None:
        """Answer; what has no outcome is `Confirmation.UNKNOWN`."""
        future, self.future = self.future, None
        if future is not None:
            future.set_result([one or Confirmation.UNKNOWN for one in self.outcomes])

    def abandon(self) -> None:
        """Answer now, and do not send what has not been sent."""
        self.complete()
        self.open -= len(self.frames) - self.sent
        del self.frames[self.sent :]

    def settle(self, low: int, high: int, confirmation: Confirmation) -> None:
        """Frames ``low..high`` have the answer `confirmation`, unless they have one already."""
        if (
            confirmation is Confirmation.ROUTED
            and low == self.low
            and not (self.loose or self.returned or self.positions)
        ):
            count = high - low + 1
            self.outcomes[low : high + 1] = [confirmation] * count
            self.open -= count
            self.low = high + 1
            return
        for frame in range(low, high + 1):
            self._settle_one(frame, confirmation)
        while self.low in self.loose:
            self.loose.remove(self.low)
            self.low += 1

    def _settle_one(self, frame: int, confirmation: Confirmation) -> None:
        if frame < self.low or frame in self.loose:
            return
        self.loose.add(frame)
        self.open -= 1
        if confirmation is Confirmation.ROUTED and frame in self.returned:
            confirmation = Confirmation.UNROUTED
        self.outcomes[self.position(frame)] = confirmation

    def mark_returned(self, message_id: str | None, routing_key: str) -> bool:
        """Note that the broker returned the first such message; whether there is one here."""
        if self.index is None:
            self.index = self._build_index()
        frames = self.index.get((message_id, routing_key))
        while frames:
            frame = frames.popleft()
            if frame >= self.low and frame not in self.loose:
                self.returned.add(frame)
                return True
        return False

    def _build_index(self) -> dict[tuple[str | None, str], deque[int]]:
        index: dict[tuple[str | None, str], deque[int]] = {}
        for frame in range(len(self.frames)):
            _, routing_key, message = self.keys[self.position(frame)]
            index.setdefault((message.message_id, routing_key), deque()).append(frame)
        return index


class ConfirmChannel:
    """One channel in confirm mode: what is unconfirmed on it, in order.

    Everything but `submit` runs on the I/O thread.
    """

    def __init__(self, link: Link, connection: DataConnection, number: int) -> None:
        self.blocked: str | None = None
        self._link = link
        self._connection = connection
        self._encoder = FrameEncoder(number, connection.params.frame_max)
        self._lock = threading.Lock()
        self._dead = False
        self._scheduled = False
        self._inbox: deque[_Batch] = deque()
        self._waiting: deque[_Batch] = deque()
        self._unconfirmed: deque[_Batch] = deque()
        self._confirmed: list[_Batch] = []
        self._next_tag = 1
        self._count = 0
        self._bytes = 0

    def submit(self, outgoing: Sequence[Outgoing], future: Future[list[Confirmation]]) -> None:
        """Publish `outgoing` and answer in `future`; safe from any thread."""
        batch = _Batch(outgoing, future)
        batch.encode(self._encoder)
        batch.deadline = time.monotonic() + CONFIRM_SECONDS
        with self._lock:
            usable = not self._dead and self.blocked is None and bool(batch.frames)
            wake = usable and not self._scheduled
            if usable:
                self._inbox.append(batch)
                self._scheduled = True
        if not usable:
            batch.complete()
        elif wake:
            self._link.call(self._take_inbox)

    def block(self, reason: str) -> None:
        """The broker reads nothing more for now: what was not sent is answered at once."""
        with self._lock:
            self.blocked = reason
            self._waiting.extend(self._inbox)
            self._inbox.clear()
        for batch in self._waiting:
            batch.abandon()
        self._waiting.clear()

    def unblock(self) -> None:
        """The broker reads again; what it has got meanwhile it confirms now."""
        self.blocked = None
        for batch in self._unconfirmed:
            batch.deadline = time.monotonic() + CONFIRM_SECONDS

    def die(self) -> None:
        """The channel is gone: whatever is under way has no known outcome."""
        with self._lock:
            self._dead = True
            batches = [*self._confirmed, *self._unconfirmed, *self._waiting, *self._inbox]
            self._inbox.clear()
        self._unconfirmed.clear()
        self._waiting.clear()
        for batch in batches:
            batch.complete()

    def refuse_larger_than(self, limit: int) -> None:
        """The broker closed the channel over a message of more than `limit` bytes."""
        for batch in [*self._unconfirmed, *self._waiting]:
            for frame in range(batch.low, len(batch.frames)):
                position = batch.position(frame)
                if batch.outcomes[position] is None and len(batch.keys[position][2].body) > limit:
                    batch.outcomes[position] = Confirmation.UNSENDABLE

    def check_deadlines(self) -> None:
        """Answer what has waited too long, and give up a connection that stays silent."""
        now = time.monotonic()
        while self._waiting and self._waiting[0].deadline <= now:
            self._waiting.popleft().abandon()
        late = [batch for batch in self._unconfirmed if batch.deadline <= now]
        for batch in late:
            # While the broker blocks the connection, its answer may come after the alarm is over;
            # only a connection that stays open is told when that is.
            batch.abandon()
        if late and self.blocked is None:
            self._link.drop(f"no confirm within {CONFIRM_SECONDS:g} s")

    def on_deliver(self, method: bytes, properties: bytes, body: bytes) -> None:
        """Nothing is consumed on this channel."""

    def on_return(self, method: bytes, properties: bytes, body: bytes) -> None:
        """Find the message that came back; its own ack follows."""
        exchange, routing_key = _returned_address(method)
        message, _ = decode_message(properties, b"", exchange, routing_key)
        key = routing_key.decode("utf-8", "backslashreplace")
        for batch in self._unconfirmed:
            if batch.mark_returned(message.message_id, key):
                return
        logger.warning("the broker returned message %s, which is not known", message.message_id)

    def on_confirm(self, tag: int, multiple: bool, positive: bool) -> None:
        """Settle one message or, with `multiple`, all up to `tag`."""
        confirmation = Confirmation.ROUTED if positive else Confirmation.REFUSED
        for batch in self._unconfirmed:
            last = tag - batch.first_tag
            if last < 0:
                break
            if multiple or last < batch.sent:
                high = min(last, batch.sent - 1)
                low = batch.low if multiple else high
                self._settle(batch, low, high, confirmation)
                if not multiple:
                    break
        while self._unconfirmed and not self._unconfirmed[0].open:
            self._confirmed.append(self._unconfirmed.popleft())

    def on_read(self) -> None:
        """Answer what is complete, and write what now has room."""
        for batch in (*self._confirmed, *self._unconfirmed):
            if not batch.open:
                batch.complete()
        self._confirmed.clear()
        self._write()

    def _settle(self, batch: _Batch, low: int, high: int, confirmation: Confirmation) -> None:
        if high < low:
            return
        before = batch.open
        if low == high:
            size = len(batch.frames[low]) if low not in batch.loose and low >= batch.low else 0
        elif batch.loose:
            size = sum(len(batch.frames[n]) for n in range(low, high + 1) if n not in batch.loose)
        else:
            size = sum(map(len, batch.frames[low : high + 1]))
        batch.settle(low, high, confirmation)
        self._count -= before - batch.open
        self._bytes -= size

    def _take_inbox(self) -> None:
        with self._lock:
            self._scheduled = False
            self._waiting.extend(self._inbox)
            self._inbox.clear()
        self._write()

    def _write(self) -> None:
        while self._waiting and self._has_room():
            batch = self._waiting[0]
            if not batch.sent:
                batch.first_tag = self._next_tag
                self._unconfirmed.append(batch)
            self._write_some(batch)
            if batch.sent == len(batch.frames):
                self._waiting.popleft()

    def _has_room(self) -> bool:
        return self._count < MAX_UNCONFIRMED and self._bytes < MAX_UNCONFIRMED_BYTES

    def _write_some(self, batch: _Batch) -> None:
        frames = batch.frames
        first = last = batch.sent
        size = 0
        room = MAX_UNCONFIRMED - self._count
        while last < len(frames) and last - first < room and size < _WRITE_BYTES:
            size += len(frames[last])
            last += 1
        batch.sent = last
        self._next_tag += last - first
        self._count += last - first
        self._bytes += size
        self._connection.send(b"".join(frames[first:last]))


def _returned_address(method: bytes) -> tuple[bytes, bytes]:
    """Exchange and routing key of a ``basic.return``: code, text, exchange, routing key."""
    parts = []
    offset = 2
    for _ in range(3):
        end = offset + 1 + method[offset]
        parts.append(method[offset + 1 : end])
        offset = end
    return parts[1], parts[2]


class ConfirmingLink:
    """A connection of its own for publishing, to any exchange.

    Parameters
    ----------
    exchange:
        The topic exchange to declare on connecting, so that publishing works before any worker
        has run; None for the default exchange.
    """

    def __init__(
        self, addresses: Sequence[Address], name: str, exchange: str | None = None
    ) -> None:
        self._exchange = exchange
        self._channel: ConfirmChannel | None = None
        self._channel_trouble: str | None = None
        self._ready = threading.Event()
        self.link = Link(addresses, name, self._on_up, self._on_down)
        self.link.start()

    def send(self, outgoing: Sequence[Outgoing]) -> Future[list[Confirmation]]:
        """Publish each message to its exchange and routing key; see `Publisher.publish`."""
        future: Future[list[Confirmation]] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel what is on the wire
        channel = self._channel
        if channel is None or not outgoing:
            future.set_result([Confirmation.UNKNOWN] * len(outgoing))
        else:
            channel.submit(outgoing, future)
        return future

    def wait_ready(self, timeout: float) -> bool:
        """See `Publisher.wait_ready`."""
        return self._ready.wait(timeout)

    @property
    def trouble(self) -> str | None:
        """See `Publisher.trouble`."""
        if self._ready.is_set():
            return None
        return self.link.trouble or self._channel_trouble or "opening a channel"

    def close(self, timeout: float = 0.0) -> None:
        """Close; what is under way completes as `Confirmation.UNKNOWN`."""
        self.link.close(timeout)
        self._on_down()  # the thread may be stuck; nobody may wait for it

    def _on_up(self, connection: DataConnection) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._open_channel(connection, passive=False)

    def _on_down(self) -> None:
        self._ready.clear()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.die()

    def _open_channel(self, connection: DataConnection, *, passive: bool) -> None:
        def opened(channel: Any) -> None:
            channel.add_on_close_callback(closed)
            if self._exchange is None:
                confirm(channel)
            else:
                channel.exchange_declare(
                    self._exchange,
                    exchange_type="topic",
                    durable=True,
                    passive=passive,
                    callback=lambda _frame: confirm(channel),
                )

        def confirm(channel: Any) -> None:
            # The adapter counts tags itself; pika only has to send the method.
            channel.confirm_delivery(
                lambda _frame: None, callback=lambda _frame: self._on_ready(connection, channel)
            )

        def closed(_channel: Any, error: Any) -> None:
            self._on_channel_closed(connection, error, passive)

        connection.channel(on_open_callback=opened)

    def _on_ready(self, connection: DataConnection, channel: Any) -> None:
        confirm_channel = ConfirmChannel(self.link, connection, channel.channel_number)
        connection.receive_content(channel.channel_number, confirm_channel)
        self._channel = confirm_channel
        self._channel_trouble = None
        self.link.settled()
        self._ready.set()
        self._check_deadlines(confirm_channel)

    def _check_deadlines(self, channel: ConfirmChannel) -> None:
        if channel is self._channel:
            channel.check_deadlines()
            self.link.call_later(
                min(1.0, CONFIRM_SECONDS / 4), lambda: self._check_deadlines(channel)
            )

    def _on_channel_closed(self, connection: DataConnection, error: Any, passive: bool) -> None:
        if not connection.is_open:
            return
        code = getattr(error, "reply_code", 0)
        if code == _ACCESS_REFUSED and self._channel is None and not passive:
            # Not allowed to declare: enough if somebody else has.
            self._open_channel(connection, passive=True)
            return
        text = getattr(error, "reply_text", str(error))
        self._channel_trouble = f"the broker closed the publishing channel: {text}"
        logger.error("%s: %s", self.link.name, self._channel_trouble)
        limit = _size_limit(text)
        if limit is not None and self._channel is not None:
            self._channel.refuse_larger_than(limit)
        self.link.drop(text)

    def _on_blocked(self, _connection: DataConnection, frame: Any) -> None:
        reason = f"the broker blocks publishing: {frame.method.reason or 'a resource alarm'}"
        logger.warning("%s: %s", self.link.name, reason)
        self._channel_trouble = reason
        self._ready.clear()
        if self._channel is not None:
            self._channel.block(reason)

    def _on_unblocked(self, _connection: DataConnection, _frame: Any) -> None:
        logger.info("%s: the broker takes messages again", self.link.name)
        self._channel_trouble = None
        if self._channel is not None:
            self._channel.unblock()
            self._ready.set()


def _size_limit(text: str) -> int | None:
    """``PRECONDITION_FAILED - message size 20 is larger than configured max size 10``."""
    if "message size" not in text:
        return None
    digits = text.rsplit(None, 1)[-1]
    return int(digits) if digits.isdigit() else None


class RabbitMQPublisher:
    """The `Publisher` of RabbitMQ: pipelined, confirmed, mandatory, persistent."""

    def __init__(self, addresses: Sequence[Address], name: str, exchange: str) -> None:
        self._exchange = exchange
        self._link = ConfirmingLink(addresses, name, exchange)

    def publish(
        self, messages: Sequence[Message], queue: str | None = None
    ) -> Future[list[Confirmation]]:
        """See `Publisher.publish`; every queue is bound to the default exchange by its name."""
        if queue is not None:
            return self._link.send([("", queue, one) for one in messages])
        exchange = self._exchange
        return self._link.send([(exchange, one.routing_key, one) for one in messages])

    def wait_ready(self, timeout: float) -> bool:
        """See `Publisher.wait_ready`."""
        return self._link.wait_ready(timeout)

    @property
    def trouble(self) -> str | None:
        """See `Publisher.trouble`."""
        return self._link.trouble

    def close(self) -> None:
        """See `Publisher.close`."""
        self._link.close()
