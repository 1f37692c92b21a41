"""What every broker adapter keeps: `eventbus.brokers.port`, sentence by sentence."""

from __future__ import annotations

import time

import pytest

from eventbus.brokers.port import Confirmation, Forward, QueueStats, Settlement
from eventbus.errors import TopologyMismatch
from eventbus.message import Message
from eventbus.topology import (
    Binding,
    Exchange,
    Queue,
    Topology,
    dead_letter_queue_name,
    retry_queue_name,
)
from tests.integration.brokers.conftest import EXCHANGE, QUEUE, Bench, Received, bodies, message
from tests.waiting import wait_until

DLQ = dead_letter_queue_name(QUEUE)
ROUTED, UNROUTED = Confirmation.ROUTED, Confirmation.UNROUTED


# ------------------------------------------------------------------------------- publishing


def test_each_message_has_its_own_confirmation(bench: Bench) -> None:
    bench.declare("order.paid")
    batch = [message(n, "order.paid" if n % 3 else "nobody.wants") for n in range(300)]
    assert bench.publish(*batch) == [ROUTED if n % 3 else UNROUTED for n in range(300)]


def test_nothing_to_publish_is_confirmed_as_nothing(bench: Bench) -> None:
    assert bench.publisher().publish([]).result(5) == []


def test_publishing_works_before_any_worker_has_declared_anything(bench: Bench) -> None:
    assert bench.publish(message()) == [UNROUTED]


def test_messages_of_one_publisher_arrive_in_order(bench: Bench) -> None:
    bench.declare("order.*")
    publisher = bench.publisher()
    futures = [
        publisher.publish([message(batch * 100 + n) for n in range(100)]) for batch in range(10)
    ]
    for future in futures:
        assert set(future.result(30)) == {ROUTED}
    _, received = bench.consume({QUEUE: 2_000})
    deliveries = received.wait(1_000)
    assert bodies([one.message for one in deliveries]) == [message(n).body for n in range(1_000)]


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("order.paid", ["order.paid"], ["order.paid.twice", "order", "order.payed"]),
        ("order.*", ["order.paid", "order.x"], ["order", "order.paid.twice", "user.paid"]),
        ("*.paid", ["order.paid"], ["paid", "a.order.paid"]),
        ("order.#", ["order", "order.paid", "order.paid.twice"], ["orders.paid"]),
        ("#", ["order", "a.b.c.d"], []),
        ("#.failed", ["failed", "order.failed", "a.b.failed"], ["failed.order"]),
        ("*.*", ["a.b"], ["a", "a.b.c"]),
        ("order.*.done", ["order.x.done"], ["order.done", "order.x.y.done"]),
    ],
)
def test_a_binding_pattern_matches_as_amqp_says(
    bench: Bench, pattern: str, matching: list[str], other: list[str]
) -> None:
    bench.declare(pattern)
    confirmations = bench.publish(*(message(0, key) for key in matching + other))
    assert confirmations == [ROUTED] * len(matching) + [UNROUTED] * len(other)


def test_a_message_that_two_patterns_of_a_queue_match_arrives_once(bench: Bench) -> None:
    bench.declare("order.*", "#.paid")
    bench.publish(message(1), message(2, "order.shipped"))
    _, received = bench.consume()
    received.wait(2)
    assert received.bodies == [message(1).body, message(2).body]
    assert bench.counts(QUEUE) == [0]


def test_each_bound_queue_gets_its_own_copy(bench: Bench) -> None:
    bench.declare("order.*")
    bench.declare("order.paid", queue="shop.ledger")
    bench.publish(message(1), message(2, "order.shipped"))
    bench.wait_counts({QUEUE: 2, "shop.ledger": 1})


def test_a_message_for_one_queue_reaches_no_other(bench: Bench) -> None:
    bench.declare("#")
    bench.declare("#", queue="shop.ledger")
    answer = bench.publisher().publish([message(1), message(2)], queue="shop.ledger").result(30)
    assert answer == [ROUTED, ROUTED]
    bench.wait_counts({QUEUE: 0, "shop.ledger": 2})
    _, received = bench.consume({"shop.ledger": 10})
    deliveries = received.wait(2)
    assert bodies([one.message for one in deliveries]) == [message(1).body, message(2).body]
    assert [one.from_exchange for one in deliveries] == [False, False]


