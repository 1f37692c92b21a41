"""What eventbus needs of a broker. Two adapters keep it: `rabbitmq` and `embedded`.

One contract suite, ``tests/integration/brokers``, holds both to it. A `Broker` is only a factory:
making one opens no connection. Its three parts are independent, each with a connection of its own:

- `Publisher`, used by the dispatcher and by a worker for what it retries and parks;
- `Consumer`, used by a worker;
- `Admin`, used by the command line: declaring, counting, looking, moving.

Connections that break are opened again by the adapter, with backoff and jitter, for ever; a
`Publisher` or `Consumer` never stops for good on its own. Errors of a first connection are raised
only by `Broker.ping` and by `Admin`, which a person waits for.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from eventbus.drift import Found, FoundQueue
from eventbus.message import Message
from eventbus.topology import Binding, Queue, Topology


class Confirmation(enum.Enum):
    """What the broker said of one published message."""

    #: Every queue that it was routed to has it (``basic.ack``).
    ROUTED = "routed"
    #: No queue is bound for its routing key (``basic.return``).
    UNROUTED = "unrouted"
    #: The broker refused it (``basic.nack``): a queue is full or cannot be written to. Some of its
    #: other queues may have it all the same.
    REFUSED = "refused"
    #: The message itself is at fault, as one that is too large for the broker.
    UNSENDABLE = "unsendable"
    #: No answer came: the connection broke or the confirm timed out. It may have arrived.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that a worker got and has not settled yet.

    Parameters
    ----------
    queue:
        The full name of the queue it came from.
    tag:
        The adapter's own handle; a delivery from a broken connection is settled in vain, and the
        broker sends the message again.
    redelivered:
        The broker has delivered it before; it may have been handled already.
    undecodable:
        Why the adapter itself could not read the message's headers, else ``None``. The message
        then carries only what could be read.
    from_exchange:
        It came through the topic exchange, from a producer; False for what came back from a retry
        queue or was moved here by `Admin.transfer`. What the worker notes in headers
        (`eventbus.message.WORKER_HEADERS`) counts only where it is False: a producer can send any
        header. In an overflow queue it is as it was in the queue that had no room.
    deliveries:
        How often it was handed out before and came back without an outcome. RabbitMQ counts it
        (``x-delivery-count``) for all that a consumer held when it died, and before 4.0 also for
        what was given back: it is a hint, not a count of crashes.
    """

    queue: str
    tag: Any
    message: Message
    redelivered: bool = False
    undecodable: str | None = None
    from_exchange: bool = True
    deliveries: int = 0


@dataclass(frozen=True, slots=True)
class Forward:
    """A copy of a delivered message that goes on before the delivery is acknowledged.

    Parameters
    ----------
    message:
        The copy, with the headers it is to have.
    delay_ms:
        Milliseconds to wait before it comes back to the queue it was delivered from;
        ``None`` parks it in that queue's dead-letter queue.
    queue:
        The queue that it goes to instead, at once.
    """

    message: Message
    delay_ms: int | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one delivery.

    It is acknowledged after every `forwards` copy is confirmed; with `requeue` it goes back to
    its queue instead.
    """

    delivery: Delivery
    forwards: tuple[Forward, ...] = ()
    requeue: bool = False


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What a queue holds now: `messages` ready, `consumers` attached."""

    messages: int
    consumers: int


