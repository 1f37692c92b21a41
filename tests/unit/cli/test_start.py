"""Settings that contradict each other are found before a process starts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eventbus import Event, EventBus, Retry
from eventbus.cli import start
from eventbus.errors import ConfigurationError, DeclarationError, UnknownName


def bus_with(retry: Retry | None = None, **settings: object) -> EventBus:
    bus = EventBus("shop", **settings)

    @bus.handler("order.paid", queue="billing", retry=retry)
    def charge(event: Event) -> None: ...

    return bus


def test_the_defaults_contradict_nothing() -> None:
    assert start.contradictions(bus_with()) == []


@pytest.mark.parametrize(("ttl", "accepted"), [("600s", False), ("599s", False), ("601s", True)])
def test_an_event_must_be_remembered_longer_than_its_longest_retry(
    ttl: str, accepted: bool
) -> None:
    retry = Retry(max_attempts=3, delay=timedelta(minutes=10), backoff="fixed")
    found = start.contradictions(bus_with(retry, idempotency_ttl=ttl))
    assert (found == []) is accepted
    if not accepted:
        assert "handler 'charge' (600s)" in found[0]


@pytest.mark.parametrize(("lease", "accepted"), [("2.9s", False), ("3s", True)])
def test_a_lease_must_leave_time_to_renew_it(lease: str, accepted: bool) -> None:
    found = start.contradictions(bus_with(claim_lease=lease))
    assert (found == []) is accepted


def test_all_contradictions_are_told_at_once_as_a_usage_error() -> None:
    bus = bus_with(claim_lease="1s", idempotency_ttl="1s")
    with pytest.raises(ConfigurationError, match=r"claim_lease=1s.*idempotency_ttl=1s") as caught:
        start.refuse_contradictions(bus)
    assert caught.value.exit_code == 2


class Bank:
    """Nobody provides it."""


def test_a_handler_that_cannot_be_given_what_it_asks_for_is_refused_before_anything_connects() -> (
    None
):
    bus = EventBus("shop", database_url="postgresql://nowhere.invalid/shop")

    @bus.handler("order.paid", queue="billing")
    def charge(event: Event, bank: Bank) -> None: ...

    with pytest.raises(DeclarationError, match=r"bus.provide\(Bank, factory\)") as caught:
        start.refuse_contradictions(bus)
    assert caught.value.exit_code == 2


def test_queues_by_short_and_full_name_each_once() -> None:
    bus = bus_with()
    chosen = start.chosen_subscriptions(bus, ["billing", "shop.billing"])
    assert [subscription.queue for subscription in chosen] == ["shop.billing"]


def test_an_unknown_queue_lists_those_that_are_declared() -> None:
    with pytest.raises(UnknownName, match="declared: billing") as caught:
        start.chosen_subscriptions(bus_with(), ["xyz"])
    assert caught.value.exit_code == 2


def test_a_bus_without_handlers_has_nothing_to_consume() -> None:
    with pytest.raises(UnknownName, match="declares no handler"):
        start.chosen_subscriptions(EventBus("shop"), [])