def test_a_message_for_a_queue_that_is_not_there_is_unrouted(bench: Bench) -> None:
    bench.declare("#")
    publisher = bench.publisher()
    assert publisher.publish([message(1)], queue="shop.gone").result(30) == [UNROUTED]
    bench.declare("#", queue="shop.gone")
    assert publisher.publish([message(1)], queue="shop.gone").result(30) == [ROUTED]
    assert bench.counts(QUEUE, "shop.gone") == [0, 1]


def test_a_closed_publisher_answers_unknown(bench: Bench) -> None:
    publisher = bench.publisher()
    publisher.close()
    assert publisher.publish([message()]).result(5) == [Confirmation.UNKNOWN]
    assert publisher.wait_ready(0) is False
    assert publisher.trouble


# ---------------------------------------------------------------------- messages and encoding


def test_body_properties_and_headers_arrive_as_they_were(bench: Bench) -> None:
    bench.declare("#")
    sent = Message(
        body=bytes(range(256)),
        routing_key="order.paid",
        headers={
            "cloudEvents_id": "0192",
            "leer": "",
            "naïve": "größe ✓ 🎉",
            "count": 3,
            "large": 2**40,
            "negative": -1,
            "yes": True,
            "no": False,
        },
        message_id="0192-id",
        type="order.paid",
        content_type="application/octet-stream",
        content_encoding="identity",
        correlation_id="0192-correlation",
        app_id="shop",
        timestamp=1_700_000_000,
    )
    bench.publish(sent)
    _, received = bench.consume()
    (delivery,) = received.wait(1)
    assert delivery.message == sent
    assert (delivery.queue, delivery.redelivered, delivery.undecodable) == (QUEUE, False, None)


def test_a_bare_message_arrives_bare(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(Message(b"", "order.paid"))
    _, received = bench.consume()
    assert received.wait(1)[0].message == Message(b"", "order.paid")


@pytest.mark.parametrize("size", [1, 4_096, 131_063, 131_064, 131_065, 1_000_000])
def test_a_body_of_any_size_arrives_whole(bench: Bench, size: int) -> None:
    bench.declare("#")
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert bench.publish(Message(body, "order.paid")) == [ROUTED]
    _, received = bench.consume()
    assert received.wait(1)[0].message.body == body


def test_a_routing_key_may_have_any_letters_and_255_bytes(bench: Bench) -> None:
    bench.declare("bestellung.*", "a.#")
    keys = ["bestellung.bezahlt✓", "a." + "ü" * 126 + "b"]
    assert [len(key.encode()) for key in keys] == [21, 255]
    assert bench.publish(*(message(n, key) for n, key in enumerate(keys))) == [ROUTED] * 2
    _, received = bench.consume()
    assert [one.message.routing_key for one in received.wait(2)] == keys


# -------------------------------------------------------------------------------- settling


def test_an_acknowledged_message_is_gone(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(20)))
    consumer, received = bench.consume()
    consumer.settle([Settlement(one) for one in received.wait(20)])
    consumer.close(5)
    assert bench.counts(QUEUE) == [0]


def test_acknowledging_in_any_order_acknowledges_each_and_only_those(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(30)))
    consumer, received = bench.consume()
    deliveries = received.wait(30)
    for chosen in ([5, 3, 4], [0], [1, 29, 28], [2, 6, 7], [20]):
        consumer.settle([Settlement(deliveries[n]) for n in chosen])
    consumer.close(5)
    bench.wait_counts({QUEUE: 30 - 11})
    left = bodies(list(bench.admin().browse(QUEUE, 100)))
    settled = {5, 3, 4, 0, 1, 29, 28, 2, 6, 7, 20}
    assert sorted(left) == sorted(message(n).body for n in range(30) if n not in settled)


def test_a_message_given_back_is_delivered_again_as_redelivered(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message())
    consumer, received = bench.consume()
    consumer.settle([Settlement(received.wait(1)[0], requeue=True)])
    again = received.wait(2)[1]
    assert (again.message.body, again.redelivered) == (message().body, True)