class Publisher(Protocol):
    """Publishes to the topic exchange, pipelined, and tells each message's own outcome."""

    def publish(
        self, messages: Sequence[Message], queue: str | None = None
    ) -> Future[list[Confirmation]]:
        """Start to publish `messages` in order; the future gives one `Confirmation` for each.

        With `queue` they go to that one queue and not through the topic exchange
        (`Delivery.from_exchange` is False there); `Confirmation.UNROUTED` if it does not exist.

        Never blocks on the network and never raises for its state: while the broker is away each
        confirmation is `Confirmation.UNKNOWN`. The future always completes, within the confirm
        time-out at the latest.
        """

    def wait_ready(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until publishing makes sense; whether it does now.

        False while there is no connection or the broker has blocked it (``connection.blocked``).
        """

    @property
    def trouble(self) -> str | None:
        """Why publishing makes no sense now, in words for an operator, without a password."""

    def close(self) -> None:
        """Close the connection; publishes under way complete as `Confirmation.UNKNOWN`."""


class Consumer(Protocol):
    """Delivers messages of some queues and settles them."""

    def start(
        self,
        queues: Mapping[str, int],
        on_deliveries: Callable[[list[Delivery]], None],
    ) -> None:
        """Begin to consume `queues`, each with its prefetch count, on a thread of the adapter.

        `on_deliveries` is called there with one or more deliveries; it must not block. After a
        reconnect consumers and prefetch are set up again, and unsettled messages come once more.
        """

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Carry out `settlements`; safe from any thread, returns before the broker has them.

        A forward that the broker does not take is tried again; the delivery stays unacknowledged
        until then, so nothing is lost if the process dies in between.
        """

    def cancel(self) -> None:
        """Stop new deliveries; what is already delivered can still be settled."""

    def pause(self, queue: str) -> None:
        """Stop new deliveries of one queue until `resume`; from any thread, also before `start`.

        Returns before the broker knows, so a few more may come. What was delivered can still be
        settled. It outlives reconnects; a queue that is paused or not consumed is left as it is.
        """

    def resume(self, queue: str) -> None:
        """Take up deliveries of `queue` again, with its prefetch; from any thread.

        What was delivered before the pause and is not settled may not count against that.
        """

    def wait_consuming(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until every queue that is not paused is being consumed.

        Returns whether it is now.
        """

    @property
    def trouble(self) -> str | None:
        """Why nothing is consumed now, in words for an operator, without a password."""

    def close(self, timeout: float) -> None:
        """Flush settlements for up to `timeout` seconds, then close; unsettled messages go back."""


class Pace(Protocol):
    """Lets a transfer go on, a batch after the other; an operation (`eventbus.workers`) has one."""

    def next_batch(self, most: int) -> int:
        """How many messages may go now, up to `most`; 0 ends the transfer. It may wait, and raise.

        Nothing is under way meanwhile: what is moved is moved, the rest is where it was.
        """

    def advance(self, done: int) -> None:
        """So many have been moved since the last call."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that an operator should know of a server.

    Parameters
    ----------
    remedy:
        What to do; None where there is nothing to be done.
    """

    subject: str
    text: str
    remedy: str | None = None


class Progress(Protocol):
    """Told how a long operation goes; what it raises ends the operation between two steps."""

    def step(self, name: str) -> None:
        """A step is done, and is not done again when the operation is resumed."""

    def moved(self, count: int) -> None:
        """So many more messages are in another queue."""


class Admin(Protocol):
    """Operations a person or a deployment asks for, one at a time, each answered or refused."""

    def declare(self, topology: Topology) -> None:
        """Create what is missing of `topology`; raise `TopologyMismatch` where it differs."""

    def inspect(self, declared: Topology, prefix: str) -> Found:
        """What the broker holds of the `declared`, and of queues whose names begin with `prefix`.

        Changes nothing, and says in `Found.notes` what it could not see.
        """

    def unbind(self, binding: Binding) -> None:
        """Remove a binding; one that is not there is none."""

    def delete(self, queue: FoundQueue) -> None:
        """Delete a queue in which nothing is and which nobody consumes.

        Raises
        ------
        QueueInUse
            It is left as it was.
        """

    def replace(self, queue: Queue, bindings: Sequence[Binding], progress: Progress) -> None:
        """Give an existing queue the arguments that `queue` has; its messages are kept.

        Nobody must consume it meanwhile. Killed in the middle, it goes on when it is called again;
        of the messages that were under way then, those without an id may be in the queue twice.

        Parameters
        ----------
        bindings:
            Those it is to have at the end, besides those it has.

        Raises
        ------
        QueueInUse
            Somebody consumes it, or it is being replaced already.
        """

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Counts of those `queues` that exist."""

    def browse(self, queue: str, limit: int | None = None) -> Generator[Message, None, None]:
        """The messages that are in `queue` now, the first `limit` of them, one after the other.

        They stay there, but as long as the iterator is neither at its end nor closed, nobody else
        may get those that it has shown. It holds few in memory, however many there are.
        """

    def transfer(
        self,
        queue: str,
        decide: Callable[[Message], Message | None],
        target: str,
        limit: int | None = None,
        pace: Pace | None = None,
    ) -> int:
        """Move messages of `queue` to the queue `target`; returns how many were moved.

        Each message that is in `queue` now, up to `limit` moves, is shown to `decide`, perhaps
        twice: it returns the message to send, or None to leave it where it is. A message is
        removed from `queue` only after `target` has confirmed it. Of two transfers at the same
        time, each message goes to one.

        Raises
        ------
        UnknownName
            There is no such queue; what was not moved stays.
        """

    def remove(
        self,
        queue: str,
        decide: Callable[[Message], bool],
        limit: int | None = None,
        pace: Pace | None = None,
    ) -> int:
        """Delete the messages of `queue` for which `decide` says so; returns how many.

        Otherwise as `transfer`.
        """

    def purge(self, queue: str) -> int:
        """Delete all messages of `queue`; returns how many."""

    def server(self) -> str:
        """Product and version, such as ``RabbitMQ 3.10.8``."""

    def advice(self) -> list[Advice]:
        """What an operator should know of this server."""

    def close(self) -> None:
        """Close the connection."""


class Broker(Protocol):
    """Makes the parts; knows the address. `url` is masked: fit for logs and banners."""

    url: str

    def publisher(self, name: str) -> Publisher:
        """A publisher whose connection is called `name` on the broker."""

    def consumer(self, name: str) -> Consumer:
        """A consumer whose connections are called `name` on the broker."""

    def admin(self) -> Admin:
        """Open a connection for operations; raises `BrokerUnavailable`."""

    def ping(self) -> None:
        """Connect and log in once; raises `BrokerUnavailable` that says what is wrong."""
