"""Events that aggregates record: written with their flush, gone with their rollback, never lost."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from eventbus import EventBus, NotInTransaction
from eventbus import bus as bus_module
from eventbus.errors import DeclarationError, EventBusError

from .events import Base, Order, OrderPaid
from .sessions import WithAsyncSession, application_engine

Rows = Callable[[], list[dict[str, Any]]]


class Cancelled(Exception):
    """What makes a transaction roll back."""


@pytest.fixture
def bus(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> EventBus:
    """The only bus of the process; other tests leave some behind until they are collected."""
    monkeypatch.setattr(bus_module, "_buses", type(bus_module._buses)([bus]))
    return bus


@pytest.fixture
def new_session(bus: EventBus) -> Iterator[Callable[..., Session]]:
    """Makes sessions of an application that has one order, number 1."""
    engine = application_engine(bus.settings.database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add(Order(id=1, name="first"))
    yield lambda **options: Session(engine, **options)
    engine.dispose()


def paid(rows: Rows) -> list[int]:
    return [json.loads(row["body"])["order_id"] for row in rows()]


def test_an_event_is_written_with_what_it_was_recorded_with(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session, session.begin():
        order = session.get_one(Order, 1)
        order.name = "paid"
        order.pay()
        assert rows() == []
    (row,) = rows()
    assert row["name"] == "order.paid"
    assert row["partition_key"] == "1"
    assert json.loads(row["attributes"])["subject"] == "order 1"


def test_an_event_of_a_new_object_is_written(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session, session.begin():
        before_add = Order(id=2, name="second")
        before_add.pay()
        session.add(before_add)
        after_add = Order(id=3, name="third")
        session.add(after_add)
        after_add.pay()
    assert sorted(paid(rows)) == [2, 3]


def test_an_event_of_an_object_with_no_changed_column_is_written(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session, session.begin():
        session.get_one(Order, 1).pay()
    assert paid(rows) == [1]


def test_an_event_of_a_deleted_object_is_written(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session, session.begin():
        order = session.get_one(Order, 1)
        order.pay()
        session.delete(order)
    assert paid(rows) == [1]


def test_an_event_is_written_once_however_often_the_session_flushes(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session:
        order = session.get_one(Order, 1)
        order.pay()
        order.name = "a"
        session.flush()
        order.name = "b"
        session.flush()
        session.commit()
        order.name = "c"
        session.commit()
        order.pay()
        session.commit()
    assert paid(rows) == [1, 1]


def test_several_events_of_one_object_keep_their_order(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session, session.begin():
        order = session.get_one(Order, 1)
        for number in range(5):
            order.record_event(OrderPaid(order_id=number))
    assert paid(rows) == list(range(5))


def test_an_event_that_an_application_hook_records_during_the_flush_is_written(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session, session.begin():
        order = session.get_one(Order, 1)
        sqlalchemy_event.listen(session, "after_flush", lambda *_: order.pay(), once=True)
        order.name = "changed"
    assert paid(rows) == [1]


# -- rolled back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("flushed", [False, True])
def test_a_rollback_takes_the_recorded_events_along(
    new_session: Callable[..., Session], rows: Rows, flushed: bool
) -> None:
    with new_session() as session:
        order = session.get_one(Order, 1)
        order.name = "paid"
        order.pay()
        if flushed:
            session.flush()
        session.rollback()
        # A later transaction with the same object must not write what never happened.
        order.name = "other"
        session.commit()
    assert paid(rows) == []


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("changed", [False, True])
def test_a_rolled_back_savepoint_takes_only_its_own_events_along(
    new_session: Callable[..., Session], rows: Rows, flushed: bool, changed: bool
) -> None:
    with new_session() as session, session.begin():
        order = session.get_one(Order, 1)
        order.record_event(OrderPaid(order_id=10))
        with pytest.raises(Cancelled), session.begin_nested():
            order.record_event(OrderPaid(order_id=20))
            if changed:
                order.name = "inside"
            if flushed:
                session.flush()
            raise Cancelled
        order.record_event(OrderPaid(order_id=30))
        with session.begin_nested():
            order.record_event(OrderPaid(order_id=40))
    assert paid(rows) == [10, 30, 40]


def test_the_events_of_a_released_savepoint_go_with_the_outer_rollback(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session:
        order = session.get_one(Order, 1)
        with session.begin_nested():
            order.pay()
        session.rollback()
        order.name = "later"
        session.commit()
    assert paid(rows) == []


@pytest.mark.parametrize("recorded", ["before add", "after add"])
def test_a_new_object_whose_insert_failed_keeps_its_events_for_the_next_attempt(
    new_session: Callable[..., Session], rows: Rows, recorded: str
) -> None:
    with new_session() as session:
        order = Order(id=2, name="first")
        if recorded == "before add":
            order.pay()
        session.add(order)
        if recorded == "after add":
            order.pay()
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        assert rows() == []
        order.name = "second"
        session.add(order)
        session.commit()
        order.name = "third"
        session.commit()
    assert paid(rows) == [2]


def test_a_new_object_that_left_before_its_flush_keeps_its_events(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session:
        order = Order(id=2, name="second")
        session.add(order)
        order.pay()
        session.rollback()
        session.add(order)
        session.commit()
    assert paid(rows) == [2]


def test_a_new_object_in_a_rolled_back_savepoint_can_be_added_again(
    new_session: Callable[..., Session], rows: Rows
) -> None:
    with new_session() as session, session.begin():
        order = Order(id=2, name="first")
        order.pay()
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(order)
            session.flush()
        order.name = "second"
        session.add(order)
    assert paid(rows) == [2]


# -- which bus -----------------------------------------------------------------------------------


def test_of_several_buses_the_class_names_one(
    new_session: Callable[..., Session], bus: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = EventBus("other", database_url=bus.settings.database_url)
    with new_session() as session, session.begin():
        order = session.get_one(Order, 1)
        order.pay()
        with pytest.raises(
            DeclarationError, match="2 buses; say which one with '__eventbus__ = bus'"
        ):
            session.flush()
            session.commit()
    assert rows() == []
    monkeypatch.setattr(Order, "__eventbus__", other)
    with new_session() as session, session.begin():
        session.get_one(Order, 1).pay()
    assert [json.loads(row["attributes"])["source"] for row in rows()] == ["other"]


def test_with_no_bus_the_flush_fails_rather_than_lose_the_event(
    new_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_buses", type(bus_module._buses)())
    with new_session() as session:
        session.get_one(Order, 1).pay()
        with pytest.raises(EventBusError, match="no EventBus exists in this process"):
            session.commit()
        session.rollback()


def test_a_bus_that_is_gone_is_not_counted() -> None:
    EventBus("gone")
    gc.collect()
    assert "gone" not in {bus.service for bus in bus_module.live_buses()}


def test_an_autocommit_session_refuses_recorded_events_too(bus: EventBus, rows: Rows) -> None:
    engine = application_engine(bus.settings.database_url, isolation_level="AUTOCOMMIT")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        order = Order(id=2, name="second")
        order.pay()
        session.add(order)
        with pytest.raises(NotInTransaction):
            session.commit()
        session.rollback()
    engine.dispose()
    assert rows() == []


def test_an_async_session_writes_recorded_events(
    new_session: Callable[..., Session], bus: EventBus, rows: Rows
) -> None:
    transactions = WithAsyncSession(bus.settings.database_url, bus)
    with pytest.raises(Cancelled), transactions.transaction():
        transactions.run(lambda: transactions.session.get_one(Order, 1)).pay()
        raise Cancelled
    with transactions.transaction():
        transactions.run(lambda: transactions.session.get_one(Order, 1)).pay()
    transactions.close()
    assert paid(rows) == [1]
