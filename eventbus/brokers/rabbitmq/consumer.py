"""Consuming: one connection, one channel a queue, deliveries and settlements in batches."""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eventbus.brokers.port import Delivery, Settlement
from eventbus.brokers.rabbitmq.address import Address
from eventbus.brokers.rabbitmq.codec import ack_frame, decode_message, requeue_frame
from eventbus.brokers.rabbitmq.connection import DataConnection
from eventbus.brokers.rabbitmq.forwarding import Forwarder
from eventbus.brokers.rabbitmq.link import Link, new_backoff
from eventbus.message import Message, last_death

logger = logging.getLogger(__name__)

#: Seconds to wait for the broker's answer to ``basic.cancel``.
CANCEL_SECONDS = 5.0
#: AMQP's prefetch count has 16 bits.
PREFETCH_MAX = 65_535

_tag_and_redelivered = struct.Struct(">QB")

OnDeliveries = Callable[[list[Delivery]], None]


class QueueChannel:
    """One queue's channel: consumes it, and knows what is delivered and not yet settled.

    It lives as long as the AMQP channel: a new channel is a new object, and what the old one
    delivered is settled in vain. Everything runs on the I/O thread.
    """

    __slots__ = (
        "_arrived", "_connection", "_gone", "_low", "_number", "alive", "channel",
        "consumer_tag", "on_deliveries", "queue",
    )  # fmt: skip

    def __init__(
        self, queue: str, connection: DataConnection, channel: Any, on_deliveries: OnDeliveries
    ) -> None:
        self.queue = queue
        self.channel = channel
        self.consumer_tag: str | None = None
        self.alive = True
        self.on_deliveries = on_deliveries
        self._connection = connection
        self._number: int = channel.channel_number
        self._arrived: list[Delivery] = []
        #: Tags below it are settled; `_gone` are settled above it.
        self._low = 1
        self._gone: set[int] = set()

    def on_deliver(self, method: bytes, properties: bytes, body: bytes) -> None:
        """Decode one ``basic.deliver``: consumer tag, delivery tag, redelivered, exchange, key."""
        offset = 1 + method[0]
        tag, redelivered = _tag_and_redelivered.unpack_from(method, offset)
        offset += 9
        start = offset + 1
        offset = start + method[offset]
        exchange = method[start:offset]
        start = offset + 1
        routing_key = method[start : start + method[offset]]
        message, undecodable = decode_message(properties, body, exchange, routing_key)
        again = bool(redelivered & 1)
        self._arrived.append(
            # What comes back from a retry queue comes through the default exchange, named "".
            Delivery(
                self.queue,
                (self, tag),
                message,
                again,
                undecodable,
                bool(exchange) or _overflowed_from_exchange(message.headers),
                _deliveries(message) if again else 0,
            )
        )

    def on_return(self, method: bytes, properties: bytes, body: bytes) -> None:
        """Nothing is published on this channel."""

    def on_confirm(self, tag: int, multiple: bool, positive: bool) -> None:
        """Nothing is published on this channel."""

    def on_read(self) -> None:
        """Hand over what one read of the socket brought."""
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        try:
            self.on_deliveries(arrived)
        except Exception:
            # Kept, they would hold the prefetch for ever, and the queue would stand still.
            logger.exception("deliveries of %s were not taken; they go back", self.queue)
            self.requeue([delivery.tag[1] for delivery in arrived])

    def ack(self, tags: list[int]) -> None:
        """Acknowledge `tags`: all settled in a row with one ``basic.ack``, the others singly."""
        before = self._low
        self._mark(tags)
        in_row = [tag for tag in tags if before <= tag < self._low]
        frames = []
        if in_row:
            # The last of a ``multiple`` must itself be unsettled at the broker.
            frames.append(ack_frame(self._number, max(in_row), True))
        frames += [ack_frame(self._number, tag, False) for tag in tags if tag >= self._low]
        if frames:
            self._connection.send(b"".join(frames))

    def requeue(self, tags: list[int]) -> None:
        """Give `tags` back to the queue."""
        self._mark(tags)
        # The last first: each goes to the head of the queue, so the order stays.
        frames = [requeue_frame(self._number, tag) for tag in sorted(tags, reverse=True)]
        self._connection.send(b"".join(frames))

    def _mark(self, tags: list[int]) -> None:
        gone = self._gone
        gone.update(tags)
        low = self._low
        while low in gone:
            gone.remove(low)
            low += 1
        self._low = low


