"""The contracts that are at hand without the network: lock files, and the application's own tables.

Publishing needs no more, and may not ask for more: it happens inside the business transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from eventbus.contracts.lock_files import LockedVersion, LockFile, read_lock
from eventbus.database import make_engine, reading, require_file, sync_url
from eventbus.django import project
from eventbus.errors import (
    DatabaseNotMigrated,
    DatabaseUnavailable,
    EventBusError,
    InvalidLockFile,
    UnknownSchema,
)
from eventbus.tables import contract_version

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.registry.port import RegisteredSchema

log = logging.getLogger("eventbus.contracts")

#: The caller's transaction waits for this, and may itself hold what the query would wait for.
QUERY_SECONDS = 2


class KnownContracts:
    """Looks up the versions of an event's contract."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._folder = bus.settings.contracts

    def history(self, subject: str) -> LockFile | None:
        """The versions of `subject`; None where no contract is at hand.

        A lock file counts before the tables. One that cannot be read is logged, and the tables
        stand in for it.

        Raises
        ------
        InvalidLockFile
            It cannot be read, and the tables know no contract either.
        DatabaseUnavailable
            There is no lock file, and the tables cannot be read.
        """
        try:
            lock = read_lock(self._folder, subject)
        except InvalidLockFile as error:
            log.error("a lock file is not used: %s", error)
            found = self._in_tables(subject)
            if found is None:
                raise
            return found
        return self._in_tables(subject) if lock is None else lock

    def _in_tables(self, subject: str) -> LockFile | None:
        """What the application's own tables say; an own connection, which is not kept.

        A query that fails on the caller's connection would cost it its transaction on PostgreSQL,
        and a connection that is kept would be shared by the children of a process that forks.
        """
        engine = _impatient_engine(project.at_present(self._bus.settings).database_url)
        try:
            require_file(engine)
            return _registered(engine, subject)
        except (UnknownSchema, DatabaseNotMigrated):
            return None
        except EventBusError:
            raise
        except Exception as error:  # of a driver of whatever kind
            raise DatabaseUnavailable(f"{type(error).__name__}: {str(error)[:300]}") from error
        finally:
            engine.dispose()


def _registered(engine: Engine, subject: str) -> LockFile | None:
    count = sa.select(sa.func.count()).where(contract_version.c.subject == subject)
    with reading(engine) as connection:
        if not connection.scalar(count):
            return None
    # Not imported above: most applications without lock files have no contracts at all.
    from eventbus.contracts.registry.database import DatabaseRegistry

    return _history(subject, DatabaseRegistry(engine).versions(subject))


def _history(subject: str, versions: Sequence[RegisteredSchema]) -> LockFile | None:
    """The versions in the format of the newest: only these can be compared."""
    if not versions:
        return None
    from eventbus.contracts.fingerprints import fingerprint

    format = versions[-1].schema.format
    same = [
        LockedVersion(one.version, one.id, fingerprint(one.schema), one.schema)
        for one in versions
        if one.schema.format is format
    ]
    return LockFile(subject, format, tuple(same))


def _impatient_engine(url: str) -> Engine:
    """An engine without a pool, that gives up within `QUERY_SECONDS`."""
    parsed = sync_url(url)
    if parsed.get_backend_name() == "sqlite":
        # Not `make_engine`: its WAL mode would wait for the end of the caller's transaction.
        return sa.create_engine(parsed, poolclass=NullPool, connect_args={"timeout": QUERY_SECONDS})
    arguments: dict[str, Any] = {"connect_timeout": QUERY_SECONDS}
    if parsed.get_driver_name() == "pymysql":
        arguments |= {"read_timeout": QUERY_SECONDS, "write_timeout": QUERY_SECONDS}
    engine = make_engine(parsed, poolclass=NullPool, connect_args=arguments)
    if parsed.get_backend_name() == "postgresql":

        @sa.event.listens_for(engine, "begin")
        def on_begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {QUERY_SECONDS * 1000}")

    return engine
