"""Dispatchers and workers on threads of the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.orm import Session

from eventbus import Event, EventBus, database
from eventbus.outbox.store import OutboxStats, OutboxStore
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.worker import Worker

_Service = TypeVar("_Service", Dispatcher, Worker)


@contextmanager
def serving(service: _Service, stop_within: float = 30.0) -> Iterator[_Service]:
    """Run `service` on a thread inside the block; fails when it ends early or does not stop."""
    raised: list[BaseException] = []
    asked = threading.Event()

    def run() -> None:
        try:
            service.run()
            assert asked.is_set(), "it ended by itself"
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        asked.set()
        service.stop()
        thread.join(stop_within)
    assert not thread.is_alive(), f"it did not stop within {stop_within} s"
    assert not raised, raised


def prepare(bus: EventBus) -> None:
    """Create the tables, the exchange and the queues."""
    database.upgrade(bus.engine)
    admin = bus.broker.admin()
    try:
        admin.declare(bus.topology())
    finally:
        admin.close()


def publish(bus: EventBus, *events: Event, key: object = None, **options: object) -> None:
    """Publish `events` in one committed transaction."""
    with Session(bus.engine) as session, session.begin():
        for event in events:
            bus.publish(event, session=session, key=key, **options)  # type: ignore[arg-type]


def stats(bus: EventBus) -> OutboxStats:
    """Counts of the outbox."""
    return OutboxStore(bus.engine).stats()


def depth(bus: EventBus, queue: str) -> int:
    """Messages ready in the queue of that full name."""
    admin = bus.broker.admin()
    try:
        return admin.stats([queue])[queue].messages
    finally:
        admin.close()


def bodies(bus: EventBus, queue: str) -> list[bytes]:
    """The bodies of the messages in that queue."""
    admin = bus.broker.admin()
    try:
        return [message.body for message in admin.browse(queue, 10_000)]
    finally:
        admin.close()
