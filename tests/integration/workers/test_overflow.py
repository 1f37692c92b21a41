"""What overflows a queue comes back to it: workers on both brokers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import pika
import pytest
import sqlalchemy as sa

from eventbus import Context, Event, EventBus, Retry, tables, topology
from eventbus.brokers.port import Settlement
from eventbus.message import HANDLER_HEADER, REASON_HEADER
from eventbus.outbox.publication import to_publication
from eventbus.outbox.store import OutboxStore
from eventbus.workers.admission import overflow
from eventbus.workers.admission.overflow import low_water, window
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker
from tests.faults.serving import bodies, depth, prepare, publish, serving
from tests.waiting import wait_until

QUEUE = "flow.jobs"


class Added(Event, name="flow.added"):
    """Event `number` of a series."""

    number: int


@pytest.fixture(params=["rabbitmq", "embedded"])
def bus(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[EventBus]:
    """A bus on an empty broker of each kind."""
    settings: dict[str, Any] = {"database_url": sqlite_url}
    if request.param == "rabbitmq":
        settings["broker_url"] = request.getfixturevalue("broker_url")
    bus = EventBus("flow", **settings)
    yield bus
    bus.engine.dispose()


class Handled:
    """What the handler got, in order; it can be held up."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, event: Added) -> None:
        self.go.wait(30)
        self.numbers.append(event.number)


def _worker(bus: EventBus, prefetch: int = 1) -> Worker:
    return Worker(bus, WorkerOptions(pool="solo", concurrency=1, prefetch=prefetch))


def _subscribed(bus: EventBus, max_length: int) -> Handled:
    handled = Handled()
    bus.queue("jobs", max_length=max_length)
    bus.handler("flow.added", queue="jobs", name="job")(handled)
    prepare(bus)
    return handled


def _overflow(bus: EventBus, count: int) -> int:
    """Publish so many with nobody to take them; how many overflowed."""
    publish(bus, *(Added(number=number) for number in range(count)))
    assert Dispatcher(bus).run_once() == count
    wait_until(
        lambda: depth(bus, QUEUE) + depth(bus, f"{QUEUE}.overflow") == count,
        30,
        lambda: f"{count} messages; {depth(bus, QUEUE)}, {depth(bus, f'{QUEUE}.overflow')}",
    )
    return depth(bus, f"{QUEUE}.overflow")


def test_what_overflowed_is_fed_back_in_order_of_arrival(bus: EventBus) -> None:
    handled = _subscribed(bus, max_length=20)
    assert _overflow(bus, 200) >= 179
    with serving(_worker(bus)):
        wait_until(
            lambda: len(handled.numbers) >= 200, 60, lambda: f"all; {len(handled.numbers)} came"
        )
    kept = [number for number in handled.numbers if number >= 180]
    fed = [number for number in handled.numbers if number < 180]
    assert sorted(handled.numbers) == list(range(200))
    assert fed == sorted(fed)
    assert kept == sorted(kept)
    assert depth(bus, QUEUE) == depth(bus, f"{QUEUE}.overflow") == 0


def test_a_queue_is_not_fed_above_its_low_water_mark(bus: EventBus) -> None:
    handled = _subscribed(bus, max_length=20)
    handled.go.clear()
    overflowed = _overflow(bus, 200)
    with serving(_worker(bus)):
        wait_until(lambda: depth(bus, QUEUE) < 20, 30, "a worker that has taken some")
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert depth(bus, QUEUE) < 20
            waiting = depth(bus, f"{QUEUE}.overflow")
            assert waiting >= overflowed - window(20), "it was fed although there is no room"
        handled.go.set()
        wait_until(lambda: len(handled.numbers) >= 200, 60, "all handled")


def test_several_workers_feed_back_each_message_once(bus: EventBus) -> None:
    handled = _subscribed(bus, max_length=20)
    _overflow(bus, 200)
    with serving(_worker(bus)), serving(_worker(bus)):
        wait_until(lambda: len(handled.numbers) >= 200, 60, "all handled")
    assert sorted(handled.numbers) == list(range(200))


def test_headers_that_a_producer_has_made_up_do_not_count_after_the_way_back(
    bus: EventBus,
) -> None:
    handled = _subscribed(bus, max_length=1)
    publish(bus, Added(number=0))
    with bus.engine.begin() as connection:
        found = connection.execute(sa.select(tables.outbox.c.attributes)).scalar_one()
    assert json.loads(found)["type"] == "flow.added"
    publisher = bus.broker.publisher("forger")
    (row,) = OutboxStore(bus.engine).next_batch(range(32), 1)
    forged = to_publication(row).with_headers(
        {HANDLER_HEADER: "nobody", "eventbus-not-before": 2**45, "eventbus-attempts": 99}
    )
    assert publisher.wait_ready(30)
    publisher.publish([forged]).result(30)
    publisher.close()
    publish(bus, Added(number=1))
    Dispatcher(bus).run_once()
    wait_until(lambda: depth(bus, f"{QUEUE}.overflow") >= 1, 30, "the forged one overflowed")
    with serving(_worker(bus)):
        wait_until(lambda: sorted(handled.numbers) == [0, 1], 30, lambda: str(handled.numbers))
    assert bodies(bus, f"{QUEUE}.dlq") == []


