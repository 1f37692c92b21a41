"""Handlers that ask sources of truth, in a worker on real brokers."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from eventbus import Context, Event, Gone
from eventbus.message import REASON_HEADER
from tests.waiting import wait_until

from .conftest import Shop


class OrderPaid(Event, name="sources.order.paid"):
    """A thin event."""

    order_id: UUID


ORDERS = {UUID(int=number): f"order {number}" for number in range(1, 4)}


def test_plain_and_coroutine_handlers_ask_plain_and_coroutine_sources(shop: Shop) -> None:
    asked: Counter[tuple[str, str]] = Counter()
    found: dict[str, list[Any]] = {"plain": [], "later": []}
    threads: dict[str, str] = {}

    def note(source: str, context: Context) -> None:
        asked[source, context.handler] += 1
        threads[f"{source} for {context.handler}"] = threading.current_thread().name

    @shop.bus.source("order")
    def order(id: UUID, context: Context) -> str:
        note("order", context)
        return ORDERS[id]

    @shop.bus.source("customer")
    async def customer(id: int, context: Context) -> str:
        note("customer", context)
        await asyncio.sleep(0)
        return f"customer {id}"

    @shop.bus.handler("sources.order.paid", queue="plain")
    def plain(event: OrderPaid, context: Context) -> None:
        found["plain"] += [context.fetch(event), context.fetch(event)]
        found["plain"] += [context.fetch("customer", 7), context.fetch("customer", 7)]

    @shop.bus.handler("sources.order.paid", queue="later")
    async def later(event: OrderPaid, context: Context) -> None:
        found["later"] += await asyncio.gather(context.fetch(event), context.fetch(event))
        asking = (context.fetch("customer", 7), context.fetch("customer", 7))
        found["later"] += await asyncio.gather(*asking)

    with shop.running():
        shop.publish(OrderPaid(order_id=UUID(int=1)))
        wait_until(lambda: all(len(each) == 4 for each in found.values()), 30, lambda: f"{found}")
    for each in found.values():
        assert each == ["order 1"] * 2 + ["customer 7"] * 2
    assert set(asked.values()) == {1}
    loop = threads["customer for later"]
    assert threads["customer for plain"] == loop, "clients would belong to two event loops"
    assert threads["order for plain"] != loop
    assert threads["order for later"] != loop, "a plain source would hold up every coroutine"


def test_a_source_reads_in_the_transaction_of_its_handler(shop: Shop) -> None:
    with shop.bus.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (id CHAR(36), total INTEGER)"))
        connection.execute(sa.text("INSERT INTO orders VALUES (:id, 12)"), {"id": str(UUID(int=1))})
    totals: list[Any] = []

    @shop.bus.source("order")
    def order(id: UUID, session: Session) -> Any:
        query = sa.text("SELECT total FROM orders WHERE id = :id")
        return session.execute(query, {"id": str(id)}).first()

    @shop.bus.handler("sources.order.paid", queue="q", transactional=True)
    def react(event: OrderPaid, context: Context) -> None:
        context.session.execute(sa.text("UPDATE orders SET total = 13"))
        totals.append(context.fetch(event).total)

    with shop.running():
        shop.publish(OrderPaid(order_id=UUID(int=1)))
        wait_until(lambda: totals, 30)
    assert totals == [13]


def test_a_source_that_is_down_is_asked_anew_by_the_retry(shop: Shop) -> None:
    asked: list[int] = []
    found: list[Any] = []

    @shop.bus.source("order")
    def order(id: UUID, context: Context) -> str:
        asked.append(context.attempt)
        if context.attempt == 1:
            raise ConnectionError("down")
        return ORDERS[id]

    @shop.bus.handler("sources.order.paid", queue="q")
    def react(event: OrderPaid, context: Context) -> None:
        found.append(context.fetch(event))

    with shop.running():
        shop.publish(OrderPaid(order_id=UUID(int=2)))
        wait_until(lambda: found, 30)
    assert found == ["order 2"]
    assert asked == [1, 2]


def test_an_event_about_what_is_gone_is_skipped_with_the_reason(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []
    shop.bus.source("order")(lambda id: ORDERS.get(UUID(id)))

    @shop.bus.handler("sources.order.paid", queue="q")
    def react(event: OrderPaid, context: Context) -> None:
        runs.append(context.attempt)
        context.fetch(event)

    @shop.bus.handler("sources.order.paid", queue="q", transactional=True)
    def catches(event: OrderPaid, context: Context) -> None:
        try:
            context.fetch(event)
        except Gone as gone:
            runs.append(-1)
            assert gone.thing == f"order {event.order_id}"

    missing = uuid4()
    with caplog.at_level("INFO", "eventbus"), shop.running() as worker:
        shop.publish(OrderPaid(order_id=missing))
        counts = worker.report().queues["shop.q"].handlers
        wait_until(lambda: counts["react"].skipped == 1 and len(runs) == 2, 30, lambda: f"{runs}")
        wait_until(lambda: counts["catches"].succeeded == 1, 30, lambda: f"{counts}")
    assert sorted(runs) == [-1, 1]
    assert f"order {missing} is gone" in caplog.text


def test_an_event_about_what_must_not_be_gone_is_parked_with_the_reason(shop: Shop) -> None:
    shop.bus.source("order", gone="dead-letter")(lambda id: None)

    @shop.bus.handler("sources.order.paid", queue="q", transactional=True)
    def react(event: OrderPaid, context: Context) -> None:
        context.fetch(event)

    missing = uuid4()
    with shop.running():
        shop.publish(OrderPaid(order_id=missing))
        (parked,) = shop.parked("q")
    assert parked.headers[REASON_HEADER] == f"order {missing} is gone"


def test_a_source_that_lags_behind_is_given_time(shop: Shop) -> None:
    attempts: list[int] = []

    @shop.bus.source("order", gone="retry")
    def order(id: UUID, context: Context) -> str | None:
        return ORDERS[id] if context.attempt == 2 else None

    @shop.bus.handler("sources.order.paid", queue="q")
    async def react(event: OrderPaid, context: Context) -> None:
        await context.fetch(event)
        attempts.append(context.attempt)

    with shop.running():
        shop.publish(OrderPaid(order_id=UUID(int=3)))
        wait_until(lambda: attempts, 30)
    assert attempts == [2]