def test_unsettled_messages_of_a_closed_consumer_go_to_another(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(10)))
    first, received = bench.consume(name="first")
    deliveries = received.wait(10)
    first.settle([Settlement(deliveries[0])])
    first.close(5)
    _, received = bench.consume(name="second")
    again = received.wait(9)
    assert sorted(one.message.body for one in again) == [message(n).body for n in range(1, 10)]
    assert all(one.redelivered for one in again)


def test_a_delayed_copy_comes_back_to_its_own_queue_alone(bench: Bench) -> None:
    bench.declare("#")
    bench.declare("#", queue="shop.ledger")
    bench.publish(message(7, colour="red"))
    consumer, received = bench.consume()
    delivery = received.wait(1)[0]
    started = time.monotonic()
    copy = delivery.message.with_headers({"eventbus-attempts": 1})
    consumer.settle([Settlement(delivery, (Forward(copy, 1_000),))])
    again = received.wait(2)[1].message
    assert 0.9 <= time.monotonic() - started < 5
    assert again.without_worker_headers() == message(7, colour="red")
    assert again.headers["eventbus-attempts"] == 1
    consumer.settle([Settlement(received.wait(2)[1])])
    consumer.close(5)
    bench.wait_counts({QUEUE: 0, DLQ: 0, "shop.ledger": 1})


def test_a_parked_copy_stands_in_the_dead_letter_queue(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(7))
    consumer, received = bench.consume()
    delivery = received.wait(1)[0]
    copy = delivery.message.with_headers({"eventbus-reason": "it is wrong"})
    consumer.settle([Settlement(delivery, (Forward(copy, None),))])
    bench.wait_counts({DLQ: 1})
    consumer.close(5)
    (parked,) = bench.admin().browse(DLQ, 10)
    assert parked.headers["eventbus-reason"] == "it is wrong"
    assert parked.without_worker_headers() == message(7)
    assert bench.counts(QUEUE) == [0]


def test_a_delivery_says_whether_a_producer_sent_it(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(1))
    consumer, received = bench.consume()
    first = received.wait(1)[0]
    consumer.settle([Settlement(first, (Forward(first.message, 1_000),))])
    retried = received.wait(2)[1]
    consumer.settle([Settlement(retried, (Forward(retried.message, None),))])
    bench.wait_counts({DLQ: 1})
    bench.admin().transfer(DLQ, lambda one: one, QUEUE, 1)
    moved = received.wait(3)[2]
    assert [one.from_exchange for one in (first, retried, moved)] == [True, False, False]


def test_several_copies_of_one_delivery_all_go_on(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(7))
    consumer, received = bench.consume()
    delivery = received.wait(1)[0]
    copies = [delivery.message.with_headers({"eventbus-handler": name}) for name in ("a", "b")]
    consumer.settle([Settlement(delivery, (Forward(copies[0], 1_000), Forward(copies[1], None)))])
    assert received.wait(2)[1].message.headers["eventbus-handler"] == "a"
    assert [one.headers["eventbus-handler"] for one in bench.admin().browse(DLQ, 10)] == ["b"]


def test_a_message_can_be_delayed_many_times(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(7))
    consumer, received = bench.consume()
    for attempt in range(1, 4):
        delivery = received.wait(attempt)[-1]
        copy = delivery.message.with_headers({"eventbus-attempts": attempt})
        consumer.settle([Settlement(delivery, (Forward(copy, 1_000),))])
    last = received.wait(4)[-1].message
    assert last.headers["eventbus-attempts"] == 3
    assert last.routing_key == "order.paid"


def test_a_reason_and_a_traceback_of_a_megabyte_do_not_stop_the_parking(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(1), message(2))
    consumer, received = bench.consume()
    first, second = received.wait(2)
    copy = first.message.with_headers(
        {"eventbus-reason": "because " + "x" * 2**20, "eventbus-traceback": "y" * 2**20 + "end"}
    )
    consumer.settle([Settlement(first, (Forward(copy, None),)), Settlement(second)])
    bench.wait_counts({DLQ: 1})
    consumer.close(5)
    (parked,) = bench.admin().browse(DLQ, 10)
    assert parked.headers["eventbus-reason"].startswith("because ")
    assert parked.headers["eventbus-traceback"].endswith("end")
    assert bench.counts(QUEUE) == [0]


