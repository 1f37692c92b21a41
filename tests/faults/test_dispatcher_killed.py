"""Guarantees 1 and 3: no ghost, no loss, order by key, whatever dies on the producer's side."""

from __future__ import annotations

import json
import random

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from eventbus import tables
from eventbus.outbox.store import OutboxStore
from tests.faults.stack import Stack
from tests.waiting import wait_until


def _added(stack: Stack, items: range) -> list[object]:
    return [stack.shop.ItemAdded(item=item) for item in items]


def test_a_rolled_back_transaction_leaves_no_event(stack: Stack) -> None:
    stack.dispatcher()
    stack.worker("-Q", "added")
    with pytest.raises(ZeroDivisionError), Session(stack.bus.engine) as session, session.begin():
        stack.bus.publish(stack.shop.ItemAdded(item=1), session=session)
        raise ZeroDivisionError
    stack.publish([stack.shop.ItemAdded(item=2)])
    stack.wait_effects("add", [2])
    assert set(stack.effects("add")) == {2}
    with stack.bus.engine.connect() as connection:
        logged = connection.scalar(sa.select(sa.func.count()).select_from(tables.event_log))
    assert logged == 1


@pytest.mark.parametrize(
    "point",
    [
        "dispatcher.claimed:2",
        "dispatcher.published:2",
        "dispatcher.confirmed:2",
        "dispatcher.settled:2",
    ],
)
def test_a_dispatcher_killed_at_any_point_loses_nothing_and_nothing_happens_twice(
    stack: Stack, point: str
) -> None:
    stack.publish(_added(stack, range(300)))
    doomed = stack.dispatcher("--batch-size", "50", EVENTBUS_CRASH_AT=point)
    doomed.wait_killed()
    assert OutboxStore(stack.bus.engine).stats().pending > 0
    stack.dispatcher()
    stack.worker("-Q", "added")
    stack.wait_effects("add", range(300))
    wait_until(lambda: OutboxStore(stack.bus.engine).stats().pending == 0, 20, "an empty outbox")
    assert set(stack.effects("add").values()) == {1}


def test_killed_between_confirm_and_settle_it_publishes_again(server_stack: Stack) -> None:
    """Proves that the crash point is where it says: the broker has the events twice."""
    stack = server_stack
    stack.publish(_added(stack, range(20)))
    stack.dispatcher(EVENTBUS_CRASH_AT="dispatcher.confirmed:1").wait_killed()
    wait_until(lambda: stack.depth("shop.added") == 20, 10, "20 messages, published once")
    stack.dispatcher()
    wait_until(lambda: stack.depth("shop.added") == 40, 30, "40 messages, published twice")


def test_two_dispatchers_one_killed_keep_the_order_by_key(stack: Stack) -> None:
    keys = [f"order-{number}" for number in range(40)]
    generator = random.Random(7)
    next_item = dict.fromkeys(keys, 0)
    first = stack.dispatcher("--batch-size", "20")
    stack.dispatcher("--batch-size", "20")
    published = 0

    def publish_some(count: int) -> int:
        for _ in range(count):
            batch = generator.sample(keys, 10)
            events = []
            for key in batch:
                events.append(stack.shop.ItemAdded(item=next_item[key]))
                next_item[key] += 1
            chosen = iter(batch)
            stack.publish(events, key=lambda event, chosen=chosen: next(chosen))
        return count * 10

    published += publish_some(60)
    first.kill()
    published += publish_some(60)
    wait_until(
        lambda: OutboxStore(stack.bus.engine).stats().pending == 0,
        60,
        lambda: f"an empty outbox\n{stack.logs()}",
    )
    messages = stack.parked("shop.added")
    assert len(messages) >= published
    _assert_first_occurrences_in_order(messages, next_item)


def _assert_first_occurrences_in_order(messages: list, expected: dict[str, int]) -> None:
    seen: dict[str, list[int]] = {key: [] for key in expected}
    for message in messages:
        key = message.headers["cloudEvents_partitionkey"]
        item = json.loads(message.body)["item"]
        if item not in seen[key]:
            seen[key].append(item)
    assert seen == {key: list(range(count)) for key, count in expected.items()}


def test_the_broker_is_away_for_ten_seconds_while_1000_events_are_published(
    own_stack: Stack, own_rabbitmq
) -> None:
    stack = own_stack
    stack.dispatcher()
    stack.worker("-Q", "added")
    stack.publish(_added(stack, range(10)))
    stack.wait_effects("add", range(10))
    own_rabbitmq.stop()
    for start in range(10, 1010, 100):
        stack.publish(_added(stack, range(start, start + 100)))
    assert OutboxStore(stack.bus.engine).stats().pending == 1000
    stack.processes[0].wait_output("not publishing")
    own_rabbitmq.start()
    stack.wait_effects("add", range(1010), timeout=90)
    assert set(stack.effects("add").values()) == {1}
    assert all(process.popen.poll() is None for process in stack.processes)


def test_the_database_is_away_and_the_dispatcher_comes_back(own_stack: Stack, own_postgres) -> None:
    stack = own_stack
    stack.dispatcher()
    stack.publish(_added(stack, range(10)))
    wait_until(lambda: OutboxStore(stack.bus.engine).stats().pending == 0, 20, "an empty outbox")
    own_postgres.kill()
    stack.processes[0].wait_output("next try in")
    own_postgres.start()
    stack.bus.engine.dispose()
    stack.publish(_added(stack, range(10, 20)))
    wait_until(lambda: OutboxStore(stack.bus.engine).stats().pending == 0, 30, "an empty outbox")
    assert stack.processes[0].popen.poll() is None
    assert stack.depth("shop.added") == 20
