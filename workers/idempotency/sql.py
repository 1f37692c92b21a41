"""Idempotency keys in the application's own database: the embedded default, no Redis needed.

One transaction a batch and command: read the rows and lock them, apply `transitions`, write back
what changed. The lock is what makes one of two workers wait for the other's answer; on SQLite it
is the transaction itself. PostgreSQL, MySQL/MariaDB and SQLite.

    store = SqlStore(make_engine("sqlite:///eventbus.db"), "shop")
    [claim] = store.claim([Key("charge", "/shop 42", "9f86d081")], token, lease_ms=30_000)
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from eventbus.database import explain, now_ms
from eventbus.errors import DatabaseUnavailable, IdempotencyStoreUnavailable
from eventbus.tables import idempotency as table

from . import transitions
from .contention import retrying
from .names import bounded, handler_name
from .port import Claim, Key
from .transitions import Record, State, with_repeats

#: Primary key of a row.
_Id = tuple[str, str]
Answer = TypeVar("Answer")
_Step = Callable[["Record | None", Key, int], "tuple[Record | None, Answer]"]

_NOW = sa.select(now_ms())
# One handler a statement: PostgreSQL plans `(handler, event_id) IN (…)` ten times slower.
_THESE_ROWS = sa.and_(
    table.c.handler == sa.bindparam("of_handler"),
    table.c.event_id.in_(sa.bindparam("ids", expanding=True)),
)
# Sorted: two workers that lock the same rows must not wait for each other crosswise.
_LOCK = sa.select(table).where(_THESE_ROWS).order_by(table.c.event_id).with_for_update()
_UPDATE = table.update().where(_THESE_ROWS)
_DELETE = table.delete().where(_THESE_ROWS)

_INSERT_IF_ABSENT: dict[str, sa.Insert] = {
    "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
    # INSERT IGNORE would lock the row for sharing only, and two workers that both go on to change
    # it would deadlock.
    "mysql": mysql.insert(table).on_duplicate_key_update(handler=table.c.handler),
}
_INSERT_IF_ABSENT["mariadb"] = _INSERT_IF_ABSENT["mysql"]


class SqlStore:
    """The `IdempotencyStore` in the table ``eventbus_idempotency``. Threads may share it.

    Parameters
    ----------
    engine:
        From `eventbus.database.make_engine`; closing the store leaves it open.
    service:
        The name of the service, part of every key: services may share a database.
    """

    def __init__(self, engine: Engine, service: str) -> None:
        self._engine = engine
        self._service = service
        self._insert_if_absent = _INSERT_IF_ABSENT[engine.dialect.name]

    def claim(self, keys: Sequence[Key], token: str, lease_ms: int) -> list[Claim]:
        """See `IdempotencyStore.claim`."""
        token = bounded(token, 40)

        def step(record: Record | None, key: Key, now: int) -> tuple[Record, Claim]:
            fingerprint = bounded(key.fingerprint, 32)
            return transitions.claim(
                record, token=token, fingerprint=fingerprint, lease_ms=lease_ms, now_ms=now
            )

        distinct = list(dict.fromkeys(keys))
        # Most events are new: insert first, and look afterwards.
        return with_repeats(keys, self._apply(distinct, step, expect_new=True))

    def remember(self, keys: Sequence[Key], token: str, ttl_ms: int) -> list[bool]:
        """See `IdempotencyStore.remember`."""
        token = bounded(token, 40)

        def step(record: Record | None, key: Key, now: int) -> tuple[Record, bool]:
            fingerprint = bounded(key.fingerprint, 32)
            return transitions.remember(
                record, token=token, fingerprint=fingerprint, ttl_ms=ttl_ms, now_ms=now
            )

        return self._apply(keys, step)

    def release(self, keys: Sequence[Key], token: str) -> None:
        """See `IdempotencyStore.release`."""
        token = bounded(token, 40)

        def step(record: Record | None, key: Key, now: int) -> tuple[Record | None, None]:
            return transitions.release(record, token=token, now_ms=now), None

        self._apply(keys, step)

    def renew(self, keys: Sequence[Key], token: str, lease_ms: int) -> list[bool]:
        """See `IdempotencyStore.renew`."""
        token = bounded(token, 40)

        def step(record: Record | None, key: Key, now: int) -> tuple[Record | None, bool]:
            return transitions.renew(record, token=token, lease_ms=lease_ms, now_ms=now)

        return self._apply(keys, step)

    def purge_expired(self, limit: int = 1000) -> int:
        """Delete up to `limit` keys whose time has passed; how many. Call it until that is 0."""

        def purge() -> int:
            with self._writing() as connection:
                now = int(connection.scalar(_NOW) or 0)
                expired = connection.execute(
                    sa.select(table.c.handler, table.c.event_id)
                    .where(table.c.expires_at_ms <= now)
                    .order_by(table.c.expires_at_ms)
                    .limit(limit)
                )
                # Locked and looked at again: a claim may have taken one of them over by now.
                records = self._locked(connection, [(row.handler, row.event_id) for row in expired])
                gone = [row_id for row_id, row in records.items() if row.expires_at_ms <= now]
                for parameters in _by_handler(gone):
                    connection.execute(_DELETE, parameters)
                return len(gone)

        return retrying(purge)

    def ping(self) -> None:
        """See `IdempotencyStore.ping`."""
        with self._writing() as connection:
            connection.execute(sa.select(table.c.handler).limit(1))

    def close(self) -> None:
        """See `IdempotencyStore.close`; the engine belongs to whoever made it."""

    def _apply(
        self, keys: Sequence[Key], step: _Step[Answer], *, expect_new: bool = False
    ) -> list[Answer]:
        ids = [self._id(key) for key in keys]

        def once() -> list[Answer]:
            with self._writing() as connection:
                # Before the locks: a clock read early only makes the leases of others seem longer.
                now = int(connection.scalar(_NOW) or 0)
                fresh = {
                    row_id: record
                    for row_id, key in zip(ids, keys, strict=True)
                    if (record := step(None, key, now)[0]) is not None
                }
                if expect_new:
                    self._insert(connection, fresh)
                before = self._locked(connection, ids)
                absent = {row_id: fresh[row_id] for row_id in fresh if row_id not in before}
                if absent:
                    self._insert(connection, absent)
                    before |= self._locked(connection, absent)
                after, answers = dict(before), []
                for row_id, key in zip(ids, keys, strict=True):
                    record, answer = step(after.get(row_id), key, now)
                    answers.append(answer)
                    _put(after, row_id, record)
                _write(connection, before, after)
                return answers

        return retrying(once) if keys else []

    def _insert(self, connection: Connection, records: dict[_Id, Record]) -> None:
        rows = [
            {"handler": row_id[0], "event_id": row_id[1], **_values(records[row_id])}
            for row_id in sorted(records)
        ]
        connection.execute(self._insert_if_absent, rows)

    def _locked(self, connection: Connection, ids: Iterable[_Id]) -> dict[_Id, Record]:
        return {
            (handler, event_id): Record(State(state), *rest)
            for parameters in _by_handler(ids)
            for handler, event_id, state, *rest in connection.execute(_LOCK, parameters)
        }

    def _id(self, key: Key) -> _Id:
        return bounded(handler_name(self._service, key.handler), 200), bounded(key.event_id, 300)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with unavailable(self._engine), self._engine.begin() as connection:
            yield connection


@contextlib.contextmanager
def unavailable(engine: Engine) -> Iterator[None]:
    """Turn the driver's errors into `IdempotencyStoreUnavailable` and `DatabaseNotMigrated`."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        explained = explain(error, engine.url)
        if isinstance(explained, DatabaseUnavailable):
            raise IdempotencyStoreUnavailable(f"idempotency store: {explained}") from error
        raise explained from error