# ------------------------------------------------------------------------------- consuming


def test_no_more_than_the_prefetch_is_delivered_unsettled(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(50)))
    consumer, received = bench.consume({QUEUE: 10})
    first = received.wait(10)
    bench.wait_counts({QUEUE: 40})
    assert len(received.deliveries) == 10
    consumer.settle([Settlement(one) for one in first[:3]])
    received.wait(13)
    bench.wait_counts({QUEUE: 37})
    assert len(received.deliveries) == 13


def test_each_queue_has_its_own_prefetch(bench: Bench) -> None:
    bench.declare("#")
    bench.declare("#", queue="shop.ledger")
    bench.publish(*(message(n) for n in range(20)))
    _, received = bench.consume({QUEUE: 3, "shop.ledger": 5})
    received.wait(8)
    bench.wait_counts({QUEUE: 17, "shop.ledger": 15})
    queues = [one.queue for one in received.deliveries]
    assert (queues.count(QUEUE), queues.count("shop.ledger")) == (3, 5)


def test_two_consumers_share_a_queue_without_doubling(bench: Bench) -> None:
    bench.declare("#")
    one, first = bench.consume({QUEUE: 10}, name="one")
    two, second = bench.consume({QUEUE: 10}, name="two")
    bench.publish(*(message(n) for n in range(200)))
    settled = {id(first): 0, id(second): 0}

    def drain() -> bool:
        for consumer, received in ((one, first), (two, second)):
            new = received.deliveries[settled[id(received)] :]
            settled[id(received)] += len(new)
            consumer.settle([Settlement(delivery) for delivery in new])
        return len(first.deliveries) + len(second.deliveries) >= 200

    wait_until(drain, 20, "200 deliveries")
    assert sorted(first.bodies + second.bodies) == sorted(message(n).body for n in range(200))
    assert first.bodies
    assert second.bodies


def test_after_cancel_nothing_new_comes_and_the_rest_can_be_settled(bench: Bench) -> None:
    bench.declare("#")
    consumer, received = bench.consume()
    bench.publish(message(1))
    delivery = received.wait(1)[0]
    consumer.cancel()
    assert consumer.wait_consuming(0) is False
    bench.publish(message(2))
    bench.wait_counts({QUEUE: 1})
    consumer.settle([Settlement(delivery)])
    consumer.close(5)
    assert received.bodies == [message(1).body]
    assert bodies(list(bench.admin().browse(QUEUE, 10))) == [message(2).body]


def test_a_paused_queue_brings_nothing_new_while_the_others_go_on(bench: Bench) -> None:
    bench.declare("#")
    bench.declare("#", queue="shop.ledger")
    bench.publish(message(1))
    consumer, received = bench.consume({QUEUE: 10, "shop.ledger": 10})
    consumer.settle([Settlement(one) for one in received.wait(2)])
    consumer.pause(QUEUE)
    admin = bench.admin()
    wait_until(lambda: admin.stats([QUEUE])[QUEUE].consumers == 0, 10, "no consumer")
    assert consumer.wait_consuming(10), "a paused queue is not waited for"
    bench.publish(message(2))
    received.wait(3)
    bench.wait_counts({QUEUE: 1, "shop.ledger": 0})
    consumer.resume(QUEUE)
    received.wait(4)
    assert [one.queue for one in received.deliveries].count(QUEUE) == 2
    wait_until(lambda: admin.stats([QUEUE])[QUEUE].consumers == 1, 10, "a consumer")
    consumer.settle([Settlement(one) for one in received.deliveries[2:]])
    consumer.close(5)
    bench.wait_counts({QUEUE: 0, "shop.ledger": 0})


def test_what_a_paused_queue_had_delivered_can_be_settled_in_every_way(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(4)))
    consumer, received = bench.consume()
    first, second, third, _ = received.wait(4)
    consumer.pause(QUEUE)
    consumer.settle([Settlement(first), Settlement(second, requeue=True)])
    consumer.settle([Settlement(third, (Forward(third.message, None),))])
    bench.wait_counts({QUEUE: 1, DLQ: 1})
    consumer.resume(QUEUE)
    assert received.wait(5)[4].message.body == message(1).body


