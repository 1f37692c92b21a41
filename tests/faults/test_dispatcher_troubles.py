"""Guarantees 1, 3, 4 and 6 on a RabbitMQ that blocks, forgets or cuts off."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import kombu
import pytest

from eventbus import Event, EventBus
from eventbus.outbox.store import OutboxStore
from eventbus.topology import Binding, Exchange, Queue, Topology
from eventbus.workers.dispatcher import Dispatcher
from tests.faults.serving import bodies, depth, prepare, publish, serving, stats
from tests.services import PostgreSQL, RabbitMQ
from tests.waiting import wait_until


class Counted(
    Event, name="trouble.counted", style="snapshot", reason="a test needs bodies of any size"
):
    """Event `number` of a series."""

    number: int
    text: str = ""


@pytest.fixture
def bus(broker_url: str, postgres_url: str) -> Iterator[EventBus]:
    """A bus whose exchange has one healthy queue, ``t.all``."""
    with _bus(broker_url, postgres_url) as bus:
        yield bus


@contextmanager
def _bus(broker_url: str, database_url: str, **settings: str) -> Iterator[EventBus]:
    bus = EventBus("trouble", broker_url=broker_url, database_url=database_url, **settings)
    prepare(bus)
    _declare(bus, "t.all", "trouble.#")
    yield bus
    bus.engine.dispose()


def _declare(bus: EventBus, queue: str, pattern: str, **arguments: object) -> None:
    admin = bus.broker.admin()
    exchange = bus.settings.exchange
    admin.declare(
        Topology(
            (Exchange(exchange),),
            (Queue(queue, {"x-queue-type": "quorum", **arguments}),),
            (Binding(exchange, queue, pattern),),
        )
    )
    admin.close()


def _numbers(bus: EventBus, queue: str) -> list[int]:
    return [json.loads(body)["number"] for body in bodies(bus, queue)]


def _firsts(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def _rows(bus: EventBus, state: str) -> list[dict[str, object]]:
    return OutboxStore(bus.engine).rows(state=state)


def test_with_unroutable_fail_what_no_queue_wants_stays_as_failed(
    broker_url: str, postgres_url: str
) -> None:
    class Nowhere(Event, name="nowhere.bound"):
        number: int

    with _bus(broker_url, postgres_url, unroutable="fail") as bus:
        publish(bus, Nowhere(number=1), Counted(number=2), key="a")
        Dispatcher(bus).run_once()
        assert [row["name"] for row in _rows(bus, "failed")] == ["nowhere.bound"]
        assert _numbers(bus, "t.all") == [2]
        assert stats(bus).unrouted == 0


def test_an_exchange_that_is_deleted_underneath_loses_nothing(bus: EventBus) -> None:
    with serving(Dispatcher(bus)):
        publish(bus, Counted(number=0))
        wait_until(lambda: stats(bus).pending == 0, 20, "an empty outbox")
        with kombu.Connection(bus.settings.broker_url) as connection:
            connection.default_channel.exchange_delete(bus.settings.exchange)
        publish(bus, *(Counted(number=number) for number in range(1, 50)))
        wait_until(lambda: stats(bus).pending == 0, 30, lambda: f"an empty outbox: {stats(bus)}")
        # The bindings went with the exchange: the events are logged as unrouted, and come again.
        assert stats(bus).unrouted == 49
        assert stats(bus).failed == 0


def test_delayed_events_leave_in_time_and_not_before(bus: EventBus) -> None:
    with serving(Dispatcher(bus)):
        began = time.monotonic()
        publish(bus, Counted(number=1), delay=timedelta(seconds=1.5))
        publish(bus, Counted(number=2))
        wait_until(lambda: depth(bus, "t.all") == 1, 10, "the event without a delay")
        assert _numbers(bus, "t.all") == [2]
        assert stats(bus).delayed == 1
        wait_until(lambda: depth(bus, "t.all") == 2, 10, "the delayed event")
        assert 1.4 < time.monotonic() - began < 5


def test_the_database_is_killed_while_batches_are_under_way(
    broker_url: str, own_postgres: PostgreSQL
) -> None:
    with _bus(broker_url, own_postgres.create_database()) as bus:
        with serving(Dispatcher(bus, batch_size=20)), serving(Dispatcher(bus, batch_size=20)):
            for start in range(0, 4000, 1000):
                for key in range(10):
                    numbers = range(start + key * 100, start + key * 100 + 100)
                    publish(bus, *(Counted(number=n) for n in numbers), key=f"{start}-{key}")
                published = depth(bus, "t.all")
                wait_until(lambda more=published: depth(bus, "t.all") > more, 60, "some events")
                own_postgres.kill()
                own_postgres.start()
                bus.engine.dispose()
            wait_until(
                lambda: stats(bus).pending == 0, 60, lambda: f"an empty outbox: {stats(bus)}"
            )
        numbers = _firsts(_numbers(bus, "t.all"))
        assert sorted(numbers) == list(range(4000))
        for first in range(0, 4000, 100):
            of_key = [number for number in numbers if first <= number < first + 100]
            assert of_key == sorted(of_key)


# -- a node of its own, with a small limit ---------------------------------------------------------

_LIMIT = 20_000


@pytest.fixture(scope="module")
def small_rabbitmq() -> Iterator[RabbitMQ]:
    """Takes no message above 20 kB; may be blocked."""
    with RabbitMQ(settings={"max_message_size": _LIMIT}) as server:
        yield server


@pytest.fixture
def small_bus(small_rabbitmq: RabbitMQ, postgres_url: str) -> Iterator[EventBus]:
    """A bus on that node."""
    with _bus(small_rabbitmq.create_vhost(), postgres_url) as bus:
        yield bus


def test_messages_that_the_broker_closes_the_channel_over_are_held_and_the_rest_flows(
    small_bus: EventBus,
) -> None:
    bus = small_bus
    too_large = {7, 60, 61, 199}
    for number in range(200):
        text = "x" * _LIMIT if number in too_large else ""
        publish(bus, Counted(number=number, text=text), key=f"k{number % 20}")
    with serving(Dispatcher(bus, batch_size=50)):
        wait_until(
            lambda: len(set(_numbers(bus, "t.all"))) >= 150 and stats(bus).held == len(too_large),
            60,
            lambda: f"the rest published: {stats(bus)}",
        )
    held = [
        json.loads(bytes(row["body"]))["number"] for row in _rows(bus, "pending") if row["attempts"]
    ]
    assert set(held) == too_large
    # What waits behind them has their keys.
    behind = {n for n in range(200) if any(n > t and n % 20 == t % 20 for t in too_large)}
    assert set(_numbers(bus, "t.all")) == set(range(200)) - too_large - behind


def test_while_the_broker_has_a_memory_alarm_the_producer_does_not_wait(
    small_bus: EventBus, small_rabbitmq: RabbitMQ
) -> None:
    bus = small_bus
    with serving(Dispatcher(bus)) as dispatcher:
        publish(bus, Counted(number=-1))
        wait_until(lambda: depth(bus, "t.all") == 1, 20, "a first event")
        small_rabbitmq.set_memory_alarm()
        try:
            slowest = 0.0
            for number in range(100):
                began = time.monotonic()
                publish(bus, Counted(number=number), key="k")
                slowest = max(slowest, time.monotonic() - began)
            wait_until(lambda: "block" in str(dispatcher._trouble), 20, "a dispatcher that waits")
            assert slowest < 1
            assert stats(bus).pending > 0
        finally:
            small_rabbitmq.clear_memory_alarm()
        wait_until(lambda: stats(bus).pending == 0, 40, lambda: f"an empty outbox: {stats(bus)}")
    assert _firsts(_numbers(bus, "t.all")) == list(range(-1, 100))


def test_it_stops_while_the_broker_blocks_it(small_bus: EventBus, small_rabbitmq: RabbitMQ) -> None:
    bus = small_bus
    try:
        with serving(Dispatcher(bus), stop_within=10) as dispatcher:
            publish(bus, Counted(number=-1))
            wait_until(lambda: depth(bus, "t.all") == 1, 20, "a first event")
            small_rabbitmq.set_memory_alarm()
            publish(bus, *(Counted(number=number) for number in range(100)))
            wait_until(lambda: "block" in str(dispatcher._trouble), 20, "a dispatcher that waits")
    finally:
        small_rabbitmq.clear_memory_alarm()
    Dispatcher(bus).run_once()
    assert set(_numbers(bus, "t.all")) == set(range(-1, 100))
