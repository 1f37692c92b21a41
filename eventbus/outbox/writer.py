"""Puts rows into the outbox through the caller's own transaction.

The writer is a port: `SessionWriter` and `ConnectionWriter` serve SQLAlchemy, and
`eventbus.django.writer` serves Django's own connection. A writer never commits, never opens a
connection of its own, and never touches the network beyond the caller's transaction. After the
commit it wakes the dispatcher (`eventbus.wakeup`), which is only a hint: the dispatcher polls too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from os.path import realpath
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.orm import Session, registry, scoped_session

from eventbus import tables, wakeup
from eventbus.database import is_missing_table, sync_url
from eventbus.errors import DatabaseNotMigrated, EventBusError, NotInTransaction
from eventbus.outbox.row import OUTBOX_CHANNEL, OutboxRow

_NOTIFY = "eventbus_notify"

_NO_BIND = (
    "the session has no database for the outbox; give it a bind, or a binds entry for the "
    "table 'eventbus_outbox' in bus.metadata"
)


class OutboxWriter(Protocol):
    """Writes rows in somebody's transaction."""

    def write(self, rows: Sequence[OutboxRow]) -> None:
        """Insert `rows`; they exist if and only if the caller's transaction commits.

        Raises
        ------
        NotInTransaction
            There is no transaction that would carry them.
        """


def writer_for(session: Any, database_url: str) -> OutboxWriter:
    """The writer for what the caller passed as ``session``.

    Raises
    ------
    NotInTransaction
        Nothing was passed.
    EventBusError
        It is of a kind that cannot be used.
    """
    if session is None:
        raise NotInTransaction(
            "publish needs the transaction that changes your data: bus.publish(event, "
            "session=session), or a Django transaction.atomic() block"
        )
    if isinstance(session, scoped_session):
        session = session()
    if isinstance(session, Session):
        return SessionWriter(session, database_url)
    if isinstance(session, Connection):
        return ConnectionWriter(session, database_url)
    # An AsyncSession can only come from here, so nothing is imported that is not there already.
    asyncio_extension = sys.modules.get("sqlalchemy.ext.asyncio")
    if asyncio_extension is not None:
        if isinstance(session, asyncio_extension.async_scoped_session):
            session = session()
        if isinstance(session, asyncio_extension.AsyncSession):
            return AsyncSessionWriter(session.sync_session, database_url)
        if isinstance(session, asyncio_extension.AsyncConnection):
            raise EventBusError(
                "an AsyncConnection can only be written to with await: "
                "await bus.publish_async(event, session=connection)"
            )
    raise EventBusError(
        f"session={session!r:.100} cannot carry an event; pass a SQLAlchemy Session, AsyncSession "
        f"or Connection"
    )


async def write_async(connection: Any, rows: Sequence[OutboxRow], database_url: str) -> None:
    """Insert `rows` through an ``AsyncConnection`` or ``AsyncSession``, at once."""

    def write(sync: Any) -> None:
        writer_for(sync, database_url).write(rows)

    await connection.run_sync(write)


class ConnectionWriter:
    """Writes through a SQLAlchemy Core connection."""

    def __init__(self, connection: Connection, database_url: str) -> None:
        self._connection = connection
        self._database_url = database_url

    def write(self, rows: Sequence[OutboxRow]) -> None:
        if not self._connection.in_transaction():
            raise NotInTransaction(
                "publish was called on a connection without a transaction; use "
                "'with engine.begin() as connection:'"
            )
        _insert(self._connection, rows, self._database_url)
        # Nothing is kept in `connection.info`: it outlives this connection in the pool, and with
        # it the mark of a transaction that was rolled back.
        if not event.contains(self._connection, "commit", _on_connection_commit):
            event.listen(self._connection, "commit", _on_connection_commit)


class SessionWriter:
    """Writes through a Session's connection at once, so that an error shows where it is made."""

    def __init__(self, session: Session, database_url: str) -> None:
        self._session = session
        self._database_url = database_url

    def write(self, rows: Sequence[OutboxRow]) -> None:
        _require_session_transaction(self._session)
        connection = _connection_of(self._session)
        _insert(connection, rows, self._database_url)
        self._session.info[_NOTIFY] = connection.engine.url


