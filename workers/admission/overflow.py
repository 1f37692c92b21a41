"""Feeds the excess of bounded queues back, in order of arrival, when there is room again.

What a queue has no room for the broker moves to the queue's overflow queue. A worker consumes that
too; the broker gives it to one worker at a time, and an empty one costs nothing. What comes waits
here, unacknowledged, until the queue is below its low-water mark; then a copy goes to the queue,
and the original is acknowledged once the broker has confirmed the copy.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from eventbus.brokers.port import Admin, Broker, Consumer, Delivery, Forward, Settlement
from eventbus.errors import EventBusError
from eventbus.message import PARKED_AT_HEADER, REASON_HEADER, last_death
from eventbus.subscription import Subscription
from eventbus.topology import dead_letter_queue_name

log = logging.getLogger("eventbus.worker")

#: Messages on their way back at a time; of a small queue a quarter, so that with the low-water
#: mark at a half they cannot fill it again.
WINDOW = 500

#: How often the depth is looked at while there is no room, in seconds: first, and at the longest.
FIRST_LOOK_SECONDS = 0.05
LONGEST_LOOK_SECONDS = 2.0

#: How long a depth is believed.
FRESH_SECONDS = 1.0

#: What waits longer is given back and comes anew: RabbitMQ closes the channel of a consumer that
#: keeps a message for 30 minutes.
GIVE_BACK_SECONDS = 300.0


def low_water(max_length: int) -> int:
    """Messages in a queue below which it is fed again."""
    return max(1, max_length // 2)


def window(max_length: int) -> int:
    """Messages of its overflow queue that are held here at a time."""
    return max(1, min(WINDOW, max_length // 4))


def fed_back(delivery: Delivery, queue: str) -> Forward:
    """Where a message of the overflow queue of `queue` goes: back, or to the dead-letter queue.

    The broker has one dead-letter target for a queue's excess and for what was delivered too often.
    Headers of ours on what came from a producer are its own invention, and do not go on.
    """
    message = delivery.message
    if delivery.from_exchange:
        message = message.without_worker_headers()
    reason = delivery.undecodable
    if last_death(delivery.message.headers).get("reason") == "delivery_limit":
        reason = "delivery limit: handed out too often without an outcome, as by a crash"
    if reason is None:
        return Forward(message, queue=queue)
    parked = {REASON_HEADER: reason, PARKED_AT_HEADER: time.time_ns() // 1_000_000}
    return Forward(message.with_headers(parked), queue=dead_letter_queue_name(queue))


@dataclass
class _Reservoir:
    """The overflow of one subscription as far as it is here."""

    subscription: Subscription
    waiting: deque[Delivery] = field(default_factory=deque)
    waiting_since: float = 0.0
    room: int = 0
    room_read_at: float = float("-inf")

    def add(self, delivery: Delivery) -> None:
        if not self.waiting:
            self.waiting_since = time.monotonic()
        self.waiting.append(delivery)

    def take(self, count: int) -> list[Delivery]:
        return [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]


class OverflowFeeder:
    """Feeds back what overflowed some subscriptions; has a thread of its own.

    Parameters
    ----------
    broker:
        To ask for the depth of queues.
    subscriptions:
        Those without an overflow queue are left out.
    """

    def __init__(self, broker: Broker, subscriptions: Iterable[Subscription]) -> None:
        self._broker = broker
        self._reservoirs = {
            one.overflow_queue: _Reservoir(one)
            for one in subscriptions
            if one.overflow_queue is not None
        }
        self._arrived: SimpleQueue[Delivery | None] = SimpleQueue()
        self._closing = threading.Event()
        self._consumer: Consumer | None = None
        self._admin: Admin | None = None
        self._pause_seconds = FIRST_LOOK_SECONDS
        self._thread = threading.Thread(target=self._run, name="overflow", daemon=True)

    @property
    def queues(self) -> dict[str, int]:
        """The overflow queues to consume, each with its prefetch count."""
        return {
            queue: window(reservoir.subscription.max_length)
            for queue, reservoir in self._reservoirs.items()
        }

    def start(self, consumer: Consumer) -> None:
        """Begin; `consumer` is to settle what `divert` gets."""
        self._consumer = consumer
        self._thread.start()

    def divert(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Take the deliveries that come from overflow queues; returns the others."""
        reservoirs = self._reservoirs
        others = [one for one in deliveries if one.queue not in reservoirs]
        if len(others) < len(deliveries):
            for delivery in deliveries:
                if delivery.queue in reservoirs:
                    self._arrived.put(delivery)
        return others

    def close(self) -> None:
        """Stop; what was not fed back stays with the broker."""
        self._closing.set()
        self._arrived.put(None)
        if self._thread.is_alive():
            self._thread.join(5.0)

    # -- on the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            self._take_in()
            try:
                fed = self._feed()
            except EventBusError as error:
                log.warning("what overflowed waits: %s", error)
                self._close_admin()
                fed = 0
            except Exception:  # a thread that ends would feed back nothing for ever
                log.exception("feeding back failed unexpectedly")
                self._close_admin()
                fed = 0
            self._pause_seconds = self._next_pause(fed)
        self._close_admin()

    def _next_pause(self, fed: int) -> float:
        if fed:
            return FIRST_LOOK_SECONDS
        return min(self._pause_seconds * 1.5, LONGEST_LOOK_SECONDS)

    def _take_in(self) -> None:
        """Take in what has come; with nothing to do wait for it, without an end."""
        idle = not any(one.waiting for one in self._reservoirs.values())
        if idle:
            self._close_admin()
        with contextlib.suppress(Empty):
            delivery = self._arrived.get(timeout=None if idle else self._pause_seconds)
            while delivery is not None:
                self._reservoirs[delivery.queue].add(delivery)
                delivery = self._arrived.get_nowait()

    def _feed(self) -> int:
        """Send back what there is room for; returns how many."""
        fed = 0
        for reservoir in self._reservoirs.values():
            if reservoir.waiting:
                fed += self._feed_one(reservoir)
        return fed

    def _feed_one(self, reservoir: _Reservoir) -> int:
        queue = reservoir.subscription.queue
        deliveries = reservoir.take(self._room(reservoir))
        reservoir.room -= len(deliveries)
        if deliveries:
            reservoir.waiting_since = time.monotonic()
            self._settle(
                [Settlement(delivery, (fed_back(delivery, queue),)) for delivery in deliveries]
            )
        elif time.monotonic() - reservoir.waiting_since > GIVE_BACK_SECONDS:
            waiting = reservoir.take(len(reservoir.waiting))
            self._settle([Settlement(delivery, requeue=True) for delivery in waiting])
        return len(deliveries)

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        assert self._consumer is not None
        self._consumer.settle(settlements)

    def _room(self, reservoir: _Reservoir) -> int:
        """How many messages the queue may get until it is at its low-water mark."""
        now = time.monotonic()
        if reservoir.room <= 0 or now - reservoir.room_read_at > FRESH_SECONDS:
            queue = reservoir.subscription.queue
            if self._admin is None:
                self._admin = self._broker.admin()
            found = self._admin.stats([queue]).get(queue)
            if found is None:
                raise EventBusError(f"queue {queue!r} does not exist; its overflow has no way back")
            reservoir.room = low_water(reservoir.subscription.max_length) - found.messages
            reservoir.room_read_at = now
        return max(reservoir.room, 0)

    def _close_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()
