"""A queue with other arguments and the same messages: aside, delete, declare, back.

RabbitMQ cannot change the arguments of a queue. Its messages wait in another queue,
``<queue>.migrating``, which takes over the bindings, so that no event misses both. What is there on
the broker says how far a migration has come: one that was killed is run again and goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Any, Protocol

from eventbus.brokers.port import Progress
from eventbus.brokers.rabbitmq.evacuation import Evacuation
from eventbus.drift import FoundQueue, aside, differences_of
from eventbus.message import Message
from eventbus.topology import Binding, Queue, Topology


class Operations(Protocol):
    """What a migration asks of the broker; `RabbitMQAdmin` has it."""

    def find(self, queue: Queue) -> FoundQueue | None:
        """The queue as it is, None if it is not there."""

    def bindings_of(self, queue: str) -> list[Binding]:
        """Those that can be seen."""

    def declare(self, topology: Topology) -> None:
        """As `Admin.declare`."""

    def unbind(self, binding: Binding) -> None:
        """As `Admin.unbind`."""

    def browse(self, queue: str, limit: int | None = None) -> Iterator[Message]:
        """As `Admin.browse`."""

    def channel(self, name: str) -> AbstractContextManager[Any]:
        """A channel for operations on `name`."""


def migrate(
    operations: Operations, queue: Queue, bindings: Iterable[Binding], progress: Progress
) -> None:
    """Give `queue` its arguments; see `Admin.replace`."""
    beside = aside(queue.name)
    wanted = list(dict.fromkeys((*bindings, *_bound(operations, queue, beside))))
    migration = _Migration(operations, queue, beside, wanted, progress)
    found = operations.find(queue)
    if found is not None and differences_of(queue, found):
        migration.set_aside()
        migration.bring_back(_Known(()))
    elif operations.find(beside) is not None:
        operations.declare(Topology((), (queue,), ()))
        progress.step("declared")
        migration.bring_back(_Known(operations.browse(queue.name)))
    else:
        operations.declare(Topology((), (queue,), tuple(wanted)))


def _bound(operations: Operations, queue: Queue, beside: Queue) -> Iterator[Binding]:
    """What either of the two is bound to now, as bindings of `queue`."""
    for name in (queue.name, beside.name):
        for binding in operations.bindings_of(name):
            yield Binding(binding.exchange, queue.name, binding.pattern)


class _Migration:
    def __init__(
        self,
        operations: Operations,
        queue: Queue,
        beside: Queue,
        bindings: list[Binding],
        progress: Progress,
    ) -> None:
        self._operations = operations
        self._queue = queue
        self._beside = beside
        self._bindings = bindings
        self._progress = progress

    def set_aside(self) -> None:
        """Move the messages to the queue beside, and replace the queue by one that is as wanted."""
        source, target = self._queue.name, self._beside.name
        self._operations.declare(Topology((), (self._beside,), ()))
        self._progress.step("set_aside")
        known = _Known(self._operations.browse(target))
        # Most of them before the bindings change: the fewer come from both ways, the better the
        # order is kept.
        self._move(source, target, known)
        self._progress.step("moved")
        self._rebind(source, target)
        self._move(source, target, known, then=self._declare_anew)

    def _declare_anew(self) -> None:
        self._progress.step("deleted")
        self._operations.declare(Topology((), (self._queue,), ()))
        self._progress.step("declared")

    def bring_back(self, known: _Known) -> None:
        """Move the messages back, and delete the queue beside."""
        source, target = self._beside.name, self._queue.name
        self._move(source, target, known)
        self._progress.step("returned")
        self._rebind(source, target)
        self._move(source, target, known, then=lambda: None)
        self._progress.step("finished")

    def _rebind(self, source: str, target: str) -> None:
        """Let events go to `target` instead of `source`; for a moment they go to both.

        An event that is in both is handled once: that is what idempotency keys are for. The other
        way round, events would get lost.
        """
        moved = [Binding(one.exchange, target, one.pattern) for one in self._bindings]
        self._operations.declare(Topology((), (), tuple(moved)))
        self._progress.step(f"bound_{self._end(target)}")
        for one in self._bindings:
            self._operations.unbind(Binding(one.exchange, source, one.pattern))
        self._progress.step(f"unbound_{self._end(source)}")

    def _end(self, name: str) -> str:
        return "queue" if name == self._queue.name else "aside"

    def _move(
        self, source: str, target: str, known: _Known, then: Callable[[], None] | None = None
    ) -> None:
        """Move all; with `then` delete `source` and call it."""
        operations = self._operations
        with operations.channel(source) as channel, operations.channel(target) as publishing:
            Evacuation(channel, publishing, source, target, known.take, self._progress.moved).run(
                delete=then is not None, then=then or (lambda: None)
            )


class _Known:
    """The messages that an earlier run had moved when it was killed, before it could say so.

    Without a message id two that look the same may well be two.
    """

    def __init__(self, messages: Iterable[Message]) -> None:
        self._count = Counter(_fingerprint(message) for message in messages if message.message_id)

    def take(self, message: Message) -> bool:
        """Whether it is one of them; each counts once."""
        if not self._count or not message.message_id:
            return False
        fingerprint = _fingerprint(message)
        if self._count[fingerprint] == 0:
            return False
        self._count[fingerprint] -= 1
        return True


def _fingerprint(message: Message) -> bytes:
    """What two copies of one message have in common; two retries of one event have not."""
    headers = {name: value for name, value in message.headers.items() if not _is_brokers(name)}
    told = json.dumps(
        [message.message_id, message.type, message.routing_key, headers],
        sort_keys=True,
        default=repr,
        skipkeys=True,
    )
    digest = blake2b(told.encode("utf-8", "surrogatepass"), digest_size=12)
    digest.update(message.body)
    return digest.digest()


def _is_brokers(name: str) -> bool:
    return name in ("x-death", "x-delivery-count") or name.startswith(
        ("x-first-death-", "x-last-death-")
    )
