"""Exchanges, queues and bindings as declared values, and how they are named.

A service ``shop`` with a subscription ``billing`` on the exchange ``events`` declares::

    events (topic) ──binding──▶ shop.billing ──▶ worker
                                     ▲  └ overflow, delivery limit ─▶ shop.billing.dlq
                                     └── shop.billing.retry.5000 (TTL) ◀── worker

A retry queue dead-letters to its own queue alone, through the default exchange: sent through the
shared exchange, a retry would reach every other queue bound to the event.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from eventbus.errors import DeclarationError

#: The delays that RabbitMQ holds, in milliseconds: one second to one day. A fixed set, because a
#: queue per delay would need ``x-expires``, which deletes queues that still hold messages
#: (rabbitmq-server#5894). A longer or odd delay takes several of them, one after the other.
RETRY_LEVELS_MS = (1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000, 86_400_000)

#: What a queue holds before its oldest messages go to the dead-letter queue.
DEFAULT_MAX_LENGTH = 1_000_000

#: Deliveries without an outcome after which the broker itself parks a message: it ends what a
#: message does that the AMQP client cannot even decode. Set, because RabbitMQ 4.0 defaults to 20.
DELIVERY_LIMIT = 20

#: A dead-letter queue must keep what it holds however often it is looked at, and each look
#: counts as a delivery (RabbitMQ 4.0 would drop a message after its 20th).
UNLIMITED_DELIVERIES = 1_000_000_000


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
) -> Topology:
    """What one subscription needs: its queue, its dead-letter queue, its retry queues, bindings.

    Parameters
    ----------
    longest_delay_ms:
        The longest delay that its handlers' retries ask for; levels above it are not declared.
    """
    parked = dead_letter_queue_name(queue)
    main = Queue(
        queue,
        {
            "x-queue-type": "quorum",
            "x-max-length": max_length,
            "x-overflow": "drop-head",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": parked,
            "x-delivery-limit": DELIVERY_LIMIT,
        },
    )
    dead = Queue(parked, {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED_DELIVERIES})
    top = retry_level_ms(max(longest_delay_ms, RETRY_LEVELS_MS[0]))
    retries = tuple(_retry_queue(queue, level) for level in RETRY_LEVELS_MS if level <= top)
    return Topology(
        exchanges=(Exchange(exchange),),
        queues=(main, dead, *retries),
        bindings=tuple(Binding(exchange, queue, pattern) for pattern in patterns),
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