class _Subscription:
    """A queue that is to be consumed, through all its channels."""

    __slots__ = ("backoff", "consuming", "idle", "name", "prefetch", "trouble", "waiting")

    def __init__(self, name: str, prefetch: int) -> None:
        self.name = name
        self.prefetch = max(1, min(prefetch, PREFETCH_MAX))
        self.consuming: QueueChannel | None = None
        #: The channel of a paused queue, on which it is consumed again.
        self.idle: QueueChannel | None = None
        self.trouble: str | None = "not consumed yet"
        self.backoff = new_backoff()
        #: A new attempt is under way or planned.
        self.waiting = False


class RabbitMQConsumer:
    """The `Consumer` of RabbitMQ."""

    def __init__(self, addresses: Sequence[Address], name: str) -> None:
        self._addresses = addresses
        self._name = name
        self._link: Link | None = None
        self._forwarder = Forwarder(addresses, name)
        self._subscriptions: dict[str, _Subscription] = {}
        self._channels: set[QueueChannel] = set()
        self._on_deliveries: OnDeliveries = _nobody
        self._paused: set[str] = set()
        self._cancelled = False
        self._changed = threading.Condition()
        self._inbox: deque[Sequence[Settlement]] = deque()
        self._settling = False
        self._forwarding = 0

    # ------------------------------------------------------------------ called by the worker

    def start(self, queues: Mapping[str, int], on_deliveries: OnDeliveries) -> None:
        """See `Consumer.start`."""
        self._on_deliveries = on_deliveries
        self._subscriptions = {name: _Subscription(name, count) for name, count in queues.items()}
        self._cancelled = False
        if self._link is None:
            self._link = Link(self._addresses, self._name, self._on_up, self._on_down)
            self._link.start()
        # Also for a new link: it may have been up before it could be seen here.
        self._link.call(self._consume_all)

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """See `Consumer.settle`."""
        if self._link is None:
            return
        # Appended before the flag is read, and the flag cleared before the inbox is emptied: a
        # batch is never left without a wake-up of the I/O thread, and many share one.
        self._inbox.append(settlements)
        if not self._settling:
            self._settling = True
            self._link.call(self._settle_inbox)

    def cancel(self) -> None:
        """See `Consumer.cancel`."""
        self._cancelled = True
        if self._link is None:
            return
        self._link.call(self._cancel_all)
        with self._changed:
            self._changed.wait_for(self._is_quiet, CANCEL_SECONDS)

    def pause(self, queue: str) -> None:
        """See `Consumer.pause`."""
        self._paused.add(queue)
        self._on_io_thread(lambda: self._adjust(queue))

    def resume(self, queue: str) -> None:
        """See `Consumer.resume`."""
        self._paused.discard(queue)
        self._on_io_thread(lambda: self._adjust(queue))

    def wait_consuming(self, timeout: float) -> bool:
        """See `Consumer.wait_consuming`."""
        with self._changed:
            return self._changed.wait_for(self._is_consuming, timeout)

    @property
    def trouble(self) -> str | None:
        """See `Consumer.trouble`."""
        if self._link is None:
            return "not started"
        if self._cancelled:
            return "consuming is cancelled"
        if self._link.trouble is not None:
            return self._link.trouble
        troubles = [
            f"queue {one.name!r}: {one.trouble}"
            for one in list(self._subscriptions.values())
            if one.trouble is not None and one.name not in self._paused
        ]
        return "; ".join(troubles) or None

    def close(self, timeout: float) -> None:
        """See `Consumer.close`."""
        link = self._link
        if link is None:
            return
        self._cancelled = True
        link.call(self._cancel_all)
        deadline = time.monotonic() + timeout
        settled = threading.Event()
        link.call(settled.set)  # runs after every settlement that was handed in before
        settled.wait(timeout)
        with self._changed:
            self._changed.wait_for(lambda: not self._forwarding, deadline - time.monotonic())
        self._forwarder.close()
        link.close(0.0)

    def _is_consuming(self) -> bool:
        subscriptions = list(self._subscriptions.values())
        return (
            not self._cancelled
            and bool(subscriptions)
            and all(one.consuming is not None or one.name in self._paused for one in subscriptions)
        )

    def _is_quiet(self) -> bool:
        return all(one.consuming is None for one in list(self._subscriptions.values()))

    # ------------------------------------------------------------------ on the I/O thread

    def _on_up(self, _connection: DataConnection) -> None:
        self._consume_all()

    def _on_down(self) -> None:
        for channel in self._channels:
            channel.alive = False
        self._channels.clear()
        for subscription in self._subscriptions.values():
            self._stopped(subscription, "the connection is gone")
            subscription.waiting = False
            subscription.idle = None
        self._notify()

    def _consume_all(self) -> None:
        for queue in self._subscriptions:
            self._adjust(queue)

    def _adjust(self, queue: str) -> None:
        """Consume `queue`, or cancel its consumer, as it is paused now or not."""
        subscription = self._subscriptions.get(queue)
        if subscription is None:
            return
        if queue in self._paused:
            self._cancel(subscription)
        elif subscription.consuming is None and not subscription.waiting:
            channel, subscription.idle = subscription.idle, None
            if channel is not None and channel.alive:
                self._consume(subscription, channel)
            else:
                self._open_channel(subscription)
        self._notify()

    def _open_channel(self, subscription: _Subscription) -> None:
        connection = self._link.connection if self._link is not None else None
        subscription.waiting = False
        if connection is None or not connection.is_open or not self._is_wanted(subscription):
            return
        subscription.waiting = True

        def opened(channel: Any) -> None:
            queue_channel = QueueChannel(
                subscription.name, connection, channel, self._on_deliveries
            )
            self._channels.add(queue_channel)
            connection.receive_content(channel.channel_number, queue_channel)
            channel.add_on_close_callback(
                lambda _channel, error: self._channel_closed(subscription, queue_channel, error)
            )
            channel.add_on_cancel_callback(
                lambda _frame: self._cancelled_by_broker(subscription, queue_channel)
            )
            channel.basic_qos(
                prefetch_count=subscription.prefetch,
                callback=lambda _frame: self._consume(subscription, queue_channel),
            )

        connection.channel(on_open_callback=opened)

    def _consume(self, subscription: _Subscription, channel: QueueChannel) -> None:
        if not channel.alive or not self._is_wanted(subscription):
            subscription.waiting = False
            subscription.idle = channel
            return
        subscription.waiting = True
        channel.consumer_tag = channel.channel.basic_consume(
            subscription.name,
            _unused,
            callback=lambda _frame: self._consuming(subscription, channel),
        )

    def _consuming(self, subscription: _Subscription, channel: QueueChannel) -> None:
        subscription.waiting = False
        subscription.consuming = channel
        subscription.trouble = None
        subscription.backoff.reset()
        if self._link is not None:
            self._link.settled()
        if not self._is_wanted(subscription):
            self._cancel(subscription)
        self._notify()

    def _is_wanted(self, subscription: _Subscription) -> bool:
        return (
            not self._cancelled
            and subscription.name not in self._paused
            and self._subscriptions.get(subscription.name) is subscription
        )

    def _channel_closed(
        self, subscription: _Subscription, channel: QueueChannel, error: Any
    ) -> None:
        channel.alive = False
        self._channels.discard(channel)
        connection = self._link.connection if self._link is not None else None
        if connection is None or not connection.is_open:
            return
        connection.forget_content(channel.channel.channel_number)
        text = getattr(error, "reply_text", None) or str(error)
        if subscription.consuming in (None, channel):
            self._again(subscription, text, lambda: self._open_channel(subscription))

    def _cancelled_by_broker(self, subscription: _Subscription, channel: QueueChannel) -> None:
        # Its queue was deleted or moved; what it has delivered can still be settled.
        channel.consumer_tag = None
        self._again(
            subscription,
            "the broker cancelled the consumer; was the queue deleted?",
            lambda: self._consume(subscription, channel),
        )

    def _again(self, subscription: _Subscription, reason: str, attempt: Callable[[], None]) -> None:
        if not self._cancelled and reason != subscription.trouble:
            logger.warning("%s: queue %r: %s", self._name, subscription.name, reason)
        self._stopped(subscription, reason)
        pause = subscription.backoff.next()
        subscription.waiting = True
        if self._link is not None:
            self._link.call_later(pause, attempt)
        self._notify()

    @staticmethod
    def _stopped(subscription: _Subscription, reason: str) -> None:
        subscription.consuming = None
        subscription.trouble = reason

    def _cancel_all(self) -> None:
        for subscription in self._subscriptions.values():
            self._cancel(subscription)
        self._notify()

    def _cancel(self, subscription: _Subscription) -> None:
        channel = subscription.consuming
        if channel is not None and channel.consumer_tag is not None and channel.alive:
            tag, channel.consumer_tag = channel.consumer_tag, None
            channel.channel.basic_cancel(
                tag, callback=lambda _frame: self._cancel_confirmed(subscription, channel)
            )

    def _cancel_confirmed(self, subscription: _Subscription, channel: QueueChannel) -> None:
        if subscription.consuming is channel:
            self._stopped(subscription, "cancelled")
            subscription.idle = channel
            if self._is_wanted(subscription):  # resumed meanwhile
                self._adjust(subscription.name)
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------------ settling

    def _settle_inbox(self) -> None:
        self._settling = False
        acks: dict[QueueChannel, list[int]] = {}
        requeues: dict[QueueChannel, list[int]] = {}
        with contextlib.suppress(IndexError):
            while True:
                for settlement in self._inbox.popleft():
                    self._sort(settlement, acks, requeues)
        for channel, tags in requeues.items():
            channel.requeue(tags)
        for channel, tags in acks.items():
            channel.ack(tags)
        self._notify()

    def _sort(
        self,
        settlement: Settlement,
        acks: dict[QueueChannel, list[int]],
        requeues: dict[QueueChannel, list[int]],
    ) -> None:
        channel, tag = settlement.delivery.tag
        if not channel.alive:
            return  # the broker delivers it anew
        if settlement.requeue:
            requeues.setdefault(channel, []).append(tag)
        elif settlement.forwards:
            self._forward(settlement, channel, tag)
        else:
            acks.setdefault(channel, []).append(tag)

    def _forward(self, settlement: Settlement, channel: QueueChannel, tag: int) -> None:
        self._forwarding += 1
        wanted = True

        def is_wanted() -> bool:
            nonlocal wanted
            if wanted and not channel.alive:
                wanted = False
                self._on_io_thread(self._forwarded)
            return wanted

        def done() -> None:
            # Only now: a crash between the acknowledgement and the confirm would lose the message.
            self._on_io_thread(lambda: self._forwarded(channel, tag))

        self._forwarder.forward(channel.queue, settlement.forwards, is_wanted, done)

    def _on_io_thread(self, function: Callable[[], None]) -> None:
        if self._link is not None:
            self._link.call(function)

    def _forwarded(self, channel: QueueChannel | None = None, tag: int = 0) -> None:
        self._forwarding -= 1
        if channel is not None and channel.alive:
            channel.ack([tag])
        self._notify()


def _deliveries(message: Message) -> int:
    """How often the quorum queue had handed a redelivered message out before."""
    count = message.headers.get("x-delivery-count")
    return count if type(count) is int and count > 0 else 1


def _overflowed_from_exchange(headers: dict[str, Any]) -> bool:
    """Whether a queue that had no room for it had it from a producer, through the topic exchange.

    The broker notes the exchange in the newest entry of ``x-death``. It adds to the count of one
    that is there already and leaves the rest of it; what goes back never has one, so that a count
    above 1 is of an entry that a producer made up.
    """
    death = last_death(headers)
    if death.get("reason") not in ("maxlen", "delivery_limit"):
        return False
    return bool(death.get("exchange")) or death.get("count") != 1


def _nobody(_deliveries: list[Delivery]) -> None:
    """Before `start`."""


def _unused(*_arguments: Any) -> None:
    """pika wants a callback; contents go to the `QueueChannel` before pika sees them."""
