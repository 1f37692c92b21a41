"""One contract for all that can be passed as ``session=``, on all databases.

An event exists if and only if its transaction committed; publishing neither commits nor talks to
anybody but the caller's own connection.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from eventbus import EventBus, NotInTransaction, ValidationError, database, wakeup
from eventbus.context import Context, current_context
from eventbus.envelope import Envelope
from eventbus.errors import DatabaseNotMigrated, EventBusError
from eventbus.event import Event
from eventbus.outbox.row import OUTBOX_CHANNEL, shard_of

from .events import OrderPaid
from .sessions import (
    Transactions,
    WithAsyncConnection,
    WithAsyncSession,
    WithConnection,
    WithSession,
    application_engine,
)

Rows = Callable[[], list[dict[str, Any]]]


class Cancelled(Exception):
    """What makes a transaction roll back."""


PAID = OrderPaid(order_id=7)


# -- the fate of the transaction -----------------------------------------------------------------


def test_a_committed_transaction_leaves_one_row(transactions: Transactions, rows: Rows) -> None:
    before = time.time_ns() // 1_000_000
    with transactions.transaction():
        event_id = transactions.publish(PAID)
    after = time.time_ns() // 1_000_000
    (row,) = rows()
    created = row.pop("created_at_ms")
    attributes = json.loads(row.pop("attributes"))
    moment = attributes.pop("time")
    assert before <= created <= after
    assert row == {
        "seq": 1,
        "event_id": event_id,
        "name": "order.paid",
        "partition_key": None,
        "shard": shard_of(event_id),
        "body": b'{"order_id":7}',
        "available_at_ms": created,
        "state": "pending",
        "attempts": 0,
        "last_error": None,
    }
    assert attributes == {
        "specversion": "1.0",
        "id": event_id,
        "source": "shop",
        "type": "order.paid",
    }
    assert moment.endswith("Z")


def test_a_rolled_back_transaction_leaves_no_event(transactions: Transactions, rows: Rows) -> None:
    with pytest.raises(Cancelled), transactions.transaction():
        transactions.publish(PAID)
        transactions.flush()
        raise Cancelled
    assert rows() == []


def test_a_rolled_back_savepoint_leaves_none_of_its_events(
    transactions: Transactions, rows: Rows
) -> None:
    with transactions.transaction():
        first = transactions.publish(PAID)
        with pytest.raises(Cancelled), transactions.savepoint():
            transactions.publish(PAID)
            transactions.flush()
            raise Cancelled
        with pytest.raises(Cancelled), transactions.savepoint():
            transactions.publish(PAID)
            raise Cancelled
        with transactions.savepoint():
            third = transactions.publish(PAID)
        last = transactions.publish(PAID)
    assert [row["event_id"] for row in rows()] == [first, third, last]


def test_an_event_is_not_there_before_the_commit(transactions: Transactions, rows: Rows) -> None:
    with transactions.transaction():
        transactions.publish(PAID)
        transactions.flush()
        assert rows() == []
    assert len(rows()) == 1


def test_a_plain_sqlite_engine_rolls_back_as_well(bus: EventBus, rows: Rows) -> None:
    """Without the listeners for savepoints, as most applications have it."""
    engine = sa.create_engine(bus.settings.database_url)
    with pytest.raises(Cancelled), Session(engine) as session, session.begin():
        bus.publish(PAID, session=session)
        raise Cancelled
    assert rows() == []
    with Session(engine) as session, session.begin():
        bus.publish(PAID, session=session)
    assert len(rows()) == 1
    engine.dispose()


# -- refused -------------------------------------------------------------------------------------


def test_publishing_without_a_transaction_is_refused(
    transactions: Transactions, rows: Rows
) -> None:
    with transactions.outside(), pytest.raises(NotInTransaction, match="without a transaction"):
        transactions.publish(PAID)
    assert rows() == []


def test_publishing_after_the_commit_is_refused(bus: EventBus, rows: Rows) -> None:
    engine = application_engine(bus.settings.database_url)
    with Session(engine) as session:
        session.begin()
        bus.publish(PAID, session=session)
        session.commit()
        with pytest.raises(NotInTransaction, match="after its commit; publish before the commit"):
            bus.publish(PAID, session=session)
    assert len(rows()) == 1
    engine.dispose()


def test_publishing_with_no_session_names_both_ways(bus: EventBus, rows: Rows) -> None:
    with pytest.raises(NotInTransaction, match=r"session=session.*transaction\.atomic\(\)"):
        bus.publish(PAID)
    with pytest.raises(NotInTransaction):
        bus.publish_many([PAID])
    assert rows() == []


def test_an_autocommit_engine_is_refused(
    transactions: Transactions, bus: EventBus, rows: Rows
) -> None:
    kind = type(transactions)
    for options in (
        {"isolation_level": "AUTOCOMMIT"},
        {"execution_options": {"isolation_level": "AUTOCOMMIT"}},
    ):
        autocommit = kind(transactions.url, bus, **options)
        with pytest.raises(NotInTransaction, match="AUTOCOMMIT"), autocommit.transaction():
            autocommit.publish(PAID)
        autocommit.close()
    assert rows() == []


def test_a_session_of_another_database_is_refused(
    transactions: Transactions, bus: EventBus, tmp_path: Path, rows: Rows
) -> None:
    other = make_url(transactions.url).set(database=str(tmp_path / "other.db"))
    elsewhere = EventBus("shop", database_url=other)
    transactions.bus = elsewhere
    with transactions.transaction(), pytest.raises(EventBusError) as caught:
        transactions.publish(PAID)
    assert "set database_url to the session's database" in str(caught.value)
    assert "other.db" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert rows() == []


def test_the_same_file_by_another_path_is_the_same_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    engine = database.make_engine(f"sqlite:///{tmp_path}/real/shop.db")
    database.upgrade(engine)
    monkeypatch.chdir(tmp_path / "real")
    for url in ("sqlite:///shop.db", f"sqlite:///{tmp_path}/link/shop.db"):
        bus = EventBus("shop", database_url=url)
        with engine.begin() as connection:
            bus.publish(PAID, session=connection)


def test_an_engine_with_its_own_way_to_connect_is_trusted(bus: EventBus, rows: Rows) -> None:
    real = application_engine(bus.settings.database_url)
    if real.dialect.name == "sqlite":
        pytest.skip("a SQLite URL without a database means one in memory")
    creator = real.dialect.connect
    arguments = real.dialect.create_connect_args(make_url(bus.settings.database_url))
    engine = sa.create_engine(
        f"{real.dialect.name}+{real.dialect.driver}://",
        creator=lambda: creator(*arguments[0], **arguments[1]),
    )
    with engine.begin() as connection:
        bus.publish(PAID, session=connection)
    assert len(rows()) == 1
    engine.dispose()


@pytest.mark.parametrize("session", ["postgresql://localhost/shop", object(), 7])
def test_what_is_no_session_is_refused(bus: EventBus, session: Any) -> None:
    with pytest.raises(EventBusError, match="pass a SQLAlchemy Session"):
        bus.publish(PAID, session=session)


def test_an_engine_is_no_session(bus: EventBus) -> None:
    with pytest.raises(EventBusError, match="pass a SQLAlchemy Session"):
        bus.publish(PAID, session=bus.engine)  # type: ignore[arg-type]


def test_a_session_without_a_bind_is_told_so(bus: EventBus) -> None:
    for session in (Session(), AsyncSession().sync_session):
        session.begin()
        with pytest.raises(EventBusError, match="no database for the outbox"):
            bus.publish(PAID, session=session)
        session.close()


def test_an_async_connection_has_to_be_awaited(bus: EventBus, rows: Rows) -> None:
    transactions = WithAsyncConnection(bus.settings.database_url, bus)
    refused = pytest.raises(EventBusError, match=r"await bus\.publish_async")
    with transactions.transaction(), refused:
        bus.publish(PAID, session=transactions.session)
    transactions.close()
    assert rows() == []


def test_a_missing_table_is_named_with_its_remedy(
    transactions: Transactions, database_url: str
) -> None:
    engine = database.make_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE eventbus_outbox")
    engine.dispose()
    if type(transactions) is WithAsyncSession:
        # It is the flush that fails, in SQLAlchemy's own words.
        with pytest.raises(DBAPIError, match="eventbus_outbox"), transactions.transaction():
            transactions.publish(PAID)
        return
    refused = pytest.raises(DatabaseNotMigrated, match="eventbus db upgrade")
    with refused as caught, transactions.transaction():
        transactions.publish(PAID)
    assert caught.value.exit_code == 4
    assert "secret" not in str(caught.value)


# -- several at once -----------------------------------------------------------------------------


def test_several_events_are_written_in_order(bus: EventBus, rows: Rows) -> None:
    for kind in (WithSession, WithConnection, WithAsyncSession):
        before = len(rows())
        transactions = kind(bus.settings.database_url, bus)
        with transactions.transaction():
            ids = transactions.publish_many(
                [OrderPaid(order_id=n) for n in range(50)], key=lambda paid: paid.order_id % 3
            )
        transactions.close()
        written = rows()[before:]
        assert [row["event_id"] for row in written] == ids
        assert [row["body"] for row in written] == [b'{"order_id":%d}' % n for n in range(50)]
        assert [row["partition_key"] for row in written] == [str(n % 3) for n in range(50)]


def test_one_bad_event_among_several_leaves_none(bus: EventBus, rows: Rows) -> None:
    spoilt = OrderPaid(order_id=2)
    spoilt.__dict__["order_id"] = "two"
    for kind in (WithSession, WithConnection, WithAsyncSession):
        transactions = kind(bus.settings.database_url, bus)
        # The caller goes on, and commits.
        with transactions.transaction():
            for bad in (spoilt, "order.paid", None):
                with pytest.raises(ValidationError):
                    transactions.publish_many([PAID, bad, PAID])  # type: ignore[list-item]
        transactions.close()
    assert rows() == []


def test_no_events_are_no_error(bus: EventBus) -> None:
    assert bus.publish_many([]) == []


# -- options -------------------------------------------------------------------------------------


def test_key_delay_and_subject_are_kept(transactions: Transactions, rows: Rows) -> None:
    with transactions.transaction():
        transactions.publish(PAID, key=7, delay=timedelta(minutes=5), subject="order 7")
    (row,) = rows()
    attributes = json.loads(row["attributes"])
    assert (row["partition_key"], attributes["partitionkey"]) == ("7", "7")
    assert row["shard"] == shard_of("7")
    assert attributes["subject"] == "order 7"
    assert row["available_at_ms"] - row["created_at_ms"] == 300_000


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE eventbus_outbox; --", "%_%s", "{{7*7}}", "<script>", "ü😀", "x" * 255]
)
def test_text_stays_text(transactions: Transactions, rows: Rows, text: str) -> None:
    with transactions.transaction():
        transactions.publish(PAID, key=text, subject=text)
    (row,) = rows()
    assert row["partition_key"] == text
    assert json.loads(row["attributes"])["subject"] == text


@pytest.mark.parametrize(
    "options",
    [
        {"key": ""},
        {"key": "x" * 256},
        {"key": "a\0"},
        {"key": "\ud800"},
        {"subject": ""},
        {"subject": 7},
        {"subject": "a\0"},
        {"delay": timedelta(seconds=-1)},
        {"delay": timedelta(days=366)},
        {"delay": 5},
    ],
    ids=lambda options: repr(options)[:30],
)
def test_options_that_cannot_be_used_are_refused(
    bus: EventBus, rows: Rows, options: dict[str, Any]
) -> None:
    (name,) = options
    transactions = WithSession(bus.settings.database_url, bus)
    with transactions.transaction(), pytest.raises(ValidationError, match=f"^{name}="):
        transactions.publish(PAID, **options)
    transactions.close()
    assert rows() == []


def test_what_is_no_event_is_refused(bus: EventBus, rows: Rows) -> None:
    class Nameless(Event):
        pass

    transactions = WithSession(bus.settings.database_url, bus)
    with transactions.transaction():
        for published in ("order.paid", {"order_id": 7}, OrderPaid, None, Nameless()):
            with pytest.raises(ValidationError, match="is not an event"):
                transactions.publish(published)  # type: ignore[arg-type]
    transactions.close()
    assert rows() == []


def test_an_event_over_the_limit_is_refused(database_url: str, bus: EventBus, rows: Rows) -> None:
    class NoteTaken(Event, name="note.taken", style="snapshot", reason="a test of large bodies"):
        text: str

    small = EventBus("shop", database_url=database_url, max_message_bytes=2000)
    transactions = WithSession(database_url, small)
    with transactions.transaction():
        with pytest.raises(ValidationError, match="more than max_message_bytes=2000"):
            transactions.publish(NoteTaken(text="x" * 2000))
        transactions.publish(NoteTaken(text="x" * 1000))
    # MySQL's plain BLOB would cut this one off.
    transactions.bus = EventBus("shop", database_url=database_url)
    with transactions.transaction():
        transactions.publish(NoteTaken(text="x" * 200_000))
    transactions.close()
    assert [len(row["body"]) for row in rows()] == [1011, 200_011]


def test_what_a_handler_publishes_is_caused_by_its_event(bus: EventBus, rows: Rows) -> None:
    cause = Envelope("first", "mail", "mail.sent", correlationid="root", traceparent="00-1-2-01")
    token = current_context.set(Context(bus, cause, "react", "shop.react", 1, {}))
    try:
        transactions = WithSession(bus.settings.database_url, bus)
        with transactions.transaction():
            transactions.publish(PAID)
        transactions.close()
    finally:
        current_context.reset(token)
    attributes = json.loads(rows()[0]["attributes"])
    assert attributes["correlationid"] == "root"
    assert attributes["causationid"] == "first"
    assert attributes["traceparent"] == "00-1-2-01"


# -- what publishing does not do -----------------------------------------------------------------


def test_publishing_never_commits(transactions: Transactions) -> None:
    commits: list[str] = []
    for name in ("commit", "commit_twophase", "rollback"):
        sqlalchemy_event.listen(transactions.engine, name, lambda *_, n=name: commits.append(n))
    with transactions.transaction():
        transactions.publish(PAID)
        transactions.flush()
        assert commits == []
    assert commits == ["commit"]


def test_publishing_opens_no_connection_but_the_callers(transactions: Transactions) -> None:
    """Not to the broker, and none to the database beside the one that carries the transaction."""
    opened: list[Any] = []

    def on_connect(*arguments: Any) -> None:
        opened.append(arguments)

    with transactions.transaction():
        transactions.publish(PAID)
        transactions.flush()
        sqlalchemy_event.listen(sa.pool.Pool, "connect", on_connect)
        try:
            transactions.publish(PAID)
            transactions.flush()
        finally:
            sqlalchemy_event.remove(sa.pool.Pool, "connect", on_connect)
    assert opened == []
    assert not {"broker", "engine"} & set(transactions.bus.__dict__)


@pytest.fixture
def silent_broker() -> Iterator[socket.socket]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_publishing_needs_no_broker(
    database_url: str, bus: EventBus, rows: Rows, silent_broker: socket.socket
) -> None:
    port = silent_broker.getsockname()[1]
    url = f"amqp://guest:guest@127.0.0.1:{port}/"
    transactions = WithSession(
        database_url, EventBus("shop", database_url=database_url, broker_url=url)
    )
    with transactions.transaction():
        transactions.publish(PAID)
    transactions.close()
    assert len(rows()) == 1
    with selectors.DefaultSelector() as selector:
        selector.register(silent_broker, selectors.EVENT_READ)
        assert selector.select(0) == []


# -- waking the dispatcher -----------------------------------------------------------------------


@pytest.fixture
def notified(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str]]:
    """What `wakeup.notify` was called with."""
    calls: list[tuple[Any, str]] = []
    monkeypatch.setattr(wakeup, "notify", lambda url, channel: calls.append((url, channel)))
    return calls


def test_the_dispatcher_is_woken_once_by_the_commit(
    transactions: Transactions, notified: list[tuple[Any, str]]
) -> None:
    with transactions.transaction():
        transactions.publish(PAID)
        with transactions.savepoint():
            transactions.publish(PAID)
        transactions.flush()
        assert notified == []
    assert len(notified) == 1
    url, channel = notified[0]
    assert channel == OUTBOX_CHANNEL
    expected = make_url(transactions.url)
    assert (url.database, url.password) == (expected.database, expected.password)


def test_nobody_is_woken_by_a_rollback_but_by_the_commit_that_follows(
    transactions: Transactions, notified: list[tuple[Any, str]]
) -> None:
    with pytest.raises(Cancelled), transactions.transaction():
        transactions.publish(PAID)
        raise Cancelled
    assert notified == []
    # The same connection comes back from the pool.
    with transactions.transaction():
        transactions.publish(PAID)
    assert len(notified) == 1


def test_the_row_is_there_when_a_session_wakes_the_dispatcher(
    bus: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(wakeup, "notify", lambda *_: seen.append(len(rows())))
    for kind in (WithSession, WithAsyncSession):
        transactions = kind(bus.settings.database_url, bus)
        with transactions.transaction():
            transactions.publish(PAID)
            with transactions.savepoint():
                transactions.publish(PAID)
        transactions.close()
    assert seen == [2, 4]
