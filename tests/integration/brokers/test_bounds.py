"""Bounded queues, on both brokers: what overflows, what is refused, and the way back."""

from __future__ import annotations

import itertools
import time

from eventbus.brokers.port import Confirmation, Forward, Publisher, Settlement
from eventbus.message import HANDLER_HEADER
from eventbus.topology import Overflow, dead_letter_queue_name, overflow_queue_name
from tests.integration.brokers.conftest import QUEUE, Bench, bodies, message
from tests.waiting import wait_until

ROUTED, REFUSED = Confirmation.ROUTED, Confirmation.REFUSED
OVERFLOW = overflow_queue_name(QUEUE)


def test_the_oldest_that_are_too_many_go_to_the_overflow_queue_in_their_order(bench: Bench) -> None:
    bench.declare("#", max_length=5)
    assert set(bench.publish(*(message(n) for n in range(20)))) == {ROUTED}
    bench.wait_counts({QUEUE: 5, OVERFLOW: 15, dead_letter_queue_name(QUEUE): 0})
    _, received = bench.consume({OVERFLOW: 100})
    overflowed = [one.message for one in received.wait(15)]
    assert bodies(overflowed) == [message(n).body for n in range(15)]
    assert {one.routing_key for one in overflowed} == {"order.paid"}


def test_what_overflows_is_told_apart_by_whether_a_producer_sent_it(bench: Bench) -> None:
    bench.declare("#", max_length=1)
    bench.publish(message(1, **{HANDLER_HEADER: "forged"}))
    consumer, received = bench.consume()
    first = received.wait(1)[0]
    retried = first.message.with_headers({HANDLER_HEADER: "ours"})
    consumer.cancel()
    consumer.settle([Settlement(first, (Forward(retried, queue=QUEUE),))])
    bench.wait_counts({QUEUE: 1})
    bench.publish(message(2, **{HANDLER_HEADER: "forged"}))
    bench.wait_counts({QUEUE: 1, OVERFLOW: 1})
    bench.publish(message(3))
    bench.wait_counts({QUEUE: 1, OVERFLOW: 2})
    _, overflow = bench.consume({OVERFLOW: 10}, "feeder")
    ours, forged = overflow.wait(2)
    assert (ours.message.headers[HANDLER_HEADER], ours.from_exchange) == ("ours", False)
    assert (forged.message.headers[HANDLER_HEADER], forged.from_exchange) == ("forged", True)


def test_a_copy_for_one_queue_arrives_there_with_its_routing_key(bench: Bench) -> None:
    bench.declare("#")
    bench.declare("never", queue="shop.ledger")
    bench.publish(message(1))
    consumer, received = bench.consume()
    first = received.wait(1)[0]
    consumer.settle([Settlement(first, (Forward(first.message, queue="shop.ledger"),))])
    _, ledger = bench.consume({"shop.ledger": 10}, "ledger")
    copy = ledger.wait(1)[0]
    assert copy.message == message(1)
    assert not copy.from_exchange
    bench.wait_counts({QUEUE: 0, "shop.ledger": 0})


def test_an_overflow_queue_is_consumed_by_one_at_a_time(bench: Bench) -> None:
    bench.declare("#", max_length=1)
    first, one = bench.consume({OVERFLOW: 5}, "first")
    second, other = bench.consume({OVERFLOW: 5}, "second")
    bench.publish(*(message(n) for n in range(21)))
    wait_until(lambda: len(one.deliveries) + len(other.deliveries) == 5, 30, "one's prefetch")
    bench.wait_counts({QUEUE: 1, OVERFLOW: 15})
    assert not (one.deliveries and other.deliveries)
    active, active_received, waiting, got = (
        (first, one, second, other) if one.deliveries else (second, other, first, one)
    )
    active.settle([Settlement(delivery) for delivery in active_received.deliveries])
    wait_until(lambda: len(active_received.deliveries) == 10, 30, "the next ones")
    assert active_received.bodies == [message(n).body for n in range(10)]
    assert not got.deliveries
    active.close(5)
    got.wait(5)
    waiting.close(5)


def _fill(publisher: Publisher, numbers: itertools.count[int]) -> list[Confirmation]:
    """Publish one at a time until the first is refused."""
    confirmations = []
    deadline = time.monotonic() + 30
    while REFUSED not in confirmations:
        assert time.monotonic() < deadline, "nothing is refused"
        confirmations += publisher.publish([message(next(numbers))]).result(30)
    return confirmations


def test_a_full_queue_that_blocks_refuses_and_takes_again_once_there_is_room(bench: Bench) -> None:
    bench.declare("#", max_length=10, overflow=Overflow.BLOCK)
    bench.declare("other.#", queue="shop.other")
    publisher = bench.publisher()
    taken = _fill(publisher, itertools.count()).count(ROUTED)
    assert 10 <= taken <= 20
    assert publisher.publish([message(99), message(1, "other.event")]).result(30)[0] is REFUSED
    bench.wait_counts({QUEUE: taken})

    worker, received = bench.consume({QUEUE: 1_000})
    worker.settle([Settlement(delivery) for delivery in received.wait(taken)])
    wait_until(
        lambda: publisher.publish([message(100)]).result(30) == [ROUTED], 30, "it takes again"
    )
    received.wait(taken + 1)
