"""A RabbitMQ node that is killed, restarted and frozen under the adapter."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from eventbus.brokers.port import Confirmation, Forward, Settlement
from eventbus.brokers.rabbitmq import RabbitMQBroker, publisher
from eventbus.errors import BrokerUnavailable
from eventbus.topology import Overflow, retry_queue_name
from tests.integration.brokers.conftest import EXCHANGE, QUEUE, Bench, message
from tests.services import RabbitMQ
from tests.waiting import wait_until

pytestmark = pytest.mark.faults

ROUTED, UNKNOWN = Confirmation.ROUTED, Confirmation.UNKNOWN


@pytest.fixture
def bench(own_rabbitmq: RabbitMQ) -> Iterator[Bench]:
    bench = Bench(RabbitMQBroker(own_rabbitmq.url, EXCHANGE))
    yield bench
    bench.close()


def test_a_killed_node_loses_nothing_that_was_confirmed(
    bench: Bench, own_rabbitmq: RabbitMQ
) -> None:
    bench.declare("#")
    part = bench.publisher()
    consumer, received = bench.consume({QUEUE: 500})
    outcomes: dict[int, Confirmation] = {}
    stop_publishing, stop_settling = threading.Event(), threading.Event()

    def publish() -> None:
        number = 0
        while not stop_publishing.is_set():
            if not part.wait_ready(0.05):
                assert part.trouble
            batch = [message(n) for n in range(number, number + 50)]
            for one, outcome in enumerate(part.publish(batch).result(60), number):
                outcomes[one] = outcome
            number += 50

    def settle() -> None:
        settled = 0
        while not stop_settling.is_set():
            new = received.deliveries[settled:]
            settled += len(new)
            consumer.settle([Settlement(one) for one in new])
            stop_settling.wait(0.005)

    publishing = threading.Thread(target=publish)
    settling = threading.Thread(target=settle)
    publishing.start()
    settling.start()
    try:
        received.wait(1_000)
        own_rabbitmq.kill()
        wait_until(lambda: part.trouble and consumer.trouble, 10, "both have noticed")
        assert consumer.wait_consuming(0) is False
        with pytest.raises(BrokerUnavailable, match="refused"):
            bench.broker.ping()
        own_rabbitmq.start()
        assert part.wait_ready(30), part.trouble
        assert consumer.wait_consuming(30), consumer.trouble
        confirmed = Counter(outcomes.values())[ROUTED]
        wait_until(
            lambda: Counter(list(outcomes.values()))[ROUTED] >= confirmed + 1_000,
            # A queue that has no leader yet leaves its first publish unanswered until the time-out.
            90,
            "publishing is confirmed again",
        )
        stop_publishing.set()
        publishing.join(60)
        assert set(outcomes.values()) == {ROUTED, UNKNOWN}
        confirmed_bodies = {message(n).body for n, one in outcomes.items() if one is ROUTED}
        wait_until(
            lambda: confirmed_bodies <= set(received.bodies), 30, "all that was confirmed came"
        )
    finally:
        stop_publishing.set()
        stop_settling.set()
        publishing.join(60)
        settling.join(60)


def test_after_a_restart_the_consumer_is_back_with_its_prefetch_and_rate(
    bench: Bench, own_rabbitmq: RabbitMQ
) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(3_000)))
    consumer, received = bench.consume({QUEUE: 50})
    received.wait(50)
    own_rabbitmq.stop()
    wait_until(lambda: consumer.trouble, 10, "trouble")
    own_rabbitmq.start()
    received.wait(100, timeout=30)
    bench.wait_counts({QUEUE: 2_950})
    assert len(received.deliveries) == 100
    settled = 50
    while len(received.deliveries) < 3_050:
        new = received.wait(settled + 1)[settled:]
        settled += len(new)
        consumer.settle([Settlement(one) for one in new])
    assert len(set(received.bodies)) == 3_000


def test_a_frozen_node_answers_nothing_and_nothing_hangs(
    bench: Bench, own_rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_SECONDS", 1.0)
    bench.declare("#")
    part = bench.publisher()
    own_rabbitmq.pause()
    try:
        assert part.publish([message(1)]).result(10) == [UNKNOWN]
        wait_until(lambda: part.trouble, 10, "trouble")
        assert part.publish([message(2)]).result(1) == [UNKNOWN]
    finally:
        own_rabbitmq.resume()
    assert part.wait_ready(30)
    assert part.publish([message(3)]).result(10) == [ROUTED]


def test_retries_that_fall_due_while_their_queue_refuses_wait_in_the_broker(
    own_rabbitmq: RabbitMQ,
) -> None:
    """By default RabbitMQ tries to move them every three minutes."""
    own_rabbitmq.eval(
        "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 2000)"
    )
    bench = Bench(RabbitMQBroker(own_rabbitmq.create_vhost(), EXCHANGE))
    try:
        bench.declare("#", max_length=20, overflow=Overflow.BLOCK)
        bench.publish(*(message(n) for n in range(10)))
        consumer, received = bench.consume({QUEUE: 10})
        first = received.wait(10)
        consumer.cancel()
        full = bench.publish(*(message(n) for n in range(100, 160))).count(ROUTED)
        consumer.settle([Settlement(one, (Forward(one.message, 1_000),)) for one in first])
        retries = retry_queue_name(QUEUE, 1_000)
        wait_until(lambda: bench.counts(retries) == [10], 20, "waiting retries")
        wait_until(lambda: bench.counts(retries) == [0], 20, "retries that are due")
        assert bench.counts(QUEUE) == [full]
        worker, again = bench.consume({QUEUE: 1_000}, "worker")
        worker.settle([Settlement(one) for one in again.wait(full)])
        back = {one.message.body for one in again.wait(full + 10)[full:]}
        assert back == {message(n).body for n in range(10)}
    finally:
        bench.close()
