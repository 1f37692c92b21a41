"""Data of earlier versions go through the upcasters of the class before it reads them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from eventbus import Event
from eventbus.message import PATH_HEADER, REASON_HEADER
from tests.integration.handling.conftest import Shop
from tests.waiting import wait_until

from .conftest import LockContract

FORMATS = ["json", "avro", "protobuf"]


def versions(format: str) -> tuple[type[Event], type[Event], type[Event]]:
    """Three versions of an event, none of which can read the one before it by itself."""

    class First(Event, name="order.paid", format=format):
        order_id: UUID
        euros: int

    class Second(Event, name="order.paid", format=format):
        order_id: UUID
        cents: int

    class Third(Event, name="order.paid", format=format):
        order_id: UUID
        amount: int
        minor_units: int

    return First, Second, Third


@pytest.mark.parametrize("format", FORMATS)
def test_every_version_is_read_through_the_rest_of_the_chain(
    shop: Shop, lock: LockContract, format: str
) -> None:
    First, Second, Third = versions(format)
    for version in (First, Second, Third):
        lock(version)

    @Third.upcast(from_version=1)
    def to_cents(data: dict[str, Any]) -> dict[str, Any]:
        data["cents"] = data.pop("euros") * 100
        return data

    @Third.upcast(from_version=2)
    def to_amount(data: dict[str, Any]) -> dict[str, Any]:
        return {"order_id": data["order_id"], "amount": data["cents"], "minor_units": 2}

    handled: list[Any] = []

    @shop.bus.handler(Third, queue="billing")
    def charge(event: Third) -> None:  # type: ignore[valid-type]
        handled.append(event)

    one = uuid4()
    with shop.running():
        shop.publish(
            First(order_id=one, euros=3),
            Second(order_id=one, cents=42),
            Third(order_id=one, amount=7, minor_units=0),
        )
        wait_until(lambda: len(handled) == 3, 15, "the handled events")
    assert sorted((each.amount, each.minor_units) for each in handled) == [
        (7, 0),
        (42, 2),
        (300, 2),
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_a_chain_that_breaks_parks_the_message_with_the_reason(
    shop: Shop, lock: LockContract, format: str
) -> None:
    First, Second, Third = versions(format)
    for version in (First, Second, Third):
        lock(version)

    @Third.upcast(from_version=2)
    def fail(data: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("no rate for this day")

    @shop.bus.handler(Third, queue="billing")
    def charge(event: Third) -> None:  # type: ignore[valid-type]
        raise AssertionError("it cannot be read")

    with shop.running():
        shop.publish(First(order_id=uuid4(), euros=3), Second(order_id=uuid4(), cents=42))
        parked = shop.parked("billing", 2)
    reasons = {
        message.headers["cloudEvents_dataschema"][-1]: message.headers[REASON_HEADER]
        for message in parked
    }
    assert "from_version=1" in reasons["1"]
    assert "version 2 raised LookupError: no rate for this day" in reasons["2"]
    assert {message.headers[PATH_HEADER] for message in parked} == {"$"}


def test_a_message_that_says_no_version_is_of_the_first(shop: Shop) -> None:
    First, Second, _ = versions("json")

    @Second.upcast(from_version=1)
    def to_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "cents": data["euros"] * 100}

    handled: list[Any] = []

    @shop.bus.handler(Second, queue="billing")
    def charge(event: Second) -> None:  # type: ignore[valid-type]
        handled.append(event)

    with shop.running():
        shop.publish(First(order_id=uuid4(), euros=3))
        wait_until(lambda: handled, 15, "the handled event")
    assert handled[0].cents == 300
