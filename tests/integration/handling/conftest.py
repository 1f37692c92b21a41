"""A bus on each broker, with a worker that runs in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy.orm import Session

from eventbus import Event, EventBus, Retry, database
from eventbus.message import Message
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker
from tests.waiting import wait_until

#: Short, and the same each time: these tests count attempts.
RETRY = Retry(max_attempts=3, backoff="fixed", delay=timedelta(seconds=1), jitter=0)

MakeBus = Callable[..., "Shop"]


@dataclass
class Shop:
    """A bus with its database; declare handlers on `bus`, then `running`."""

    bus: EventBus

    @contextmanager
    def running(self, **options: Any) -> Iterator[Worker]:
        """A worker, consuming; it must drain at the end."""
        worker = Worker(self.bus, WorkerOptions(**options))
        raised: list[BaseException] = []

        def run() -> None:
            try:
                worker.run()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            wait_until(lambda: raised or worker.report().ready, 60, "a worker that consumes")
            yield worker
        finally:
            worker.stop()
            thread.join(60)
        assert not raised, raised
        assert worker.drained

    def publish(self, *events: Event) -> list[str]:
        """Publish `events` in one committed transaction, and send them to the broker."""
        with Session(self.bus.engine) as session, session.begin():
            ids = self.bus.publish_many(events, session=session)
        self.dispatch()
        return ids

    def dispatch(self) -> None:
        """Send to the broker what is in the outbox."""
        assert Dispatcher(self.bus).run_once()

    def parked(self, queue: str, count: int = 1) -> Sequence[Message]:
        """The messages in the dead-letter queue of `queue`, once there are `count`."""
        name = self.bus.subscription(queue).dead_letter_queue
        return wait_until(lambda: self._all(name, count), 60, f"{count} messages in {name}")

    def depth(self, queue: str) -> int:
        """Messages that are ready in the queue of that full name; 0 where there is none."""
        admin = self.bus.broker.admin()
        try:
            stats = admin.stats([queue])
        finally:
            admin.close()
        return stats[queue].messages if queue in stats else 0

    def _all(self, queue: str, count: int) -> Sequence[Message]:
        admin = self.bus.broker.admin()
        try:
            found = list(admin.browse(queue, 1000))
        finally:
            admin.close()
        return found if len(found) >= count else []


@pytest.fixture(params=["rabbitmq", "embedded"])
def make_shop(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[MakeBus]:
    """Makes a bus on RabbitMQ with Redis, or with nothing but a SQLite file."""
    settings = {"database_url": sqlite_url}
    if request.param == "rabbitmq":
        settings["broker_url"] = request.getfixturevalue("broker_url")
        settings["redis_url"] = request.getfixturevalue("redis_url")
    made: list[EventBus] = []
    yield partial(_make_shop, made, settings)
    for bus in made:
        bus.engine.dispose()


def _make_shop(made: list[EventBus], settings: dict[str, str], **options: Any) -> Shop:
    bus = EventBus("shop", **{"retry": RETRY, **settings, **options})
    made.append(bus)
    database.upgrade(bus.engine)
    return Shop(bus)


@pytest.fixture
def shop(make_shop: MakeBus) -> Shop:
    """One bus."""
    return make_shop()
