"""Topology: names, arguments, delay levels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.errors import DeclarationError
from eventbus.topology import (
    RETRY_LEVELS_MS,
    Binding,
    Exchange,
    Overflow,
    Queue,
    Topology,
    check_name_part,
    dead_letter_queue_name,
    queue_name,
    retry_level_ms,
    retry_queue_name,
    subscription_topology,
)


def billing(
    longest_delay_ms: int = 30_000,
    max_length: int = 5,
    overflow: Overflow = Overflow.DEAD_LETTER,
) -> Topology:
    return subscription_topology(
        "events",
        "shop.billing",
        ["order.paid", "order.*"],
        longest_delay_ms=longest_delay_ms,
        max_length=max_length,
        overflow=overflow,
    )


def queues(topology: Topology) -> dict[str, Queue]:
    return {queue.name: queue for queue in topology.queues}


def test_names() -> None:
    assert queue_name("shop", "billing") == "shop.billing"
    assert dead_letter_queue_name("shop.billing") == "shop.billing.dlq"
    assert retry_queue_name("shop.billing", 5000) == "shop.billing.retry.5000"


def test_a_subscription_needs_its_queue_a_dead_letter_queue_and_retry_queues() -> None:
    topology = billing()
    assert set(queues(topology)) == {
        "shop.billing",
        "shop.billing.overflow",
        "shop.billing.dlq",
        "shop.billing.retry.1000",
        "shop.billing.retry.5000",
        "shop.billing.retry.30000",
    }
    assert topology.exchanges == (Exchange("events", "topic"),)
    assert topology.bindings == (
        Binding("events", "shop.billing", "order.paid"),
        Binding("events", "shop.billing", "order.*"),
    )


def test_every_queue_is_a_quorum_queue() -> None:
    assert {queue.arguments["x-queue-type"] for queue in billing().queues} == {"quorum"}


def test_the_excess_of_a_queue_goes_to_its_overflow_queue() -> None:
    arguments = queues(billing(max_length=5))["shop.billing"].arguments
    assert arguments["x-max-length"] == 5
    assert arguments["x-overflow"] == "drop-head"
    assert arguments["x-dead-letter-exchange"] == ""
    assert arguments["x-dead-letter-routing-key"] == "shop.billing.overflow"
    overflow = queues(billing())["shop.billing.overflow"].arguments
    assert overflow["x-single-active-consumer"] is True
    assert "x-max-length" not in overflow


def test_a_queue_that_blocks_refuses_its_excess_and_has_no_overflow_queue() -> None:
    found = queues(billing(overflow=Overflow.BLOCK))
    assert "shop.billing.overflow" not in found
    arguments = found["shop.billing"].arguments
    assert arguments["x-overflow"] == "reject-publish"
    assert arguments["x-dead-letter-routing-key"] == "shop.billing.dlq"
    assert arguments["x-dead-letter-strategy"] == "at-least-once"


def test_a_retry_goes_back_to_its_own_queue_alone() -> None:
    arguments = queues(billing())["shop.billing.retry.5000"].arguments
    assert arguments["x-message-ttl"] == 5000
    assert arguments["x-dead-letter-exchange"] == ""
    assert arguments["x-dead-letter-routing-key"] == "shop.billing"
    assert arguments["x-dead-letter-strategy"] == "at-least-once"
    assert arguments["x-overflow"] == "reject-publish"


def test_nothing_that_holds_messages_expires() -> None:
    assert not any("x-expires" in queue.arguments for queue in billing(86_400_000).queues)


def test_a_dead_letter_queue_keeps_what_it_has() -> None:
    arguments = queues(billing())["shop.billing.dlq"].arguments
    assert not {"x-message-ttl", "x-max-length"} & set(arguments)
    assert arguments["x-delivery-limit"] > 1_000_000


@pytest.mark.parametrize(
    ("delay_ms", "level_ms"),
    [(0, 1_000), (1, 1_000), (999, 1_000), (1_000, 1_000), (4_000, 1_000), (4_550, 5_000),
     (5_000, 5_000), (29_000, 30_000), (86_400_000, 86_400_000), (10**12, 86_400_000)],
)  # fmt: skip
def test_the_level_of_a_delay(delay_ms: int, level_ms: int) -> None:
    assert retry_level_ms(delay_ms) == level_ms


@given(st.integers(1_000, 3 * 86_400_000))
def test_a_delay_is_never_overshot_by_more_than_a_tenth(delay_ms: int) -> None:
    level = retry_level_ms(delay_ms)
    assert level in RETRY_LEVELS_MS
    assert level <= delay_ms * 1.1


def test_a_sum_names_each_part_once() -> None:
    other = subscription_topology("events", "shop.mail", ["order.paid"], longest_delay_ms=0)
    both = billing() + other + billing()
    assert both.exchanges == (Exchange("events"),)
    assert len(both.queues) == len(billing().queues) + len(other.queues)
    assert len(both.bindings) == 3


@pytest.mark.parametrize(
    "name", ["", "a b", "a\n", "a*", "#", "x" * 101, "ü" * 51, None, 7, "\ud800", "a\0"]
)
def test_a_name_that_fits_no_queue_is_refused(name: object) -> None:
    with pytest.raises(DeclarationError, match="queue name"):
        check_name_part("queue name", name)


def test_the_longest_names_still_make_a_queue_name() -> None:
    part = check_name_part("queue name", "x" * 100)
    longest = retry_queue_name(queue_name(part, part), RETRY_LEVELS_MS[-1])
    assert len(longest.encode()) <= 255
