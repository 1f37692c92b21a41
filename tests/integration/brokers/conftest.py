"""One broker of each kind, and helpers that publish to it and consume from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
import sqlalchemy

from eventbus.brokers.embedded import EmbeddedBroker
from eventbus.brokers.port import Admin, Broker, Confirmation, Consumer, Delivery, Publisher
from eventbus.brokers.rabbitmq import RabbitMQBroker
from eventbus.message import Message
from eventbus.tables import metadata
from eventbus.topology import Overflow, Topology, subscription_topology
from tests.waiting import wait_until

EXCHANGE = "events"
QUEUE = "shop.billing"


class Received:
    """What a consumer got, in order; give its `take` to `Consumer.start`."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._lock = threading.Lock()

    def take(self, deliveries: list[Delivery]) -> None:
        with self._lock:
            self.deliveries += deliveries

    def wait(self, count: int, timeout: float = 30.0) -> list[Delivery]:
        """All deliveries so far, at least `count`."""
        wait_until(
            lambda: len(self.deliveries) >= count,
            timeout,
            lambda: f"{count} deliveries; got {len(self.deliveries)}",
        )
        with self._lock:
            return list(self.deliveries)

    @property
    def bodies(self) -> list[bytes]:
        with self._lock:
            return [delivery.message.body for delivery in self.deliveries]


class Bench:
    """A broker with its parts, all closed at the end of the test."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._opened: list[Callable[[], None]] = []

    def admin(self) -> Admin:
        admin = self.broker.admin()
        self._opened.append(admin.close)
        return admin

    def publisher(self, name: str = "test publisher") -> Publisher:
        publisher = self.broker.publisher(name)
        self._opened.append(publisher.close)
        assert publisher.wait_ready(30), publisher.trouble
        return publisher

    def consumer(self, name: str = "test consumer") -> Consumer:
        consumer = self.broker.consumer(name)
        self._opened.append(lambda: consumer.close(0))
        return consumer

    def consume(
        self, queues: Mapping[str, int] | None = None, name: str = "test consumer"
    ) -> tuple[Consumer, Received]:
        """A consumer that is consuming; by default `QUEUE`, with prefetch 100."""
        consumer, received = self.consumer(name), Received()
        consumer.start(queues or {QUEUE: 100}, received.take)
        assert consumer.wait_consuming(30), consumer.trouble
        return consumer, received

    def declare(
        self,
        *patterns: str,
        queue: str = QUEUE,
        max_length: int = 1_000_000,
        overflow: Overflow = Overflow.DEAD_LETTER,
    ) -> Topology:
        topology = subscription_topology(
            EXCHANGE,
            queue,
            patterns,
            longest_delay_ms=5_000,
            max_length=max_length,
            overflow=overflow,
        )
        self.admin().declare(topology)
        return topology

    def publish(self, *messages: Message) -> list[Confirmation]:
        return self.publisher().publish(messages).result(30)

    def counts(self, *queues: str) -> list[int]:
        """Messages ready in `queues`."""
        admin = self.broker.admin()
        try:
            stats = admin.stats(queues)
        finally:
            admin.close()
        return [stats[queue].messages for queue in queues]

    def wait_counts(self, counts: Mapping[str, int]) -> None:
        seen: list[int] = []

        def arrived() -> bool:
            seen[:] = self.counts(*counts)
            return seen == list(counts.values())

        wait_until(arrived, 30, lambda: f"messages {dict(counts)}; there are {seen}")

    def close(self) -> None:
        for close in reversed(self._opened):
            close()


@pytest.fixture(params=["rabbitmq", "embedded"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """An empty broker: the test runs once on each kind."""
    if request.param == "rabbitmq":
        return RabbitMQBroker(request.getfixturevalue("broker_url"), EXCHANGE)
    url = request.getfixturevalue("sqlite_url")
    engine = sqlalchemy.create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    return EmbeddedBroker(url, EXCHANGE)


@pytest.fixture
def bench(broker: Broker) -> Iterator[Bench]:
    """The broker with helpers."""
    bench = Bench(broker)
    yield bench
    bench.close()


def message(number: int = 0, routing_key: str = "order.paid", **headers: object) -> Message:
    """A small message that `number` tells from others."""
    return Message(
        body=b'{"number":%d}' % number,
        routing_key=routing_key,
        headers=headers,
        message_id=f"message-{number}",
        type=routing_key,
        content_type="application/json",
    )


def bodies(messages: Sequence[Message]) -> list[bytes]:
    return [one.body for one in messages]
