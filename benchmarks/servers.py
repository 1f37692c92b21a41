"""The private servers that all contestants use, and a clean part of them for each run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

import redis
from typing_extensions import Self

from eventbus import EventBus
from eventbus.brokers.port import Confirmation, QueueStats
from eventbus.database import upgrade
from eventbus.message import Message
from tests.services import PostgreSQL, RabbitMQ, Redis

from .errors import expect
from .workload import ignore, make_bus


@dataclass(frozen=True)
class Place:
    """Where one run works: nobody has been there before."""

    database_url: str
    broker_url: str | None
    redis_url: str | None

    def settings(self) -> dict[str, str]:
        """As keywords of an `EventBus`."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def environment(self) -> dict[str, str]:
        """As variables of the environment."""
        return {f"EVENTBUS_{name.upper()}": value for name, value in self.settings().items()}

    def bus(self) -> EventBus:
        """The bus whose handler does nothing."""
        return make_bus(ignore, **self.settings())


class Servers:
    """RabbitMQ, PostgreSQL and Redis, as durable as in production.

    The tests' servers skip what only a power failure would need; here it is part of the cost.
    """

    def __init__(self) -> None:
        self.rabbitmq = RabbitMQ()
        self.postgresql = PostgreSQL(settings={"fsync": "on"})
        self.redis = Redis(settings={"appendonly": "yes", "appendfsync": "everysec"})
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            for server in (self.rabbitmq, self.postgresql, self.redis):
                starting.enter_context(server)
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A database with the tables of eventbus, a virtual host, an empty Redis."""
        database_url = self.postgresql.create_database()
        broker_url = self.rabbitmq.create_vhost()
        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()
        place = Place(database_url, broker_url, self.redis.url)
        bus = place.bus()
        upgrade(bus.engine)
        bus.engine.dispose()
        try:
            yield place
        finally:
            self.rabbitmq.drop_vhost(broker_url)
            self.postgresql.drop_database(database_url)


def declare(bus: EventBus) -> None:
    """Create the exchange, and the queue of the handler."""
    admin = bus.broker.admin()
    try:
        admin.declare(bus.topology())
    finally:
        admin.close()


def queue_stats(bus: EventBus, queue: str) -> QueueStats:
    """What the subscription `queue` of `bus` holds; nothing while there is no such queue."""
    name = bus.subscription(queue).queue
    admin = bus.broker.admin()
    try:
        return admin.stats([name]).get(name, QueueStats(0, 0))
    finally:
        admin.close()


def publish(bus: EventBus, messages: list[Message], queue: str | None = None) -> None:
    """Put `messages` into the queues that are bound for them, or into the one `queue`."""
    publisher = bus.broker.publisher("bench.fill")
    try:
        publisher.wait_ready(10.0)
        confirmations = publisher.publish(messages, queue=queue).result()
    finally:
        publisher.close()
    routed = sum(one is Confirmation.ROUTED for one in confirmations)
    expect("messages put into the queue", routed, len(messages))
