"""The transactional inbox: the event is remembered in the transaction that has its effect.

The row in ``eventbus_inbox`` is inserted first, in the handler's own session. Either it is
committed together with everything that the handler wrote, or neither is: the effect happens exactly
once, whatever dies. Of two workers with the same event at the same time, the database makes the
second wait for the first.

The transaction belongs to eventbus. A handler that could commit it would commit half an effect
together with the note that all of it is done, so `commit`, `rollback`, `close` and statements such
as ``COMMIT`` are refused; savepoints (``session.begin_nested()``) are the handler's own.

    inbox = Inbox(engine, "shop")
    with inbox.transaction(Key("book", "/shop 42", "9f86d081")) as session:
        if session is not None:                      # None: done before
            session.add(Entry(...))
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, SessionTransaction

from eventbus.directives import Skip
from eventbus.errors import EventBusError, IdempotencyStoreUnavailable, TransactionRefused
from eventbus.tables import inbox as table

from .contention import is_contention
from .names import bounded, handler_name
from .port import Key
from .sql import unavailable

#: How long a worker waits for another one that runs the same event, before it gives the event back.
LOCK_WAIT_SECONDS = 1

_SAVEPOINT = "eventbus_inbox"

_REFUSED = "is refused in a handler with transactional=True"
_REMEDY = (
    "eventbus commits when the handler returns and rolls back when it raises: remove the call; for "
    "a part that may fail alone use session.begin_nested(); for transactions of your own declare "
    "the handler without transactional=True. Everything was rolled back"
)

#: What ends or begins a transaction, or makes MySQL commit it silently.
_ENDS = re.compile(
    r"(commit|end|abort|begin|start\s+transaction|prepare\s+transaction|xa|rollback(?!\s+"
    r"((work|transaction)\s+)?to\b))\b",
    re.IGNORECASE,
)
_COMMITS_ON_MYSQL = re.compile(
    r"(create|alter|drop|rename|truncate|grant|revoke|lock\s+tables|unlock\s+tables|"
    r"analyze|optimize|repair|set\s+(session\s+|@@(session\.)?)?autocommit)\b"
    r"(?!\s+temporary)",
    re.IGNORECASE,
)
_SPACE = re.compile(r"(\s|;|--[^\n]*(\n|$)|#[^\n]*(\n|$)|/\*(?!!).*?\*/)+", re.DOTALL)


class InboxBusy(EventBusError):
    """Another worker is running this event in a transaction of its own; try again later."""


class InboxMismatch(EventBusError):
    """Another event with the same id but other data has been handled: not a duplicate."""


class Inbox:
    """Runs a handler's effect and the note that it has happened in one transaction.

    Parameters
    ----------
    engine:
        The application's database, from `eventbus.database.make_engine`.
    service:
        The name of the service, part of every key: services may share a database.
    """

    def __init__(self, engine: Engine, service: str) -> None:
        self._engine = engine
        self._service = service
        self._insert = _insert_if_absent(engine.dialect.name)

    @contextlib.contextmanager
    def transaction(self, key: Key) -> Iterator[Session | None]:
        """A session for the handler's effect, or None where the event has been handled.

        Commits at the end of the block, rolls back when it raises; at a `Skip` only the effect is
        rolled back, and the event is remembered.

        Raises
        ------
        InboxBusy
            Another worker is running the event. It is not done: try again later.
        InboxMismatch
            The id has been handled with other data.
        IdempotencyStoreUnavailable
            The database could not be asked.
        TransactionRefused
            The handler tried to end the transaction, or swallowed an error that had ended it;
            everything is rolled back.
        """
        session = _HandlerSession(self._engine)
        row = self._row(key)
        try:
            if not self._begin(session, key, row):
                yield None
                return
            try:
                yield session
            except Skip:
                session.check_refused()
                session.end()
                self._remember(row)
                raise
            session.commit_guarded()
        except BaseException:
            ended = session.was_ended()
            session.end()
            if ended:
                self._forget(row)
            raise
        finally:
            session.end()

    def _begin(self, session: _HandlerSession, key: Key, row: dict[str, Any]) -> bool:
        """Insert the row; whether this is the first time."""
        try:
            with unavailable(self._engine):
                connection = session.connection()
                with _lock_wait(connection):
                    first = connection.execute(self._insert, row).rowcount == 1
                if not first:
                    return self._answer(connection, key, row)
                _execute(connection, f"SAVEPOINT {_SAVEPOINT}")
        except EventBusError as error:
            if error.__cause__ is not None and is_contention(error.__cause__):
                raise InboxBusy(
                    f"event {key.event_id!r} is being run by another worker of {key.handler!r}"
                ) from error
            raise
        session.guard(connection)
        return True

    def _answer(self, connection: Connection, key: Key, row: dict[str, Any]) -> bool:
        found = connection.execute(_FINGERPRINT, row).scalar_one_or_none()
        if found is None:
            # Purged, or visible to the INSERT only: the next delivery will tell.
            raise InboxBusy(f"event {key.event_id!r} was not first, and is not there yet")
        if found != row["fingerprint"]:
            raise InboxMismatch(
                f"{key.handler!r} has handled an event with the id {key.event_id!r} and other data"
            )
        return False

    def _remember(self, row: dict[str, Any]) -> None:
        """Insert our row alone, after a rollback: a failed flush has undone it too."""
        with (
            unavailable(self._engine),
            self._engine.begin() as connection,
            _lock_wait(connection),
        ):
            connection.execute(self._insert, row)

    def _forget(self, row: dict[str, Any]) -> None:
        """Delete our row, which the handler may have committed with half of its effect.

        It is not known to be done; left there, the next delivery would be taken for a duplicate.
        """
        with unavailable(self._engine), self._engine.begin() as connection:
            connection.execute(_DELETE.where(_IS_OURS), row)

    def _row(self, key: Key) -> dict[str, Any]:
        return {
            "handler": bounded(handler_name(self._service, key.handler), 200),
            "event_id": bounded(key.event_id, 300),
            "fingerprint": bounded(key.fingerprint, 32),
            # This worker's clock: the time also tells its row from that of another worker.
            "processed_at_ms": time.time_ns() // 1_000_000,
        }


class _HandlerSession(Session):
    """A session whose transaction the handler cannot end."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._connection: Connection | None = None
        self._refused: TransactionRefused | None = None
        #: SQLAlchemy takes the transaction for another than it is and must not go on with it.
        self._discard = False

    def guard(self, connection: Connection) -> None:
        """From here on the handler has it."""
        self._connection = connection
        # Listening on the connection also holds `session.connection().commit()` and
        # `session.get_transaction().commit()`.
        event.listen(connection, "commit", self._on_commit)
        event.listen(connection, "before_cursor_execute", self._on_statement)

    def check_refused(self) -> None:
        """Raise again what a handler was refused and has caught."""
        if self._refused is not None:
            raise self._refused

    def commit_guarded(self) -> None:
        """Commit, provided that the transaction is still the one that holds the inbox row."""
        self.check_refused()
        connection = self._connection
        assert connection is not None
        self.flush()
        if self.in_nested_transaction():
            self._refuse("the handler returned with a savepoint of session.begin_nested() open")
        if not self.in_transaction() or connection.closed:
            self._refuse("the transaction was ended inside the handler")
        # The savepoint is there as long as the transaction is, and only while it is sound: on
        # PostgreSQL a COMMIT after an error that was caught would quietly roll back.
        error = _raw(connection, f"RELEASE SAVEPOINT {_SAVEPOINT}")
        if error is not None and self._broke(connection, error):
            raise IdempotencyStoreUnavailable(
                "idempotency store: the database connection broke before the commit; "
                "everything was rolled back"
            ) from error
        if error is not None:
            self._refuse(
                "the transaction was ended inside the handler, by itself or by a database error "
                "that the handler caught"
            )
        self._unguard()
        super().commit()

    def was_ended(self) -> bool:
        """Whether the transaction that held the inbox row is gone while the handler had it."""
        connection = self._connection
        if connection is None or connection.closed or connection.invalidated:
            return False
        error = _raw(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        return error is not None and not self._broke(connection, error)

    def _broke(self, connection: Connection, error: Exception) -> bool:
        """Whether `error` is about the connection, not about the statement."""
        driver = connection.connection
        broken = connection.dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
        self._discard = self._discard or broken
        return broken

    def end(self) -> None:
        """Roll back what is not committed, and give the connection back."""
        connection = self._connection
        self._unguard()
        if self._discard and connection is not None and not connection.closed:
            connection.invalidate()
        super().close()

    def _unguard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            event.remove(connection, "commit", self._on_commit)
            event.remove(connection, "before_cursor_execute", self._on_statement)

    def _on_commit(self, connection: Connection) -> None:
        self._refuse(f"commit() {_REFUSED}")

    def _on_statement(self, connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        text = statement[_leading(statement) :]
        on_mysql = connection.dialect.name in ("mysql", "mariadb")
        if _ENDS.match(text) or (on_mysql and _COMMITS_ON_MYSQL.match(text)):
            self._refuse(f"{' '.join(text.split())[:60]!r} {_REFUSED}")

    def _refuse(self, what: str) -> NoReturn:
        # Kept: a handler that catches it must not get its commit after all.
        self._discard = True
        self._refused = TransactionRefused(f"{what}. {_REMEDY}")
        raise self._refused

    def _check(self, name: str) -> None:
        if self._connection is not None:
            self._refuse(f"session.{name}() {_REFUSED}")

    def begin(self, nested: bool = False) -> SessionTransaction:
        if not nested:
            self._check("begin")
        return super().begin(nested)

    def commit(self) -> None:
        self._check("commit")
        super().commit()

    def rollback(self) -> None:
        self._check("rollback")
        super().rollback()

    def close(self) -> None:
        self._check("close")
        super().close()

    def reset(self) -> None:
        self._check("reset")
        super().reset()

    def invalidate(self) -> None:
        self._check("invalidate")
        super().invalidate()

    def prepare(self) -> None:
        self._check("prepare")
        super().prepare()


_FINGERPRINT = sa.select(table.c.fingerprint).where(
    table.c.handler == sa.bindparam("handler"), table.c.event_id == sa.bindparam("event_id")
)
_DELETE = table.delete().where(
    table.c.handler == sa.bindparam("handler"), table.c.event_id == sa.bindparam("event_id")
)
_IS_OURS = sa.and_(
    table.c.fingerprint == sa.bindparam("fingerprint"),
    table.c.processed_at_ms == sa.bindparam("processed_at_ms"),
)


def _insert_if_absent(dialect: str) -> sa.Insert:
    """An INSERT whose row count is 0 where the row exists: an error would end the transaction."""
    if dialect == "postgresql":
        insert: sa.Insert = postgresql.insert(table).on_conflict_do_nothing()
    elif dialect == "sqlite":
        insert = sqlite.insert(table).on_conflict_do_nothing()
    else:
        insert = mysql.insert(table).prefix_with("IGNORE")
    return insert.execution_options(preserve_rowcount=True)


@contextlib.contextmanager
def _lock_wait(connection: Connection) -> Iterator[None]:
    """Wait `LOCK_WAIT_SECONDS` for another transaction inside the block; after it, as before."""
    name = connection.dialect.name
    if name == "postgresql":
        limit, reset = (
            f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'",
            "SET LOCAL lock_timeout TO DEFAULT",
        )
    elif name in ("mysql", "mariadb"):
        limit = f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}"
        reset = "SET SESSION innodb_lock_wait_timeout = DEFAULT"
    else:
        yield
        return
    _execute(connection, limit)
    try:
        yield
    except BaseException:
        # PostgreSQL undoes it with the transaction; a session of MySQL would keep it.
        if name != "postgresql" and not connection.invalidated:
            _execute(connection, reset)
        raise
    _execute(connection, reset)


def _execute(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


def _raw(connection: Connection, statement: str) -> Exception | None:
    """Run `statement` past SQLAlchemy, whose idea of the transaction may be wrong; the error."""
    try:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(statement)
        finally:
            cursor.close()
    except Exception as error:
        return error
    return None


def _leading(statement: str) -> int:
    """Where the first word stands, after space and comments."""
    match = _SPACE.match(statement)
    return match.end() if match else 0