def test_a_queue_that_is_paused_before_the_start_waits_for_its_resume(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(1))
    consumer, received = bench.consumer(), Received()
    consumer.pause(QUEUE)
    consumer.start({QUEUE: 10}, received.take)
    assert consumer.wait_consuming(10)
    consumer.pause(QUEUE)
    bench.publish(message(2))
    bench.wait_counts({QUEUE: 2})
    assert received.deliveries == []
    consumer.resume(QUEUE)
    received.wait(2)


def test_pausing_and_resuming_in_quick_succession_ends_as_it_was_last_told(bench: Bench) -> None:
    bench.declare("#")
    consumer, received = bench.consume()
    admin = bench.admin()
    for _ in range(20):
        consumer.pause(QUEUE)
        consumer.resume(QUEUE)
    bench.publish(message(1))
    consumer.settle([Settlement(received.wait(1)[0])])
    for _ in range(20):
        consumer.resume(QUEUE)
        consumer.pause(QUEUE)
    wait_until(lambda: admin.stats([QUEUE])[QUEUE].consumers == 0, 10, "no consumer")
    bench.publish(message(2))
    bench.wait_counts({QUEUE: 1})


def test_a_message_that_clean_stops_give_back_again_and_again_is_not_parked(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(1))
    consumer, received = bench.consume()
    for stops in range(1, 41):
        consumer.settle([Settlement(received.wait(stops)[-1], requeue=True)])
    received.wait(41)
    assert bench.counts(DLQ) == [0]


def test_a_delivery_says_how_often_it_was_handed_out_in_vain(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(1, **{"x-delivery-count": 7}))
    consumer, received = bench.consume()
    assert received.wait(1)[0].deliveries == 0, "a producer can send any header"
    consumer.close(5)
    for expected in (2, 3):
        consumer, received = bench.consume()
        again = received.wait(1)[0]
        assert (again.redelivered, 1 <= again.deliveries < expected) == (True, True)
        consumer.close(5)


def test_close_carries_out_what_was_settled_before(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(40)))
    consumer, received = bench.consume()
    deliveries = received.wait(40)
    consumer.settle([Settlement(one, (Forward(one.message, None),)) for one in deliveries[:20]])
    consumer.settle([Settlement(one) for one in deliveries[20:]])
    consumer.close(10)
    bench.wait_counts({QUEUE: 0, DLQ: 20})


def test_a_failing_callback_loses_nothing(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message())
    received = Received()
    failed: list[int] = []

    def take(deliveries: list) -> None:  # type: ignore[type-arg]
        if not failed:
            failed.append(len(deliveries))
            raise RuntimeError("on purpose")
        received.take(deliveries)

    bench.consumer().start({QUEUE: 10}, take)
    assert received.wait(1)[0].message.body == message().body


# ---------------------------------------------------------------------------------- admin


def test_declaring_the_same_again_changes_nothing(bench: Bench) -> None:
    topology = bench.declare("order.*")
    bench.publish(message())
    bench.admin().declare(topology)
    bench.wait_counts({QUEUE: 1})


def test_declaring_adds_what_is_missing(bench: Bench) -> None:
    topology = bench.declare("order.*")
    bench.admin().declare(topology + Topology(bindings=(Binding(EXCHANGE, QUEUE, "user.*"),)))
    assert bench.publish(message(1), message(2, "user.left")) == [ROUTED, ROUTED]


def test_a_queue_with_other_arguments_is_named_with_the_difference(bench: Bench) -> None:
    bench.declare("order.*", max_length=10)
    with pytest.raises(TopologyMismatch) as caught:
        bench.declare("order.*", max_length=20)
    for expected in (QUEUE, "x-max-length", "10", "20"):
        assert expected in str(caught.value)


def test_the_other_queues_are_declared_although_one_differs(bench: Bench) -> None:
    bench.declare("order.*", max_length=10)
    new = Queue("shop.new", {"x-queue-type": "quorum"})
    differing = Queue(QUEUE, {"x-queue-type": "quorum", "x-max-length": 20})
    with pytest.raises(TopologyMismatch):
        bench.admin().declare(Topology((Exchange(EXCHANGE),), (differing, new)))
    assert bench.counts("shop.new") == [0]


