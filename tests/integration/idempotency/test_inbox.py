"""The transactional inbox: effect and memory in one transaction, which the handler cannot end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from eventbus import Skip, tables
from eventbus.database import make_engine, upgrade
from eventbus.errors import (
    DatabaseNotMigrated,
    IdempotencyStoreUnavailable,
    TransactionRefused,
)
from eventbus.workers.idempotency import inbox as inbox_module
from eventbus.workers.idempotency.inbox import Inbox, InboxBusy, InboxMismatch
from eventbus.workers.idempotency.inbox_retention import purge_inbox
from eventbus.workers.idempotency.port import Key
from tests.services import PostgreSQL
from tests.waiting import wait_until

from .stores import waits_for_a_lock

KEY = Key("book", "/shop 0190", "9f86d081")
metadata = sa.MetaData()
effects = sa.Table(
    "effects", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False)
)
INSERT = "INSERT INTO effects (id) VALUES ({})"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    upgrade(engine)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_the_effect_and_its_memory_are_committed_together(engine: Engine) -> None:
    inbox = Inbox(engine, "shop")
    with inbox.transaction(KEY) as session:
        add(session, 1)
        assert committed(engine) == []
    assert committed(engine) == [1]
    with inbox.transaction(KEY) as session:
        assert session is None


def test_a_handler_that_raises_leaves_neither(engine: Engine) -> None:
    inbox = Inbox(engine, "shop")
    with pytest.raises(ZeroDivisionError), inbox.transaction(KEY) as session:
        add(session, 1)
        raise ZeroDivisionError
    assert committed(engine) == []
    with inbox.transaction(KEY) as session:
        add(session, 2)
    assert committed(engine) == [2]


def test_a_handler_that_skips_leaves_its_memory_and_no_effect(engine: Engine) -> None:
    inbox = Inbox(engine, "shop")
    with pytest.raises(Skip, match="stale"), inbox.transaction(KEY) as session:
        add(session, 1)
        assert session is not None
        session.begin_nested()
        add(session, 2)
        raise Skip("stale")
    assert committed(engine) == []
    with inbox.transaction(KEY) as session:
        assert session is None


def test_a_handler_may_skip_because_of_a_database_error(engine: Engine) -> None:
    """The error has undone the transaction on PostgreSQL, and with it the inbox row."""
    inbox = Inbox(engine, "shop")
    run(inbox, Key("other", "/shop 1", "f"), 1)
    with pytest.raises(Skip), inbox.transaction(KEY) as session:
        assert session is not None
        try:
            add(session, 1)
        except sa.exc.IntegrityError:
            raise Skip("it is there already") from None
    assert committed(engine) == [1]
    with inbox.transaction(KEY) as session:
        assert session is None


def test_a_handler_that_was_refused_a_commit_cannot_skip(engine: Engine) -> None:
    inbox = Inbox(engine, "shop")
    with pytest.raises(TransactionRefused), inbox.transaction(KEY) as session:
        add(session, 1)
        assert session is not None
        with contextlib.suppress(TransactionRefused):
            session.commit()
        raise Skip("done")
    assert committed(engine) == []
    assert in_inbox(engine) == 0


def test_the_same_id_with_other_data_is_no_duplicate(engine: Engine) -> None:
    inbox = Inbox(engine, "shop")
    run(inbox, KEY, 1)
    other = Key(KEY.handler, KEY.event_id, "other")
    with pytest.raises(InboxMismatch, match="other data"), inbox.transaction(other):
        pytest.fail("the handler was run")


def test_handlers_and_services_do_not_share_their_inbox(engine: Engine) -> None:
    run(Inbox(engine, "shop"), KEY, 1)
    run(Inbox(engine, "shop"), Key("other", KEY.event_id, KEY.fingerprint), 2)
    run(Inbox(engine, "billing"), KEY, 3)
    assert committed(engine) == [1, 2, 3]


@pytest.mark.parametrize("event_id", ["", " a", "a ", "A", "a", "ä", "\0", "\ud800", "x" * 10_000])
def test_any_id_can_be_kept(engine: Engine, event_id: str) -> None:
    others = ["", "A", "a", "a ", "a", "ä", "x" * 10_001]
    inbox = Inbox(engine, "shop")
    for number, other in enumerate({*others} - {event_id}):
        run(inbox, Key("book", other, "f"), number)
    run(inbox, Key("book", event_id, "f"), 100)
    with inbox.transaction(Key("book", event_id, "f")) as session:
        assert session is None


def test_savepoints_belong_to_the_handler(engine: Engine) -> None:
    with Inbox(engine, "shop").transaction(KEY) as session:
        assert session is not None
        add(session, 1)
        with session.begin_nested():
            add(session, 2)
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            add(session, 3)
            raise ZeroDivisionError
        nested = session.begin_nested()
        add(session, 4)
        nested.rollback()
    assert committed(engine) == [1, 2]


def enter_and_leave(session: Session) -> None:
    with session:
        pass


ESCAPES: dict[str, Callable[[Session], object]] = {
    "commit": lambda session: session.commit(),
    "rollback": lambda session: session.rollback(),
    "close": lambda session: session.close(),
    "reset": lambda session: session.reset(),
    "invalidate": lambda session: session.invalidate(),
    "begin": lambda session: session.begin(),
    "with": enter_and_leave,
    "open savepoint": lambda session: session.begin_nested(),
    "transaction.commit": lambda session: session.get_transaction().commit(),  # type: ignore[union-attr]
    "transaction.rollback": lambda session: session.get_transaction().rollback(),  # type: ignore[union-attr]
    "connection.commit": lambda session: session.connection().commit(),
    "connection.rollback": lambda session: session.connection().rollback(),
    "connection.transaction": lambda session: session.connection().get_transaction().commit(),  # type: ignore[union-attr]
    "connection.close": lambda session: session.connection().close(),
    "COMMIT": lambda session: session.execute(sa.text("COMMIT")),
    "comment COMMIT": lambda session: session.execute(sa.text(" /* x */ -- y\n commit")),
    "ROLLBACK": lambda session: session.execute(sa.text("ROLLBACK")),
    "driver COMMIT": lambda session: session.connection().exec_driver_sql("COMMIT"),
    "raw commit": lambda session: session.connection().connection.commit(),
    "raw rollback": lambda session: session.connection().connection.rollback(),
    "raw COMMIT": lambda session: session.connection().connection.cursor().execute("COMMIT"),
}
#: These reach the driver behind SQLAlchemy and cannot be held back, but they are seen.
SEEN_TOO_LATE = {"raw commit", "raw rollback", "raw COMMIT"}


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed"])
def test_a_handler_cannot_end_the_transaction(engine: Engine, escape: str, swallowed: bool) -> None:
    inbox = Inbox(engine, "shop")
    with pytest.raises(TransactionRefused, match="begin_nested"), inbox.transaction(KEY) as session:
        assert session is not None
        add(session, 1)
        try:
            ESCAPES[escape](session)
            if escape != "connection.close":  # nothing can be added after that
                add(session, 2)
        except Exception:
            if not swallowed:
                raise
    assert escape in SEEN_TOO_LATE or committed(engine) == []
    assert in_inbox(engine) == 0
    run(inbox, KEY, 3)  # and no lock is left behind
    assert 3 in committed(engine)


@pytest.mark.parametrize("escape", ["raw commit", "COMMIT", "connection.commit", "commit"])
def test_a_handler_that_tries_and_then_raises_is_not_done_either(
    engine: Engine, escape: str
) -> None:
    inbox = Inbox(engine, "shop")
    with pytest.raises(ZeroDivisionError), inbox.transaction(KEY) as session:
        assert session is not None
        add(session, 1)
        try:
            ESCAPES[escape](session)
        finally:
            raise ZeroDivisionError
    assert in_inbox(engine) == 0
    run(inbox, KEY, 3)


def test_ddl_that_mysql_commits_silently_is_refused(mariadb_url: str) -> None:
    engine = make_engine(mariadb_url)
    upgrade(engine)
    metadata.create_all(engine)
    with (
        pytest.raises(TransactionRefused, match="CREATE TABLE"),
        Inbox(engine, "shop").transaction(KEY) as session,
    ):
        add(session, 1)
        assert session is not None
        session.execute(sa.text("CREATE TEMPORARY TABLE fine (id INT)"))
        session.execute(sa.text("CREATE TABLE escape (id INT)"))
    assert committed(engine) == []
    engine.dispose()


def test_a_database_error_that_the_handler_swallows_is_not_taken_for_success(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(INSERT.format(1)))
    inbox = Inbox(engine, "shop")
    try:
        with inbox.transaction(KEY) as session:
            assert session is not None
            add(session, 2)
            with pytest.raises(sa.exc.IntegrityError):
                add(session, 1)
        done = True
    except TransactionRefused as error:
        assert "caught" in str(error)
        done = False
    # Only PostgreSQL aborts the transaction; nowhere may "done" and the effect differ.
    assert committed(engine) == ([1, 2] if done else [1])
    assert in_inbox(engine) == int(done)
    assert done == (engine.dialect.name != "postgresql")


@pytest.mark.parametrize("outcome", ["commits", "rolls back"])
def test_two_workers_at_once_have_one_effect(
    engine: Engine, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "LOCK_WAIT_SECONDS", 30)
    inbox = Inbox(engine, "shop")
    second = threading.Thread(target=lambda: results.append(attempt(inbox, 2)))
    results: list[str] = []
    try:
        with inbox.transaction(KEY) as session:
            add(session, 1)
            second.start()
            wait_until(lambda: is_waiting(engine, second), 10, "the second one waits")
            if outcome == "rolls back":
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    second.join(20)
    assert results == (["done"] if outcome == "commits" else ["ran"])
    assert committed(engine) == ([1] if outcome == "commits" else [2])


def test_who_waits_too_long_is_told_to_try_again(database_url: str) -> None:
    engine = make_engine(database_url)
    upgrade(engine)
    if engine.dialect.name == "sqlite":
        shorten_busy_timeout(engine)
    inbox = Inbox(engine, "shop")
    with inbox.transaction(KEY) as session:
        assert session is not None
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(InboxBusy, match="another worker"),
        ):
            pool.submit(attempt, inbox, 2, raising=True).result()
    with inbox.transaction(KEY) as session:
        assert session is None
    engine.dispose()


def test_many_workers_on_few_events_have_each_effect_once(engine: Engine) -> None:
    inbox = Inbox(engine, "shop")
    keys = [Key("book", f"/shop {number}", "f") for number in range(5)]

    def work(_: int) -> None:
        for number, key in enumerate(keys):
            while attempt(inbox, number, key=key) == "busy":
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert committed(engine) == [0, 1, 2, 3, 4]
    assert in_inbox(engine) == 5


def test_old_rows_are_purged_in_small_batches(engine: Engine) -> None:
    inbox = Inbox(engine, "shop")
    for number in range(5):
        run(inbox, Key("book", str(number), "f"), number)
    with engine.begin() as connection:
        connection.execute(
            tables.inbox.update()
            .where(tables.inbox.c.event_id < "3")
            .values(processed_at_ms=tables.inbox.c.processed_at_ms - 10_000_000)
        )
    assert purge_inbox(engine, older_than_ms=5_000_000, limit=2) == 2
    assert purge_inbox(engine, older_than_ms=5_000_000, limit=2) == 1
    assert purge_inbox(engine, older_than_ms=5_000_000, limit=2) == 0
    assert in_inbox(engine) == 2


def test_a_missing_table_says_what_to_run(database_url: str) -> None:
    engine = make_engine(database_url)
    with (
        pytest.raises(DatabaseNotMigrated, match="eventbus db upgrade"),
        Inbox(engine, "shop").transaction(KEY),
    ):
        pytest.fail("the handler was run")
    engine.dispose()


def test_a_database_that_is_away_is_not_read_as_done(own_postgres: PostgreSQL) -> None:
    engine = make_engine(own_postgres.create_database())
    upgrade(engine)
    metadata.create_all(engine)
    inbox = Inbox(engine, "shop")
    with (
        pytest.raises(IdempotencyStoreUnavailable, match="before the commit"),
        inbox.transaction(KEY) as session,
    ):
        add(session, 1)
        own_postgres.kill()
    with pytest.raises(IdempotencyStoreUnavailable) as caught, inbox.transaction(KEY):
        pytest.fail("the handler was run")
    assert "secret" not in str(caught.value)
    own_postgres.start()
    run(inbox, KEY, 2)
    assert committed(engine) == [2]
    engine.dispose()


def add(session: Session | None, number: int) -> None:
    assert session is not None
    session.execute(sa.text(INSERT.format(number)))


def run(inbox: Inbox, key: Key, number: int) -> None:
    with inbox.transaction(key) as session:
        add(session, number)


def attempt(inbox: Inbox, number: int, *, key: Key = KEY, raising: bool = False) -> str:
    try:
        with inbox.transaction(key) as session:
            if session is None:
                return "done"
            add(session, number)
    except InboxBusy:
        if raising:
            raise
        return "busy"
    return "ran"


def committed(engine: Engine) -> list[int]:
    with engine.connect().execution_options(eventbus_read_only=True) as connection:
        return list(connection.scalars(sa.select(effects.c.id).order_by(effects.c.id)))


def in_inbox(engine: Engine) -> int:
    with engine.connect().execution_options(eventbus_read_only=True) as connection:
        return int(
            connection.execute(sa.select(sa.func.count(tables.inbox.c.event_id))).scalar_one()
        )


def is_waiting(engine: Engine, thread: threading.Thread) -> bool:
    """Whether the database holds the second worker back."""
    if engine.dialect.name == "sqlite":
        return thread.is_alive()  # SQLite shows no waiting; either order is covered then
    return waits_for_a_lock(engine)


def shorten_busy_timeout(engine: Engine) -> None:
    engine.dispose()

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: object, record: object) -> None:
        connection.execute("PRAGMA busy_timeout = 100")  # type: ignore[attr-defined]
