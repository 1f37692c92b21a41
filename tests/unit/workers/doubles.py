"""A broker and an idempotency store in memory, which count what a worker does with them."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from eventbus import Event, EventBus
from eventbus.brokers.port import Confirmation, Delivery, Settlement
from eventbus.errors import IdempotencyStoreUnavailable
from eventbus.message import Message
from eventbus.topology import Topology
from eventbus.workers import worker as worker_module
from eventbus.workers.idempotency.port import KEEP_STARTS_MS, Claim, Key
from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker
from tests.integration.idempotency.stores import Model
from tests.waiting import wait_until

_numbers = itertools.count(1)


class ItemAdded(Event, name="item.added"):
    """The event of these tests."""

    item: int


def message(item: Any, *, event_id: str | None = None, **headers: Any) -> Message:
    """A well-formed event ``item.added``."""
    attributes = {
        "specversion": "1.0",
        "id": event_id or f"id-{item}",
        "source": "elsewhere",
        "type": "item.added",
    }
    return Message(
        json.dumps({"item": item}).encode(),
        "item.added",
        {**{f"cloudEvents_{name}": value for name, value in attributes.items()}, **headers},
        content_type="application/json",
    )


class FakeConsumer:
    """Delivers what the test gives it, and keeps each settlement."""

    trouble = None

    def __init__(self) -> None:
        self.settlements: list[Settlement] = []
        self.on_deliveries: Callable[[list[Delivery]], None] | None = None
        self.paused: set[str] = set()
        #: ``pause shop.added``, ``resume shop.added``, in order.
        self.switches: list[str] = []
        self.cancelled = threading.Event()
        self.closed = threading.Event()

    def start(
        self, queues: Mapping[str, int], on_deliveries: Callable[[list[Delivery]], None]
    ) -> None:
        self.on_deliveries = on_deliveries

    def deliver(self, messages: Sequence[Message], **attributes: Any) -> list[Delivery]:
        """Hand `messages` to the worker, as one read of the socket."""
        wait_until(lambda: self.on_deliveries is not None, 10, "a worker that consumes")
        assert self.on_deliveries is not None
        deliveries = [Delivery("shop.added", next(_numbers), one, **attributes) for one in messages]
        self.on_deliveries(deliveries)
        return deliveries

    def settle(self, settlements: Sequence[Settlement]) -> None:
        self.settlements.extend(settlements)

    def cancel(self) -> None:
        self.cancelled.set()

    def pause(self, queue: str) -> None:
        self.paused.add(queue)
        self.switches.append(f"pause {queue}")

    def resume(self, queue: str) -> None:
        self.paused.discard(queue)
        self.switches.append(f"resume {queue}")

    def wait_consuming(self, timeout: float) -> bool:
        return self.on_deliveries is not None

    def close(self, timeout: float) -> None:
        self.closed.set()

    def counts(self) -> Counter[Any]:
        """Delivery tag to how often it was settled."""
        return Counter(one.delivery.tag for one in list(self.settlements))

    def wait_settled(self, count: int, timeout: float = 10) -> list[Settlement]:
        wait_until(
            lambda: len(self.settlements) >= count,
            timeout,
            lambda: f"{count} settlements; there are {len(self.settlements)}",
        )
        return list(self.settlements)


class FakeAdmin:
    def declare(self, topology: Topology) -> None: ...

    def close(self) -> None: ...


class FakePublisher:
    """Answers each publish with what `answer` says of each message, at once."""

    trouble: str | None = None

    def __init__(self) -> None:
        self.batches: list[list[Message]] = []
        self.answer: Callable[[Message], Confirmation] = lambda _message: Confirmation.ROUTED
        self.ready = True

    def publish(
        self, messages: Sequence[Message], queue: str | None = None
    ) -> Future[list[Confirmation]]:
        future: Future[list[Confirmation]] = Future()
        self.batches.append(list(messages))
        future.set_result([self.answer(one) for one in messages])
        return future

    def wait_ready(self, timeout: float) -> bool:
        return self.ready

    def close(self) -> None: ...


class FakeBroker:
    """One consumer and one publisher, in memory."""

    url = "fake"

    def __init__(self) -> None:
        self.the_consumer = FakeConsumer()
        self.the_publisher = FakePublisher()

    def consumer(self, name: str) -> FakeConsumer:
        return self.the_consumer

    def publisher(self, name: str) -> FakePublisher:
        return self.the_publisher

    def admin(self) -> FakeAdmin:
        return FakeAdmin()

    def ping(self) -> None: ...


class FakeStore:
    """The pure model of the stores, with a switch that takes it away."""

    def __init__(self) -> None:
        self.model = Model()
        self.away = False
        self.asked = 0
        #: Event ids of each call of `claim`.
        self.claimed: list[list[str]] = []
        self.renewed: Counter[str] = Counter()
        self.closed = False

    def claim(
        self, keys: Sequence[Key], token: str, lease_ms: int, *, alone: bool = False
    ) -> list[Claim]:
        self._ask()
        self.claimed.append([key.event_id for key in keys])
        return self.model.store.claim(keys, token, lease_ms, alone=alone)

    def remember(self, keys: Sequence[Key], token: str, ttl_ms: int) -> list[bool]:
        self._ask()
        return self.model.store.remember(keys, token, ttl_ms)

    def release(self, keys: Sequence[Key], token: str) -> None:
        self._ask()
        self.model.store.release(keys, token)

    def unclaim(
        self, keys: Sequence[Key], token: str, lease_ms: int = 0, keep_ms: int = KEEP_STARTS_MS
    ) -> None:
        self._ask()
        self.model.store.unclaim(keys, token, lease_ms, keep_ms)

    def renew(self, keys: Sequence[Key], token: str, lease_ms: int) -> list[bool]:
        self._ask()
        self.renewed.update(key.event_id for key in keys)
        return self.model.store.renew(keys, token, lease_ms)

    def ping(self) -> None:
        self._ask()

    def close(self) -> None:
        self.closed = True

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise IdempotencyStoreUnavailable("the store is away")


class Bench:
    """A bus on these doubles; handlers are declared on `bus`, then `running` runs a worker."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker = FakeBroker()
        self.store = FakeStore()
        self.settings: dict[str, Any] = {
            "database_url": f"sqlite:///{folder / 'bench.db'}",
            # Not asked: the store is a double.
            "redis_url": "redis://127.0.0.1:1/0",
        }
        self.bus = self.make_bus()
        monkeypatch.setattr(worker_module, "make_store", lambda bus: self.store)

    def make_bus(self, **settings: Any) -> EventBus:
        self.bus = EventBus("shop", **{**self.settings, **settings})
        self.bus.__dict__["broker"] = self.broker
        return self.bus

    @property
    def consumer(self) -> FakeConsumer:
        return self.broker.the_consumer

    @contextmanager
    def running(self, pool: str = "threads", **options: Any) -> Iterator[Worker]:
        """A worker on a thread of its own; stopped at the end, with every delivery settled once."""
        options.setdefault("concurrency", 4)
        options.setdefault("shutdown_timeout", timedelta(seconds=10))
        worker = Worker(self.bus, WorkerOptions(pool=pool, **options))
        raised: list[BaseException] = []

        def run() -> None:
            try:
                worker.run()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(20)
        assert not thread.is_alive(), "the worker did not stop"
        assert not raised, raised
        assert set(self.consumer.counts().values()) <= {1}, "a delivery was settled twice"