def _put(records: dict[_Id, Record], row_id: _Id, record: Record | None) -> None:
    if record is None:
        records.pop(row_id, None)
    else:
        records[row_id] = record


def _write(connection: Connection, before: dict[_Id, Record], after: dict[_Id, Record]) -> None:
    """Write the differences: one statement for all rows that change in the same way."""
    changes: dict[tuple[tuple[str, Any], ...], list[_Id]] = defaultdict(list)
    gone = [row_id for row_id in before if row_id not in after]
    for row_id, record in after.items():
        old, new = _values(before[row_id]), _values(record)
        changes[tuple((name, new[name]) for name in new if new[name] != old[name])].append(row_id)
    for change, ids in changes.items():
        for parameters in _by_handler(ids) if change else ():
            connection.execute(_UPDATE.values(dict(change)), parameters)
    for parameters in _by_handler(gone):
        connection.execute(_DELETE, parameters)


def _by_handler(ids: Iterable[_Id]) -> list[dict[str, Any]]:
    """The parameters of `_THESE_ROWS` for `ids`, in the order in which all workers take locks."""
    events: dict[str, list[str]] = defaultdict(list)
    for handler, event_id in sorted(set(ids)):
        events[handler].append(event_id)
    return [{"of_handler": handler, "ids": event_ids} for handler, event_ids in events.items()]


def _values(record: Record) -> dict[str, Any]:
    return {
        "state": record.state.value,
        "token": record.token,
        "fingerprint": record.fingerprint,
        "starts": record.starts,
        "lease_until_ms": record.lease_until_ms,
        "expires_at_ms": record.expires_at_ms,
    }