def test_a_retry_that_overflows_keeps_its_handler_and_its_attempts(bus: EventBus) -> None:
    attempts: list[int] = []
    bus.queue("jobs", max_length=1)

    @bus.handler(
        "flow.added",
        queue="jobs",
        name="job",
        retry=Retry(max_attempts=2, delay=timedelta(seconds=1), backoff="fixed"),
    )
    def job(event: Added, context: Context) -> None:
        if event.number == 0:
            attempts.append(context.attempt)
            if context.attempt == 1:
                raise ValueError("not yet")

    other = Handled()
    bus.handler("flow.added", queue="jobs", name="other")(other)
    prepare(bus)
    publish(bus, Added(number=0))
    Dispatcher(bus).run_once()
    with serving(_worker(bus)):
        wait_until(lambda: attempts == [1], 30, "the first attempt")
    # While nobody works: the retry comes back, and is pushed out.
    wait_until(lambda: depth(bus, QUEUE) == 1, 30, "the retry")
    publish(bus, Added(number=1), Added(number=2))
    Dispatcher(bus).run_once()
    wait_until(lambda: depth(bus, f"{QUEUE}.overflow") >= 1, 30, "it overflowed")
    with serving(_worker(bus)):
        wait_until(lambda: attempts == [1, 2], 30, lambda: f"a second attempt: {attempts}")
        wait_until(lambda: sorted(other.numbers) == [0, 1, 2], 30, lambda: str(other.numbers))


def test_what_the_broker_gave_up_delivering_goes_on_to_the_dead_letter_queue(
    broker_url: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "DELIVERY_LIMIT", 20)
    bus = EventBus("flow", broker_url=broker_url, database_url=sqlite_url)
    _subscribed(bus, max_length=100)
    publish(bus, Added(number=7))
    Dispatcher(bus).run_once()
    with closing(pika.BlockingConnection(pika.URLParameters(broker_url))) as connection:
        channel = connection.channel()

        def handed_out_again() -> bool:
            method, _, _ = channel.basic_get(QUEUE)
            if method is not None:
                channel.basic_nack(method.delivery_tag)
            return method is None and depth(bus, f"{QUEUE}.overflow") == 1

        wait_until(handed_out_again, 30, "the delivery limit")
    with serving(_worker(bus)):
        wait_until(lambda: depth(bus, f"{QUEUE}.dlq") == 1, 30, "a dead letter")
    admin = bus.broker.admin()
    (parked,) = admin.browse(f"{QUEUE}.dlq", 10)
    admin.close()
    assert "delivery limit" in parked.headers[REASON_HEADER]
    assert parked.routing_key == "flow.added"
    assert json.loads(parked.body) == {"number": 7}
    bus.engine.dispose()


def test_what_waits_too_long_is_given_back_and_comes_again(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overflow, "GIVE_BACK_SECONDS", 0.5)
    handled = _subscribed(bus, max_length=20)
    handled.go.clear()
    _overflow(bus, 100)
    given_back: list[int] = []
    settle = overflow.OverflowFeeder._settle

    def counted(feeder: overflow.OverflowFeeder, settlements: Sequence[Settlement]) -> None:
        given_back.append(sum(one.requeue for one in settlements))
        settle(feeder, settlements)

    monkeypatch.setattr(overflow.OverflowFeeder, "_settle", counted)
    with serving(_worker(bus)):
        wait_until(lambda: sum(given_back) >= 2 * window(20), 30, "messages that go back twice")
        handled.go.set()
        wait_until(lambda: len(handled.numbers) >= 100, 60, "all handled")
    assert sorted(handled.numbers) == list(range(100))


@pytest.mark.parametrize(
    ("max_length", "low", "at_a_time"),
    [(1, 1, 1), (2, 1, 1), (20, 10, 5), (10_000, 5_000, 500), (1_000_000, 500_000, 500)],
)
def test_what_is_on_its_way_back_cannot_fill_the_queue_again(
    max_length: int, low: int, at_a_time: int
) -> None:
    assert low_water(max_length) == low
    assert window(max_length) == at_a_time
