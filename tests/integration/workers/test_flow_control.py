"""Pauses, breakers, limits and suspects on both brokers, with workers in this process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from eventbus import Breaker, Event, EventBus, Retry
from eventbus.brokers.port import QueueStats
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker
from tests.faults.serving import depth, prepare, publish, serving
from tests.waiting import wait_until

QUEUE = "shop.mail"


class MailDue(Event, name="mail.due"):
    """Mail `number` is to be sent."""

    number: int


class MailRoom:
    """A bus whose only handler can be switched off, and what it did."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.runs: Counter[int] = Counter()
        self.sent: Counter[int] = Counter()
        self.down = False

    def declare(self, **options: object) -> None:
        """Declare the handler with `options`, and make tables and queues."""

        @self.bus.handler("mail.due", queue="mail", **options)  # type: ignore[arg-type]
        def send(event: MailDue) -> None:
            self.runs[event.number] += 1
            if self.down:
                raise ConnectionError("the mail server is away")
            self.sent[event.number] += 1

        prepare(self.bus)

    def publish(self, numbers: range) -> None:
        publish(self.bus, *(MailDue(number=number) for number in numbers))

    def consumers(self) -> int:
        admin = self.bus.broker.admin()
        try:
            found: QueueStats = admin.stats([QUEUE])[QUEUE]
        finally:
            admin.close()
        return found.consumers

    def wait_sent(self, numbers: range, timeout: float = 60) -> None:
        wait_until(
            lambda: set(self.sent) >= set(numbers),
            timeout,
            lambda: f"mails sent; missing {sorted(set(numbers) - set(self.sent))[:10]}",
        )


@pytest.fixture(params=["rabbitmq", "embedded"])
def room(request: pytest.FixtureRequest) -> Iterator[MailRoom]:
    settings = {"database_url": request.getfixturevalue("sqlite_url")}
    if request.param == "rabbitmq":
        settings["broker_url"] = request.getfixturevalue("broker_url")
        settings["redis_url"] = request.getfixturevalue("redis_url")
    bus = EventBus("shop", retry=Retry(delay=timedelta(seconds=1), backoff="fixed"), **settings)
    yield MailRoom(bus)
    bus.engine.dispose()


def test_a_paused_queue_is_left_alone_and_taken_up_again(room: MailRoom) -> None:
    room.declare()
    worker = Worker(room.bus, WorkerOptions())
    with serving(Dispatcher(room.bus)), serving(worker):
        room.publish(range(10))
        room.wait_sent(range(10))
        worker.set_paused(frozenset({QUEUE}))
        wait_until(lambda: room.consumers() == 0, 20, "a queue without a consumer")
        room.publish(range(10, 30))
        wait_until(lambda: depth(room.bus, QUEUE) == 20, 20, "20 messages that wait in the queue")
        report = worker.report()
        assert report.queues[QUEUE].paused
        assert report.ready, "a pause is no trouble"
        worker.set_paused(frozenset())
        room.wait_sent(range(30))
    assert set(room.sent.values()) == {1}


def test_a_retry_that_falls_due_during_a_pause_waits_in_the_queue(room: MailRoom) -> None:
    room.declare()
    room.down = True
    worker = Worker(room.bus, WorkerOptions())
    with serving(Dispatcher(room.bus)), serving(worker):
        room.publish(range(5))
        wait_until(lambda: len(room.runs) == 5, 20, "a first attempt of each")
        worker.set_paused(frozenset({QUEUE}))
        wait_until(lambda: depth(room.bus, QUEUE) == 5, 20, "the retries in the queue")
        room.down = False
        worker.set_paused(frozenset())
        room.wait_sent(range(5))


def test_a_breaker_stops_a_queue_whose_handler_fails_and_takes_it_up_again(room: MailRoom) -> None:
    """No event loses its attempts, none is delivered again and again, none is lost."""
    breaker = Breaker(minimum=10, open_for=timedelta(seconds=1), longest=timedelta(seconds=1))
    room.bus.queue("mail", breaker=breaker)
    room.declare(retry=Retry(max_attempts=100, delay=timedelta(seconds=1), backoff="fixed"))
    room.down = True
    worker = Worker(room.bus, WorkerOptions(concurrency=2, prefetch=50))
    with serving(Dispatcher(room.bus)), serving(worker):
        room.publish(range(200))
        wait_until(lambda: worker.report().queues[QUEUE].breaker == "open", 30, "an open breaker")
        runs = sum(room.runs.values())
        assert runs <= 40
        wait_until(lambda: sum(room.runs.values()) >= runs + 2, 30, "two probes")
        assert sum(room.runs.values()) <= runs + 6, "one event at a time"
        room.down = False
        room.wait_sent(range(200))
        assert worker.report().queues[QUEUE].breaker == "closed"
        wait_until(lambda: depth(room.bus, QUEUE) == 0, 20, "an empty queue")
    assert set(room.sent.values()) == {1}
    assert depth(room.bus, f"{QUEUE}.dlq") == 0


def test_limits_hold_on_a_real_queue(room: MailRoom) -> None:
    running, most = Counter[str](), Counter[str]()
    lock = threading.Lock()

    @room.bus.handler("mail.due", queue="mail", name="count", max_concurrency=2)
    def count(event: MailDue) -> None:
        with lock:
            running["now"] += 1
            most["now"] = max(most["now"], running["now"])
        threading.Event().wait(0.01)
        with lock:
            running["now"] -= 1
            running["done"] += 1

    room.declare()
    with (
        serving(Dispatcher(room.bus)),
        serving(Worker(room.bus, WorkerOptions(concurrency=6, prefetch=30))),
    ):
        room.publish(range(100))
        room.wait_sent(range(100))
        # Those that were put off, so that they leave the prefetch to the other handler, come back.
        wait_until(lambda: running["done"] == 100, 60, lambda: f"100 counted; {running}")
    assert most["now"] == 2
