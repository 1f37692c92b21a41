"""Bounded queues under kill: what is lost, what comes twice, and who notices.

A refused publish reaches the other queues of its event: what comes twice is counted in the queue
``healthy``, which nobody consumes here.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbus.outbox.store import OutboxStore
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.holds import SHARE
from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker
from tests.faults.bounded import BOUND
from tests.faults.serving import serving
from tests.faults.stack import Stack
from tests.services import RabbitMQ
from tests.waiting import wait_until

HEALTHY, BLOCKING, OVERFLOWING = "bounded.healthy", "bounded.blocking", "bounded.overflowing"


def _prepared(environment: dict[str, str], folder: Path) -> Iterator[Stack]:
    stack = Stack(environment, folder, application="tests.faults.bounded")
    try:
        stack.prepare()
        yield stack
    finally:
        stack.close()


@pytest.fixture(params=["rabbitmq", "embedded"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """The application on each kind of broker."""
    environment = {
        "EVENTBUS_DATABASE_URL": request.getfixturevalue("sqlite_url"),
        "EVENTBUS_CLAIM_LEASE": "3s",
    }
    if request.param == "rabbitmq":
        environment["EVENTBUS_BROKER_URL"] = request.getfixturevalue("broker_url")
    yield from _prepared(environment, tmp_path)


@pytest.fixture
def own_stack(own_rabbitmq: RabbitMQ, postgres_url: str, tmp_path: Path) -> Iterator[Stack]:
    """The application on a RabbitMQ that the test may kill."""
    environment = {"EVENTBUS_DATABASE_URL": postgres_url, "EVENTBUS_BROKER_URL": own_rabbitmq.url}
    yield from _prepared(environment, tmp_path)


def _worker(stack: Stack, queue: str) -> Worker:
    return Worker(stack.bus, WorkerOptions(queues=(queue,), pool="solo", prefetch=BOUND))


def _items(stack: Stack, queue: str) -> Counter[int]:
    """Item to how often it is in the queue."""
    return Counter(json.loads(message.body)["item"] for message in stack.parked(queue))


def test_a_worker_that_is_killed_while_it_feeds_back_loses_nothing(stack: Stack) -> None:
    count = 200
    stack.publish(stack.shop.Overflowing(item=n) for n in range(count))
    assert stack.dispatcher("--once").popen.wait(60) == 0
    assert stack.depth(f"{OVERFLOWING}.overflow") >= count - BOUND - 5
    kills = 0
    for part in (60, 120):
        worker = stack.worker("-P", "solo", "-Q", "overflowing")
        wait_until(
            lambda part=part: len(stack.effects("overflow")) >= part, 60, stack.logs, interval=0.02
        )
        worker.kill()
        kills += 1
    stack.worker("-P", "solo", "-Q", "overflowing")
    stack.wait_effects("overflow", range(count))
    # What a worker has done and not remembered when it is killed it does again.
    assert sum(stack.effects("overflow").values()) <= count + kills * BOUND
    assert stack.parked(f"{OVERFLOWING}.dlq") == []


def test_a_full_queue_that_blocks_is_felt_by_its_own_event_only(stack: Stack) -> None:
    count = 300
    shop, dispatcher = stack.shop, Dispatcher(stack.bus)
    stack.publish(shop.Blocking(item=n) for n in range(count))
    with serving(dispatcher):
        wait_until(lambda: dispatcher.report().held == ["bounded.blocking"], 30, "a held event")
        stack.publish([shop.Free(item=-1), shop.Overflowing(item=-2)])
        wait_until(lambda: {-1, -2} <= set(_items(stack, HEALTHY)), 30, "what others publish")
        # Blocked for a while: it is tried at growing intervals.
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert stack.depth(BLOCKING) <= BOUND + BOUND // SHARE + 5
            time.sleep(0.2)
        tries = dispatcher.report().counts["refused"]
        assert tries <= BOUND // SHARE + 1 + 8
        with serving(_worker(stack, "blocking")):
            stack.wait_effects("block", range(count), timeout=90)
        wait_until(lambda: dispatcher.report().held == [], 30, "nothing is held")
        assert OutboxStore(stack.bus.engine).stats().pending == 0
    refused = dispatcher.report().counts["refused"]
    twice = sum(_items(stack, HEALTHY).values()) - count - 2
    assert set(stack.effects("block").values()) == {1}
    assert twice <= refused
    # Each time the queue is full one is refused, or none: it takes again when a fifth is free.
    assert refused - tries <= count // (BOUND // 5) + 5
    print(f"{count} events through a queue of {BOUND}: {refused} refused, {twice} twice elsewhere")


def test_a_broker_killed_while_a_queue_blocks_loses_nothing(
    own_stack: Stack, own_rabbitmq: RabbitMQ
) -> None:
    stack, count = own_stack, 200
    dispatcher = Dispatcher(stack.bus)
    stack.publish(stack.shop.Blocking(item=n) for n in range(count))
    with serving(dispatcher, stop_within=60):
        wait_until(lambda: dispatcher.report().held == ["bounded.blocking"], 30, "a held event")
        with serving(_worker(stack, "blocking"), stop_within=60):
            wait_until(lambda: len(stack.effects("block")) > count // 4, 60, "a quarter")
            own_rabbitmq.kill()
            own_rabbitmq.start()
            stack.wait_effects("block", range(count), timeout=120)
    assert set(stack.effects("block").values()) == {1}
    assert set(_items(stack, HEALTHY)) == set(range(count))


def test_what_a_broker_loses_when_it_is_killed_while_a_queue_overflows_is_replayed(
    own_stack: Stack, own_rabbitmq: RabbitMQ
) -> None:
    """Inside the broker a queue's excess moves at most once, or twice after a crash."""
    stack, count = own_stack, 600
    overflow = f"{OVERFLOWING}.overflow"
    stack.publish(stack.shop.Overflowing(item=n) for n in range(count))
    with serving(Dispatcher(stack.bus, batch_size=100), stop_within=60):
        wait_until(lambda: stack.depth(overflow) > count // 4, 60, "some that overflowed")
        own_rabbitmq.kill()
        own_rabbitmq.start()
        with serving(_worker(stack, "overflowing"), stop_within=60):
            wait_until(
                lambda: OutboxStore(stack.bus.engine).stats().pending == 0, 60, "all published"
            )
            # A queue that has no leader yet after the start says that it is empty.
            wait_until(
                lambda: (
                    len(stack.effects("overflow")) > count // 2
                    and stack.depth(OVERFLOWING) + stack.depth(overflow) == 0
                ),
                90,
                "a worker that has nothing left to do",
            )
            lost = set(range(count)) - set(stack.effects("overflow"))
            print(f"{len(lost)} of {count} lost by the broker")
            replay = stack.start("replay", "-Q", "overflowing", "--yes")
            assert replay.popen.wait(60) == 0, replay.output
            stack.wait_effects("overflow", range(count), timeout=90)
    assert set(stack.effects("overflow").values()) == {1}
    assert set(_items(stack, HEALTHY)) == set(range(count))
