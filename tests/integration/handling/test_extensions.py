"""Middleware, hooks and what handlers are given, in a worker on real brokers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from eventbus import Context, Event, PublishOptions, Reject, RetryLater, Skip
from eventbus.context import current_context
from eventbus.errors import DeclarationError
from eventbus.hooks import (
    DeadLettered,
    HandlerFailed,
    HandlerSkipped,
    HandlerSucceeded,
    Retried,
    WorkerReady,
    WorkerShutdown,
    WorkerStarting,
)
from eventbus.message import REASON_HEADER
from eventbus.workers.worker import Worker
from tests.waiting import wait_until

from .conftest import Shop


class Sent(Event, name="extensions.sent"):
    """An event with a number."""

    number: int


class Bank:
    """Something an application provides."""

    def __init__(self, key: str) -> None:
        self.key = key


class Tenancy:
    """Sends the tenant along, and notes what is around what."""

    def __init__(self, notes: list[Any]) -> None:
        self.notes = notes

    def publish_scope(self, call_next: Any, event: Event, options: PublishOptions) -> Any:
        return call_next(event, options.with_attributes(tenant="acme"))

    def consume_scope(self, call_next: Any, event: Event, context: Context) -> Any:
        assert current_context.get() is context
        self.notes.append(f"into {context.handler} for {context.extensions['tenant']}")
        returned = call_next(event, context)
        self.notes.append(f"out of {context.handler}")
        return returned

    async def consume_scope_async(self, call_next: Any, event: Event, context: Context) -> Any:
        assert current_context.get() is context
        self.notes.append(f"into {context.handler} for {context.extensions['tenant']}")
        returned = await call_next(event, context)
        self.notes.append(f"out of {context.handler}")
        return returned


def test_middleware_is_around_plain_and_coroutine_handlers_and_sends_attributes_along(
    shop: Shop,
) -> None:
    notes: list[Any] = []
    shop.bus.add_middleware(Tenancy(notes))

    @shop.bus.handler("extensions.sent", queue="plain")
    def plain(event: Sent) -> None:
        notes.append("plain")

    @shop.bus.handler("extensions.sent", queue="later")
    async def later(event: Sent) -> None:
        await asyncio.sleep(0)
        notes.append("later")

    with shop.running():
        shop.publish(Sent(number=1))
        wait_until(lambda: len(notes) == 6, 30, lambda: f"both handlers; {notes}")
    for name in ("plain", "later"):
        expected = [f"into {name} for acme", name, f"out of {name}"]
        assert [note for note in notes if name in note] == expected


def test_what_middleware_raises_decides_as_if_the_handler_had(shop: Shop) -> None:
    runs: list[int] = []
    raising: dict[int, BaseException] = {
        1: Reject("not this one"),
        2: Skip("nor this"),
        3: RetryLater(timedelta(seconds=1)),
    }

    class Gate:
        def consume_scope(self, call_next: Any, event: Sent, context: Context) -> Any:
            if event.number in raising and context.attempt == 1:
                raise raising[event.number]
            return None if event.number == 4 else call_next(event, context)

    shop.bus.add_middleware(Gate())

    @shop.bus.handler("extensions.sent", queue="gated")
    def gated(event: Sent) -> None:
        runs.append(event.number)

    with shop.running() as worker:
        shop.publish(*(Sent(number=number) for number in range(5)))
        parked = shop.parked("gated", 2)
        counts = worker.report().queues["shop.gated"].handlers["gated"]
        wait_until(lambda: counts.skipped == 1 and 3 in runs, 30, "the others")
    assert sorted(runs) == [0, 3]
    reasons = sorted(message.headers[REASON_HEADER] for message in parked)
    assert reasons[1] == "not this one"
    assert "MiddlewareError" in reasons[0]
    assert "returned without calling call_next" in reasons[0]


def test_handlers_are_given_what_they_ask_for(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    notes: list[Any] = []

    def bank(context: Context) -> Iterator[Bank]:
        yield Bank(context.event_id)
        # Inside the transaction: the row can still be written.
        context.session.execute(sa.text("INSERT INTO paid VALUES (2)"))
        notes.append("closed")

    shop.bus.provide(Bank, bank)
    with shop.bus.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE paid (number INTEGER)"))

    @shop.bus.handler("extensions.sent", queue="paying", transactional=True)
    def pay(event: Sent, session: Session, bank: Bank, logger: logging.Logger) -> None:
        session.execute(sa.text("INSERT INTO paid VALUES (1)"))
        logger.warning("paying with %s", bank.key)
        notes.append(bank.key)

    with shop.running():
        [event_id] = shop.publish(Sent(number=1))
        wait_until(lambda: _paid(shop) == [1, 2], 30, lambda: f"both rows, not {_paid(shop)}")
    assert notes == [event_id, "closed"]
    [record] = [one for one in caplog.records if one.name.endswith(".pay")]
    assert record.event_id == event_id  # type: ignore[attr-defined]


def _paid(shop: Shop) -> list[int]:
    with shop.bus.engine.connect() as connection:
        return sorted(connection.scalars(sa.text("SELECT number FROM paid")))


def test_a_worker_does_not_start_with_a_parameter_that_nothing_provides(shop: Shop) -> None:
    @shop.bus.handler("extensions.sent", queue="paying")
    def pay(event: Sent, bank: Bank) -> None: ...

    with pytest.raises(DeclarationError, match="parameter 'bank' of type Bank"):
        Worker(shop.bus).run()


def test_hooks_are_told_what_happens(shop: Shop) -> None:
    told: list[Any] = []
    for name in ("worker_starting", "worker_ready", "worker_shutdown", "retried", "dead_lettered"):
        shop.bus.on(name)(told.append)
    for name in ("handler_succeeded", "handler_failed", "handler_skipped"):
        shop.bus.on(name)(told.append)

    @shop.bus.on("handler_failed")
    def broken(happening: HandlerFailed) -> None:
        raise RuntimeError("a hook with a defect")

    errors = {2: ValueError("no"), 3: Skip("stale"), 4: Reject("never")}

    @shop.bus.handler("extensions.sent", queue="hooked")
    def react(event: Sent, context: Context) -> None:
        if event.number in errors and context.attempt == 1:
            raise errors[event.number]

    def of(kind: type) -> list[Any]:
        return [one for one in told if isinstance(one, kind)]

    with shop.running(name="w1"):
        ids = shop.publish(*(Sent(number=number) for number in range(1, 5)))
        shop.parked("hooked")
        wait_until(lambda: len(of(HandlerSucceeded)) == 2, 30, "the retried event")
    assert told[0] == WorkerStarting("w1", ("shop.hooked",))
    assert of(WorkerReady) == [WorkerReady("w1", ("shop.hooked",))]
    assert told[-1] == WorkerShutdown("w1", True)
    assert {one.event.number for one in of(HandlerSucceeded)} == {1, 2}
    assert {repr(one.error) for one in of(HandlerFailed)} == {"ValueError('no')", "Reject('never')"}
    assert [(one.event.number, one.reason) for one in of(HandlerSkipped)] == [(3, "stale")]
    assert of(Retried) == [Retried("shop.hooked", "react", ids[1], 1, timedelta(seconds=1))]
    assert of(DeadLettered) == [DeadLettered("shop.hooked", "react", ids[3], "never")]


def test_what_a_handler_publishes_goes_through_middleware_and_is_caused_by_its_event(
    shop: Shop,
) -> None:
    shop.bus.add_middleware(Tenancy([]))
    done = threading.Event()
    seen: list[Context] = []

    @shop.bus.handler("extensions.sent", queue="chain", transactional=True)
    def react(event: Sent, context: Context) -> None:
        if event.number == 1:
            shop.bus.publish(Sent(number=2), session=context.session)
        seen.append(context)
        if event.number == 2:
            done.set()

    with shop.running():
        [first] = shop.publish(Sent(number=1))
        # The dispatcher may have taken the follower along, if the worker was quick.
        wait_until(lambda: done.is_set() or _dispatched(shop), 30, "its follower")
        assert done.wait(30)
    assert seen[1].envelope.causationid == first
    assert seen[1].extensions == {"tenant": "acme"}


def _dispatched(shop: Shop) -> bool:
    try:
        shop.dispatch()
    except AssertionError:
        return False
    return True


def test_publish_async_goes_through_middleware(sqlite_url: str) -> None:
    pytest.importorskip("aiosqlite")
    from eventbus import EventBus, database

    bus = EventBus("shop", database_url=sqlite_url)
    database.upgrade(bus.engine)
    bus.add_middleware(Tenancy([]))

    async def publish() -> None:
        engine = create_async_engine(sqlite_url.replace("sqlite:", "sqlite+aiosqlite:"))
        async with engine.begin() as connection:
            await bus.publish_async(Sent(number=1), session=connection)
        await engine.dispose()

    asyncio.run(publish())
    with bus.engine.connect() as connection:
        assert '"tenant":"acme"' in connection.scalar(
            sa.text("SELECT attributes FROM eventbus_outbox")
        )
    bus.engine.dispose()
