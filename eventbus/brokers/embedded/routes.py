"""Which queues a routing key goes to."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventbus import tables
from eventbus.patterns import matches
from eventbus.topology import dead_letter_queue_name

#: Seconds for which bindings are used as they were read: a new one is seen this much later.
FRESH_SECONDS = 1.0

#: Routing keys that are remembered; a producer that makes them up must not fill the memory.
_REMEMBERED_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Bound:
    """How many ready messages a queue holds, and what becomes of more.

    The oldest go to the queue `dead_letters`, or where it `refuses`, no more come in.
    """

    max_length: int
    dead_letters: str
    refuses: bool = False


class Routes:
    """The bindings of one exchange, as last read, and the bounds of their queues."""

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._bindings: list[tuple[str, str]] = []
        self._queues_of: dict[str, tuple[str, ...]] = {}
        self._read_at = float("-inf")
        #: Every queue's name, and its arguments as JSON.
        self.queues: dict[str, str] = {}
        #: By the queue's name.
        self.bounds: dict[str, Bound] = {}

    @property
    def stale(self) -> bool:
        """Whether they were read too long ago."""
        return time.monotonic() - self._read_at > FRESH_SECONDS

    def read(self, connection: Connection) -> None:
        """Read the bindings again."""
        declared = connection.execute(sa.select(tables.queue.c.name, tables.queue.c.arguments))
        self.queues = {row.name: row.arguments for row in declared}
        found = connection.execute(
            sa.select(tables.binding.c.pattern, tables.binding.c.queue)
            .where(tables.binding.c.exchange == self._exchange)
            .order_by(tables.binding.c.queue)
        ).all()
        bindings = [(row.pattern, row.queue) for row in found if row.queue in self.queues]
        if bindings != self._bindings:
            self._bindings = bindings
            self._queues_of.clear()
        self.bounds = {
            queue: bound
            for queue, arguments in self.queues.items()
            if (bound := _bound(queue, arguments))
        }
        self._read_at = time.monotonic()

    def queues_of(self, routing_key: str) -> tuple[str, ...]:
        """The queues bound for `routing_key`, each once."""
        known = self._queues_of.get(routing_key)
        if known is None:
            bound = (queue for pattern, queue in self._bindings if matches(pattern, routing_key))
            known = tuple(dict.fromkeys(bound))
            if len(self._queues_of) >= _REMEMBERED_KEYS:
                self._queues_of.clear()
            self._queues_of[routing_key] = known
        return known


def _bound(queue: str, arguments: str) -> Bound | None:
    declared: dict[str, Any] = json.loads(arguments)
    if not isinstance(declared.get("x-max-length"), int):
        return None
    dead_letters = declared.get("x-dead-letter-routing-key") or dead_letter_queue_name(queue)
    refuses = declared.get("x-overflow") == "reject-publish"
    return Bound(declared["x-max-length"], str(dead_letters), refuses)