class AsyncSessionWriter:
    """Adds mapped rows to an AsyncSession: that needs no ``await``, which nobody can then forget.

    They are inserted at the next flush, at the commit at the latest, and leave the session again
    when a savepoint is rolled back, like any other pending object.
    """

    def __init__(self, session: Session, database_url: str) -> None:
        self._session = session
        self._database_url = database_url

    def write(self, rows: Sequence[OutboxRow]) -> None:
        _require_session_transaction(self._session)
        try:
            bind = self._session.get_bind(OutboxEntry)
        except exc.UnboundExecutionError:
            raise EventBusError(_NO_BIND) from None
        check_database(bind.engine.url, self._database_url)
        _refuse_autocommit(bind)
        self._session.add_all([OutboxEntry(row) for row in rows])
        self._session.info[_NOTIFY] = bind.engine.url


class OutboxEntry:
    """An outbox row as the unit of work of a Session knows it."""

    def __init__(self, row: OutboxRow) -> None:
        for name, value in row.columns().items():
            setattr(self, name, value)


registry().map_imperatively(OutboxEntry, tables.outbox)


def _require_session_transaction(session: Session) -> None:
    if not session.in_transaction():
        raise NotInTransaction(
            "publish was called on a session without a transaction, for instance after its commit; "
            "publish before the commit, inside 'with Session.begin() as session:'"
        )


def _connection_of(session: Session) -> Connection:
    try:
        return session.connection(bind_arguments={"clause": tables.outbox})
    except exc.UnboundExecutionError:
        raise EventBusError(_NO_BIND) from None


def _insert(connection: Connection, rows: Sequence[OutboxRow], database_url: str) -> None:
    check_database(connection.engine.url, database_url)
    _refuse_autocommit(connection)
    try:
        connection.execute(sa.insert(tables.outbox), [row.columns() for row in rows])
    except exc.DBAPIError as error:
        if is_missing_table(error):
            raise DatabaseNotMigrated(
                f"the table eventbus_outbox is missing in {connection.engine.url}; run "
                f"'eventbus db upgrade', or create bus.metadata with your migrations"
            ) from error
        raise


def _refuse_autocommit(bind: Any) -> None:
    level = bind.get_execution_options().get("isolation_level")
    if level is None:
        # What create_engine(isolation_level=...) was given; there is no public name for it.
        level = getattr(bind.dialect, "_on_connect_isolation_level", None)
    if level == "AUTOCOMMIT":
        raise NotInTransaction(
            "the connection is in AUTOCOMMIT mode, where the event would not share the fate of "
            "your data; use a connection with transactions"
        )


def check_database(used: URL, database_url: str) -> None:
    """Refuse a session on another database than the one whose outbox is dispatched.

    Host, user and driver may differ (a pooler, an async driver); product and database may not.
    """
    expected = make_url(database_url)
    if not used.database and used.get_backend_name() != "sqlite":
        # An engine made with creator=... connects by means that its URL does not tell.
        return
    if not same_database(used, expected):
        raise EventBusError(
            f"the session writes to {used.render_as_string()}, but this bus dispatches the outbox "
            f"in {expected.render_as_string()}; set database_url to the session's database"
        )


def same_database(one: URL, other: URL) -> bool:
    """Whether two URLs are of one database; host, user and driver may differ."""
    return _identity(one) == _identity(other)


def _identity(url: URL) -> tuple[str, str]:
    backend = url.get_backend_name().replace("mariadb", "mysql")
    database = sync_url(url).database or ""
    if backend == "sqlite" and not database.startswith("file:"):
        database = realpath(database)
    return backend, database


@event.listens_for(Session, "after_commit")
def _on_session_commit(session: Session) -> None:
    if session.in_nested_transaction():
        # The end of a savepoint: nobody else sees the row yet.
        return
    url = session.info.pop(_NOTIFY, None)
    if url is not None:
        wakeup.notify(url, OUTBOX_CHANNEL)


def _on_connection_commit(connection: Connection) -> None:
    # There is no event after the commit of a connection. The notification goes out on another
    # thread a moment later; if it is early all the same, the dispatcher's next poll finds the row.
    wakeup.notify(connection.engine.url, OUTBOX_CHANNEL)