def test_stats_count_messages_and_consumers_of_the_queues_that_exist(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(1), message(2))
    bench.wait_counts({QUEUE: 2})
    admin = bench.admin()
    assert admin.stats([QUEUE, "shop.missing"]) == {QUEUE: QueueStats(2, 0)}
    bench.consume()
    wait_until(lambda: admin.stats([QUEUE])[QUEUE] == QueueStats(0, 1), 10, "one consumer")


def test_browsing_shows_the_first_messages_and_leaves_all(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(10)))
    admin = bench.admin()
    for _ in range(3):
        seen = [one.without_worker_headers() for one in admin.browse(QUEUE, 4)]
        assert seen == [message(n) for n in range(4)]
    bench.wait_counts({QUEUE: 10})
    assert len(list(admin.browse(QUEUE, 100))) == 10


def test_transfer_moves_what_is_chosen_and_leaves_the_rest_in_order(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(10)))

    def odd(one: Message) -> Message | None:
        number = int(one.body[10:-1])
        return one.with_headers({"seen": number}) if number % 2 else None

    assert bench.admin().transfer(QUEUE, odd, DLQ, 100) == 5
    bench.wait_counts({QUEUE: 5, DLQ: 5})
    moved = [one.without_worker_headers() for one in bench.admin().browse(DLQ, 10)]
    assert moved == [message(n, seen=n) for n in (1, 3, 5, 7, 9)]
    left = bodies(list(bench.admin().browse(QUEUE, 10)))
    assert left == [message(n).body for n in (0, 2, 4, 6, 8)]


def test_transfer_stops_at_its_limit(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(10)))
    assert bench.admin().transfer(QUEUE, lambda one: one, DLQ, 3) == 3
    bench.wait_counts({QUEUE: 7, DLQ: 3})


def test_transfer_into_the_same_queue_ends(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(10)))
    assert bench.admin().transfer(QUEUE, lambda one: one, QUEUE, 1_000) == 10
    bench.wait_counts({QUEUE: 10})


def test_transfer_to_a_queue_that_does_not_exist_removes_nothing(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(5)))
    with pytest.raises(Exception, match=r"shop\.missing"):
        bench.admin().transfer(QUEUE, lambda one: one, "shop.missing", 100)
    bench.wait_counts({QUEUE: 5})


def test_a_transfer_whose_decision_fails_keeps_the_rest(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(5)))

    def decide(one: Message) -> Message:
        if one.body == message(3).body:
            raise RuntimeError("on purpose")
        return one

    with pytest.raises(RuntimeError, match="on purpose"):
        bench.admin().transfer(QUEUE, decide, DLQ, 100)
    bench.wait_counts({QUEUE: 2, DLQ: 3})


def test_a_replayed_message_is_consumed_as_its_producer_sent_it(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(7))
    consumer, received = bench.consume()
    delivery = received.wait(1)[0]
    copy = delivery.message.with_headers({"eventbus-reason": "wrong", "eventbus-attempts": 3})
    consumer.settle([Settlement(delivery, (Forward(copy, None),))])
    bench.wait_counts({DLQ: 1})
    admin = bench.admin()
    assert admin.transfer(DLQ, lambda one: one.without_worker_headers(), QUEUE, 10) == 1
    assert received.wait(2)[1].message == message(7)


def test_purge_empties_a_queue_and_says_how_many(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(5)))
    bench.wait_counts({QUEUE: 5})
    assert bench.admin().purge(QUEUE) == 5
    assert bench.counts(QUEUE) == [0]


def test_the_server_and_the_masked_url_can_be_shown(bench: Bench) -> None:
    assert bench.admin().server().split()[0] in ("RabbitMQ", "embedded", "SQLite", "eventbus")
    assert "guest:guest" not in bench.broker.url
    bench.broker.ping()


def test_retry_queues_are_counted_under_their_own_names(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message())
    consumer, received = bench.consume()
    delivery = received.wait(1)[0]
    consumer.settle([Settlement(delivery, (Forward(delivery.message, 5_000),))])
    bench.wait_counts({retry_queue_name(QUEUE, 5_000): 1})
