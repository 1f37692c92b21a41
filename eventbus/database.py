"""The database side: engines, the server's clock, errors in our words, the tables' version.

Only what runs beside the application uses this: dispatcher, workers, command line. Publishing
uses the application's own session and its engine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from eventbus import tables
from eventbus.errors import (
    ConfigurationError,
    DatabaseNotMigrated,
    DatabaseUnavailable,
    EventBusError,
)
from eventbus.outbox.row import SHARDS
from eventbus.settings import mask

#: The version of the tables that this code reads and writes.
SCHEMA_VERSION = 3

#: Seconds to open a connection, and to find out that the other side of an open one has gone.
CONNECT_SECONDS = 10
SILENCE_SECONDS = 30

#: How long a writer waits for another one on SQLite, where there is one lock for all.
SQLITE_BUSY_TIMEOUT_MS = 15_000

_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
_EXTRAS = {"psycopg": "postgres", "pymysql": "mysql"}


class now_ms(FunctionElement[int]):
    """The database server's clock, epoch milliseconds: leases must not depend on a client's."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(now_ms, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return "(extract(epoch from clock_timestamp()) * 1000)::bigint"


@compiles(now_ms, "mysql")
@compiles(now_ms, "mariadb")
def _now_mysql(element: Any, compiler: Any, **kw: Any) -> str:
    return "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"


