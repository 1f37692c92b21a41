"""Idempotency keys in the application's own database: the embedded default, no Redis needed.

One transaction a batch and command: read the rows and lock them, apply `transitions`, write back
what changed. The lock is what makes one of two workers wait for the other's answer; on SQLite it
is the transaction itself. PostgreSQL, MySQL/MariaDB and SQLite.

    store = SqlStore(make_engine("sqlite:///eventbus.db"), "shop")
    [claim] = store.claim([Key("charge", "/shop 42", "9f86d081")], token, lease_ms=30_000)
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from eventbus.database import explain
from eventbus.errors import DatabaseUnavailable, IdempotencyStoreUnavailable

from . import transitions
from .contention import retrying
from .names import bounded, handler_name
from .port import KEEP_STARTS_MS, Claim, Key
from .statements import RowId, statements_for
from .transitions import Record, with_repeats

Answer = TypeVar("Answer")
_Step = Callable[["Record | None", Key, int], "tuple[Record | None, Answer]"]


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
        self._statements = statements_for(engine.dialect.name)

    def claim(
        self, keys: Sequence[Key], token: str, lease_ms: int, *, alone: bool = False
    ) -> list[Claim]:
        """See `IdempotencyStore.claim`."""
        token = bounded(token, 40)

        def step(record: Record | None, key: Key, now: int) -> tuple[Record, Claim]:
            fingerprint = bounded(key.fingerprint, 32)
            return transitions.claim(
                record,
                token=token,
                fingerprint=fingerprint,
                lease_ms=lease_ms,
                now_ms=now,
                alone=alone,
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

    def unclaim(
        self,
        keys: Sequence[Key],
        token: str,
        lease_ms: int = 0,
        keep_ms: int = KEEP_STARTS_MS,
    ) -> None:
        """See `IdempotencyStore.unclaim`."""
        token = bounded(token, 40)

        def step(record: Record | None, key: Key, now: int) -> tuple[Record | None, None]:
            after = transitions.unclaim(
                record, token=token, lease_ms=lease_ms, keep_ms=keep_ms, now_ms=now
            )
            return after, None

        self._apply(keys, step)

    def renew(self, keys: Sequence[Key], token: str, lease_ms: int) -> list[bool]:
        """See `IdempotencyStore.renew`."""
        token = bounded(token, 40)

        def step(record: Record | None, key: Key, now: int) -> tuple[Record | None, bool]:
            return transitions.renew(record, token=token, lease_ms=lease_ms, now_ms=now)

        return self._apply(keys, step)

    def done(self, keys: Sequence[Key]) -> list[bool]:
        """See `IdempotencyStore.done`."""
        ids = [self._id(key) for key in keys]
        with self._writing() as connection:
            now = self._statements.now(connection)
            records = self._statements.lock(connection, ids)
        return [transitions.is_done(records.get(row_id), now) for row_id in ids]

    def purge_expired(self, limit: int = 1000) -> int:
        """Delete up to `limit` keys whose time has passed; how many. Call it until that is 0."""

        def purge() -> int:
            with self._writing() as connection:
                now = self._statements.now(connection)
                expired = self._statements.expired(connection, now, limit)
                # Locked and looked at again: a claim may have taken one of them over by now.
                records = self._statements.lock(connection, expired)
                gone = [row_id for row_id, row in records.items() if row.expires_at_ms <= now]
                self._statements.delete(connection, gone)
                return len(gone)

        return retrying(purge)

    def ping(self) -> None:
        """See `IdempotencyStore.ping`."""
        with self._writing() as connection:
            self._statements.expired(connection, 0, 1)

    def close(self) -> None:
        """See `IdempotencyStore.close`; the engine belongs to whoever made it."""

    def _apply(
        self, keys: Sequence[Key], step: _Step[Answer], *, expect_new: bool = False
    ) -> list[Answer]:
        if not keys:
            return []
        ids = [self._id(key) for key in keys]
        answers = None
        if not expect_new:
            answers = retrying(functools.partial(self._once, ids, keys, step, False))
        if answers is None:
            answers = retrying(functools.partial(self._once, ids, keys, step, True))
        assert answers is not None
        return answers

    def _once(
        self, ids: list[RowId], keys: Sequence[Key], step: _Step[Answer], insert_first: bool
    ) -> list[Answer] | None:
        """Apply `step` in one transaction; None where a row that it would write is not there yet.

        Inserting comes before locking, never between: whoever waits for an insert while it holds
        locks can deadlock with one that does the same.
        """
        with self._writing() as connection:
            # Before the locks: a clock read early only makes the leases of others seem longer.
            now = self._statements.now(connection)
            fresh: dict[RowId, Record] = {}
            for row_id, key in zip(ids, keys, strict=True):
                if row_id not in fresh and (new := step(None, key, now)[0]) is not None:
                    fresh[row_id] = new
            if insert_first:
                self._statements.insert_if_absent(connection, fresh)
            before = self._statements.lock(connection, ids)
            if not fresh.keys() <= before.keys():
                return None
            after, answers = dict(before), []
            for row_id, key in zip(ids, keys, strict=True):
                record, answer = step(after.get(row_id), key, now)
                answers.append(answer)
                _put(after, row_id, record)
            self._write(connection, before, after)
            return answers

    def _write(
        self, connection: Connection, before: dict[RowId, Record], after: dict[RowId, Record]
    ) -> None:
        changed = {row_id: row for row_id, row in after.items() if row != before.get(row_id)}
        self._statements.write(connection, changed)
        self._statements.delete(connection, sorted(before.keys() - after.keys()))

    def _id(self, key: Key) -> RowId:
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


def _put(records: dict[RowId, Record], row_id: RowId, record: Record | None) -> None:
    if record is None:
        records.pop(row_id, None)
    else:
        records[row_id] = record
