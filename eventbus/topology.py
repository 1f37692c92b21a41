"""Exchanges, queues and bindings as declared values, and how they are named.

A service ``shop`` with a subscription ``billing`` on the exchange ``events`` declares::

    events (topic) ──binding──▶ shop.billing ──▶ worker ─▶ shop.billing.dlq
                                  ▲   ▲  └ too many ─▶ shop.billing.overflow ─▶ worker
                                  │   └── fed back when there is room ◀────────── worker
                                  └────── shop.billing.retry.5000 (TTL) ◀──────── worker

A retry queue dead-letters to its own queue alone, through the default exchange: sent through the
shared exchange, a retry would reach every other queue bound to the event.

A queue has one dead-letter target for all that leaves it. With an overflow queue that is it, and
what left because of the delivery limit is moved on from there to the dead-letter queue, by its
``x-death`` reason (`eventbus.workers.admission.overflow`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from eventbus.errors import DeclarationError

#: The delays that RabbitMQ holds, in milliseconds: one second to one day. A fixed set, because a
#: queue per delay would need ``x-expires``, which deletes queues that still hold messages
#: (rabbitmq-server#5894). A longer or odd delay takes several of them, one after the other.
RETRY_LEVELS_MS = (1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000, 86_400_000)

#: What a queue holds before its excess goes to its overflow queue, or is refused.
DEFAULT_MAX_LENGTH = 1_000_000

#: Deliveries without an outcome after which the broker itself parks a message. Only a last resort,
#: for what ends a worker before its start can be counted (`eventbus.workers.claims`): the broker
#: blames all that a consumer held when it died, and before 4.3 also what a clean stop gives back. A
#: service that is deployed twenty times while a queue stands still must not lose its prefetch.
DELIVERY_LIMIT = 1_000

#: A dead-letter queue must keep what it holds however often it is looked at, and each look
#: counts as a delivery (RabbitMQ 4.0 would drop a message after its 20th).
UNLIMITED_DELIVERIES = 1_000_000_000


class Overflow(Enum):
    """What becomes of messages that a bounded queue has no room for."""

    #: The oldest go to the queue's overflow queue, and come back when there is room. Producers,
    #: dispatchers and other queues do not notice.
    DEAD_LETTER = "dead-letter"
    #: The broker refuses new ones; the dispatcher holds their event back in the outbox.
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange; `kind` is ``topic`` for the one that events go to."""

    name: str
    kind: str = "topic"


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue with its arguments, as ``queue.declare`` takes them."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """A queue's wish for the events that match `pattern`."""

    exchange: str
    queue: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Topology:
    """What an application needs on the broker."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()

    def __add__(self, other: Topology) -> Topology:
        return Topology(
            _unique(self.exchanges + other.exchanges),
            _unique(self.queues + other.queues),
            _unique(self.bindings + other.bindings),
        )


def _unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))


def queue_name(service: str, subscription: str) -> str:
    """``shop`` and ``billing`` give ``shop.billing``."""
    return f"{service}.{subscription}"


def dead_letter_queue_name(queue: str) -> str:
    """Where the messages of `queue` are parked."""
    return f"{queue}.dlq"


def overflow_queue_name(queue: str) -> str:
    """Where the excess of `queue` waits."""
    return f"{queue}.overflow"


def retry_queue_name(queue: str, level_ms: int) -> str:
    """Where messages of `queue` wait for `level_ms` milliseconds."""
    return f"{queue}.retry.{level_ms}"


def retry_level_ms(delay_ms: int) -> int:
    """The level in which a message waits first that is to be delayed by `delay_ms`.

    The longest that does not overshoot by more than a tenth; what is left is waited for in the
    next level when the message comes back. A delay below the first level takes the first.
    """
    position = bisect_right(RETRY_LEVELS_MS, delay_ms + delay_ms // 10)
    return RETRY_LEVELS_MS[max(position - 1, 0)]


def subscription_topology(
    exchange: str,
    queue: str,
    patterns: Iterable[str],
    *,
    longest_delay_ms: int,
    max_length: int = DEFAULT_MAX_LENGTH,
    overflow: Overflow = Overflow.DEAD_LETTER,
) -> Topology:
    """What one subscription needs: its queue, the queues around it, bindings.

    Parameters
    ----------
    longest_delay_ms:
        The longest delay that its handlers' retries ask for; levels above it are not declared.
    max_length, overflow:
        How many messages its queue holds, and what becomes of more.
    """
    parked = dead_letter_queue_name(queue)
    dead = Queue(parked, {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED_DELIVERIES})
    bounded: tuple[Queue, ...]
    if overflow is Overflow.BLOCK:
        bounded = (_refusing_queue(queue, max_length),)
    else:
        bounded = (_overflowing_queue(queue, max_length), _overflow_queue(queue))
    top = retry_level_ms(max(longest_delay_ms, RETRY_LEVELS_MS[0]))
    retries = tuple(_retry_queue(queue, level) for level in RETRY_LEVELS_MS if level <= top)
    return Topology(
        exchanges=(Exchange(exchange),),
        queues=(*bounded, dead, *retries),
        bindings=tuple(Binding(exchange, queue, pattern) for pattern in patterns),
    )


def _overflowing_queue(queue: str, max_length: int) -> Queue:
    return Queue(
        queue,
        {
            "x-queue-type": "quorum",
            "x-max-length": max_length,
            "x-overflow": "drop-head",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": overflow_queue_name(queue),
            "x-delivery-limit": DELIVERY_LIMIT,
        },
    )


def _overflow_queue(queue: str) -> Queue:
    # One consumer at a time: several workers that feed back together would mix up the order.
    return Queue(
        overflow_queue_name(queue),
        {
            "x-queue-type": "quorum",
            "x-single-active-consumer": True,
            "x-delivery-limit": UNLIMITED_DELIVERIES,
        },
    )


def _refusing_queue(queue: str, max_length: int) -> Queue:
    # Only the delivery limit dead-letters here, and with reject-publish that can be at-least-once.
    return Queue(
        queue,
        {
            "x-queue-type": "quorum",
            "x-max-length": max_length,
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead_letter_queue_name(queue),
            "x-dead-letter-strategy": "at-least-once",
            "x-delivery-limit": DELIVERY_LIMIT,
        },
    )


def _retry_queue(queue: str, level_ms: int) -> Queue:
    # At-least-once dead-lettering needs reject-publish: the broker keeps the message here until
    # its own queue has confirmed it, so a crash between the two loses nothing.
    return Queue(
        retry_queue_name(queue, level_ms),
        {
            "x-queue-type": "quorum",
            "x-message-ttl": level_ms,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-delivery-limit": UNLIMITED_DELIVERIES,
        },
    )


def check_name_part(kind: str, name: object) -> str:
    """Return `name` when it can be part of a queue's name.

    Raises
    ------
    DeclarationError
        It is empty, longer than 100 bytes, or has white space, a control character or a wildcard.
    """
    if (
        not isinstance(name, str)
        or not name
        or len(name.encode("utf-8", "surrogatepass")) > 100
        or any(c.isspace() or not c.isprintable() or c in "*#" for c in name)
    ):
        raise DeclarationError(
            f"{kind} {name!r} cannot be part of a queue name; use up to 100 characters without "
            f"white space, '*' and '#', such as 'billing'"
        )
    return name