@compiles(now_ms, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


def sync_url(url: str | URL) -> URL:
    """The URL with a driver that works without an event loop, as our processes use it.

    Raises
    ------
    ConfigurationError
        The text is no database URL.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise ConfigurationError(
            f"{mask(str(url))!r} is not a database URL; see database_url in the settings"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite")
    if "+" not in parsed.drivername or parsed.get_driver_name() in (
        "asyncpg",
        "aiomysql",
        "asyncmy",
    ):
        return parsed.set(drivername=_DRIVERS.get(backend, parsed.drivername))
    return parsed


def make_engine(url: str | URL, **options: Any) -> Engine:
    """Return an engine for `url`, set up the way our statements expect.

    Raises
    ------
    ConfigurationError
        The URL is not one, or its driver is not installed; names the extra that brings it.
    """
    parsed = sync_url(url)
    if parsed.get_backend_name() == "mysql":
        # The default, REPEATABLE READ, would lock the gaps between rows and read an old snapshot.
        options.setdefault("isolation_level", "READ COMMITTED")
    if parsed.get_backend_name() != "sqlite":
        options.setdefault("pool_pre_ping", True)
    try:
        engine = sa.create_engine(parsed, **options)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(str(error.name), "all")
        raise ConfigurationError(
            f"the driver {error.name!r} for {mask(str(url))} is not installed; "
            f"pip install 'eventbus[{extra}]'"
        ) from None
    except exc.ArgumentError as error:
        raise ConfigurationError(
            f"{mask(str(url))!r} is not a usable database URL: {error}"
        ) from None
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine)
    return engine


def time_outs(url: URL, name: str) -> dict[str, Any]:
    """``connect_args`` that make a server that has gone an error and no endless wait.

    Parameters
    ----------
    name:
        What PostgreSQL calls the connection.
    """
    backend = url.get_backend_name()
    wanted: dict[str, Any] = {}
    if backend == "postgresql":
        wanted = {
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": SILENCE_SECONDS * 1000,
            "application_name": name,
        }
    elif url.get_driver_name() == "pymysql":
        wanted = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": SILENCE_SECONDS,
            "write_timeout": SILENCE_SECONDS,
        }
    return {key: value for key, value in wanted.items() if key not in url.query}


def require_file(engine: Engine) -> None:
    """Raise `DatabaseNotMigrated` where the file of a SQLite database is not there.

    Looking into it would create it.
    """
    file = engine.url.database
    if engine.dialect.name == "sqlite" and file and ":" not in file and not os.path.exists(file):
        raise DatabaseNotMigrated(
            f"the file of {engine.url.render_as_string()} is not there; run 'eventbus db upgrade'"
        )


def _set_up_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        # The driver would begin a transaction at the first write only, after a read that a
        # concurrent writer may have made stale; begin ourselves instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("eventbus_read_only")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that only reads, with errors in our words."""
    with errors_of(engine), engine.connect() as connection:
        yield connection.execution_options(eventbus_read_only=True)


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction, committed at the end, with errors in our words."""
    with errors_of(engine), engine.begin() as connection:
        yield connection


@contextlib.contextmanager
def errors_of(engine: Engine) -> Iterator[None]:
    """Turn the driver's errors into `DatabaseNotMigrated` and `DatabaseUnavailable`."""
    try:
        yield
    except EventBusError:
        raise
    except exc.SQLAlchemyError as error:
        raise explain(error, engine.url) from error


def explain(error: exc.SQLAlchemyError, url: URL) -> EventBusError:
    """The error to raise for a driver's `error`, naming the database without its password."""
    shown = url.render_as_string(hide_password=True)
    reason = _reason(error)
    if is_missing_table(error):
        return DatabaseNotMigrated(
            f"the tables of eventbus are missing in {shown}; run 'eventbus db upgrade'"
        )
    return DatabaseUnavailable(f"database {shown}: {reason}")


def is_missing_table(error: BaseException) -> bool:
    """Whether a driver's error says that one of our tables is not there."""
    text = str(getattr(error, "orig", error)).lower()
    missing = ("no such table", "does not exist", "doesn't exist", "undefinedtable")
    return "eventbus_" in text and any(words in text for words in missing)


def _reason(error: exc.SQLAlchemyError) -> str:
    text = str(getattr(error, "orig", None) or error).strip()
    return " ".join(text.split())[:400]


def upgrade(engine: Engine) -> bool:
    """Create or migrate the tables; whether anything was changed. Safe to run twice at once.

    Raises
    ------
    DatabaseNotMigrated
        The tables are of a newer version than this code knows.
    """
    with _migrating(engine) as connection:
        found = _version(connection)
        _refuse_newer(found, engine)
        if found == SCHEMA_VERSION:
            return False
        if found == 1:
            tables.outbox_held_name.create(connection, checkfirst=True)
            _replace_event_log(connection)
        tables.metadata.create_all(connection)
        if found is not None:
            # `create_all` gives new indexes to new tables only.
            for table in tables.metadata.sorted_tables:
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
        connection.execute(tables.schema_version.delete())
        connection.execute(tables.schema_version.insert().values(version=SCHEMA_VERSION))
        known = set(connection.scalars(sa.select(tables.shard.c.shard)))
        missing = [
            {"shard": number, "owner": None, "lease_until_ms": 0}
            for number in range(SHARDS)
            if number not in known
        ]
        if missing:
            connection.execute(tables.shard.insert(), missing)
    return True


def _replace_event_log(connection: Connection) -> None:
    """Version 1 had no partitions; PostgreSQL cannot give them to a table that is there."""
    name = tables.event_log.name
    plain = sa.text("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(:name)")
    if connection.dialect.name != "postgresql" or not connection.scalar(plain, {"name": name}):
        return
    for statement in (
        f"ALTER TABLE {name} RENAME TO {name}_v1",
        f"ALTER TABLE {name}_v1 RENAME CONSTRAINT {name}_pkey TO {name}_v1_pkey",
        f"DROP INDEX IF EXISTS {name}_published, {name}_unrouted",
    ):
        connection.exec_driver_sql(statement)
    tables.event_log.create(connection)
    columns = tables.event_log.c.keys()
    old = sa.table(f"{name}_v1", *(sa.column(column) for column in columns))
    connection.execute(sa.insert(tables.event_log).from_select(columns, sa.select(old)))
    connection.exec_driver_sql(f"DROP TABLE {name}_v1")


def check(engine: Engine) -> None:
    """Raise `DatabaseNotMigrated` unless the tables are there, in the version of this code."""
    with reading(engine) as connection:
        found = _version(connection)
    if found is None:
        raise DatabaseNotMigrated(
            f"the tables of eventbus are missing in {engine.url.render_as_string()}; "
            f"run 'eventbus db upgrade'"
        )
    _refuse_newer(found, engine)
    if found < SCHEMA_VERSION:
        raise DatabaseNotMigrated(
            f"the tables in {engine.url.render_as_string()} have version {found}, this eventbus "
            f"needs {SCHEMA_VERSION}; run 'eventbus db upgrade'"
        )


def _refuse_newer(found: int | None, engine: Engine) -> None:
    if found is not None and found > SCHEMA_VERSION:
        raise DatabaseNotMigrated(
            f"the tables in {engine.url.render_as_string()} have version {found}, newer than "
            f"{SCHEMA_VERSION} of this eventbus; upgrade the package"
        )


def _version(connection: Connection) -> int | None:
    if not sa.inspect(connection).has_table(tables.schema_version.name):
        return None
    version = connection.scalar(sa.select(tables.schema_version.c.version))
    return None if version is None else int(version)


@contextlib.contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """A transaction that makes a second `upgrade` wait; SQLite's own is such a lock itself."""
    with errors_of(engine), engine.connect() as connection:
        if connection.dialect.name in ("mysql", "mariadb"):
            with _mysql_lock(connection), connection.begin():
                yield connection
        else:
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(1163284053)"))
                yield connection


@contextlib.contextmanager
def _mysql_lock(connection: Connection) -> Iterator[None]:
    """A lock that outlasts the commits which MySQL does before each change of a table."""
    name = {"name": f"eventbus_migrations.{connection.engine.url.database}"[:64]}
    if connection.scalar(sa.text("SELECT GET_LOCK(:name, 60)"), name) != 1:
        raise DatabaseUnavailable(
            f"database {connection.engine.url.render_as_string()}: another 'eventbus db upgrade' "
            f"has been running for a minute; try again when it has ended"
        )
    connection.commit()
    try:
        yield
    finally:
        # It belongs to the connection, which would take it along into the pool.
        with contextlib.suppress(exc.SQLAlchemyError):
            connection.execute(sa.text("SELECT RELEASE_LOCK(:name)"), name)
            connection.commit()


def server_version(engine: Engine) -> str:
    """Product and version, such as ``PostgreSQL 15.8``."""
    with reading(engine) as connection:
        names = {
            "postgresql": "PostgreSQL",
            "mysql": "MySQL",
            "mariadb": "MariaDB",
            "sqlite": "SQLite",
        }
        name = names.get(connection.dialect.name, connection.dialect.name)
        if getattr(connection.dialect, "is_mariadb", False):
            name = "MariaDB"
        version = connection.dialect.server_version_info or ()
        return f"{name} {'.'.join(str(part) for part in version)}"
