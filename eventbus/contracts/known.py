"""The contracts that are at hand without the network: lock files, and the application's own tables.

Publishing needs no more, and may not ask for more: it happens inside the business transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import NullPool

from eventbus.contracts.lock_files import LockedVersion, LockFile, read_lock
from eventbus.contracts.schema import Format
from eventbus.database import make_engine, reading, require_file, sync_url
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
        url = bus.settings.registry_url
        #: Of a registry elsewhere; what it has said is kept in our tables.
        self._address = url if url and url.lower().startswith(("http://", "https://")) else None

    def history(self, subject: str) -> LockFile | None:
        """The versions of `subject`; None where no contract is at hand.

        A lock file counts before the tables. One that cannot be read is logged, and the tables
        stand in for it.

        Raises
        ------
        InvalidLockFile
            It cannot be read, and the tables tell of no contract either.
        DatabaseUnavailable
            There is no lock file, and the tables cannot be read.
        """
        try:
            lock = read_lock(self._folder, subject)
        except InvalidLockFile as error:
            log.error("a lock file is not used: %s", error)
            with suppress(EventBusError):
                found = self._in_tables(subject)
                if found is not None:
                    return found
            raise
        if lock is None:
            return self._in_tables(subject)
        return self._with_given_ids(lock) if self._ids_are_given(lock.format) else lock

    def _ids_are_given(self, format: Format) -> bool:
        """Whether a registry that is not ours may have given the schema another id."""
        return format is not Format.JSON and self._address is not None

    def _with_given_ids(self, lock: LockFile) -> LockFile:
        """`lock` with the ids that the registry gave when its versions were registered."""
        try:
            registered = self._in_tables(lock.subject)
        except EventBusError as error:
            log.warning("the ids of %s cannot be looked up: %s", lock.subject, error)
            registered = None
        given = {one.fingerprint: one.id for one in registered.versions} if registered else {}
        if lock.newest.fingerprint not in given:
            log.warning(
                "%s is published with the id in its lock file; a registry that gives ids of its "
                "own has another one: run 'eventbus schema register'",
                lock.subject,
            )
        versions = [replace(one, id=given.get(one.fingerprint, one.id)) for one in lock.versions]
        return replace(lock, versions=tuple(versions))

    def _in_tables(self, subject: str) -> LockFile | None:
        """What the application's own tables say; an own connection, which is not kept.

        A query that fails on the caller's connection would cost it its transaction on PostgreSQL,
        and a connection that is kept would be shared by the children of a process that forks.
        """
        engine = _impatient_engine(sync_url(self._bus.database_url))
        try:
            require_file(engine)
            if self._address is not None:
                return _kept(engine, self._address, subject)
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


def _kept(engine: Engine, address: str, subject: str) -> LockFile | None:
    from eventbus.contracts.registry.remote import KeptRegistry

    return _history(subject, KeptRegistry(address, engine).versions(subject))


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


def _impatient_engine(url: URL) -> Engine:
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
