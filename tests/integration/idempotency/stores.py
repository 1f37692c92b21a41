"""The stores under test, and a way to let time pass for them without waiting.

Ten minutes pass when every deadline that a store has kept is moved back by ten minutes: exact,
because the tests count in whole minutes and grant leases of minutes and a half.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import redis
import sqlalchemy as sa

from eventbus.database import make_engine, upgrade
from eventbus.tables import idempotency
from eventbus.workers.idempotency import transitions
from eventbus.workers.idempotency.port import KEEP_STARTS_MS, Claim, IdempotencyStore, Key
from eventbus.workers.idempotency.redis import RedisStore
from eventbus.workers.idempotency.sql import SqlStore

SERVICE = "shop"
MINUTE = 60_000


class StoreUnderTest(ABC):
    """A store, and its clock."""

    store: IdempotencyStore

    @abstractmethod
    def pass_time(self, ms: int) -> None:
        """Let `ms` milliseconds pass."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def another(self) -> IdempotencyStore:
        """A second client of the same store, as another process would have it."""

    def close(self) -> None:
        self.store.close()


class Model(StoreUnderTest):
    """The pure functions with a dictionary: what the others are compared with."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], transitions.Record] = {}
        self.now = 0
        self.store = _ModelStore(self)

    def pass_time(self, ms: int) -> None:
        self.now += ms

    def clear(self) -> None:
        self.records.clear()

    def another(self) -> IdempotencyStore:
        return self.store


class _ModelStore:
    def __init__(self, model: Model) -> None:
        self._model = model

    def claim(
        self, keys: Sequence[Key], token: str, lease_ms: int, *, alone: bool = False
    ) -> list[Claim]:
        distinct = list(dict.fromkeys(keys))
        given: dict[str, Any] = {"token": token, "lease_ms": lease_ms, "alone": alone}
        answers = [
            self._step("claim", key, fingerprint=key.fingerprint, **given) for key in distinct
        ]
        return transitions.with_repeats(keys, answers)

    def remember(self, keys: Sequence[Key], token: str, ttl_ms: int) -> list[bool]:
        return [
            self._step("remember", key, token=token, fingerprint=key.fingerprint, ttl_ms=ttl_ms)
            for key in keys
        ]

    def release(self, keys: Sequence[Key], token: str) -> None:
        for key in keys:
            old = self._model.records.get((key.handler, key.event_id))
            self._put(key, transitions.release(old, token=token, now_ms=self._model.now))

    def unclaim(
        self, keys: Sequence[Key], token: str, lease_ms: int = 0, keep_ms: int = KEEP_STARTS_MS
    ) -> None:
        now = self._model.now
        for key in keys:
            old = self._model.records.get((key.handler, key.event_id))
            new = transitions.unclaim(
                old, token=token, lease_ms=lease_ms, keep_ms=keep_ms, now_ms=now
            )
            self._put(key, new)

    def renew(self, keys: Sequence[Key], token: str, lease_ms: int) -> list[bool]:
        return [self._step("renew", key, token=token, lease_ms=lease_ms) for key in keys]

    def done(self, keys: Sequence[Key]) -> list[bool]:
        records = [self._model.records.get((key.handler, key.event_id)) for key in keys]
        return [transitions.is_done(record, self._model.now) for record in records]

    def ping(self) -> None: ...

    def close(self) -> None: ...

    def _step(self, command: str, key: Key, **arguments: Any) -> Any:
        old = self._model.records.get((key.handler, key.event_id))
        new, answer = getattr(transitions, command)(old, now_ms=self._model.now, **arguments)
        self._put(key, new)
        return answer

    def _put(self, key: Key, record: transitions.Record | None) -> None:
        self._model.records.pop((key.handler, key.event_id), None)
        if record is not None:
            self._model.records[key.handler, key.event_id] = record


class InRedis(StoreUnderTest):
    def __init__(self, url: str) -> None:
        self._url = url
        self.store = RedisStore(url, SERVICE)
        self._client = redis.Redis.from_url(url)

    def pass_time(self, ms: int) -> None:
        for key in self._client.scan_iter():
            value, left = self._client.get(key), self._client.pttl(key)
            if not isinstance(value, bytes) or not isinstance(left, int):
                continue
            if value.startswith(b"H"):
                *fields, lease_until_ms = value.split(b" ")
                value = b" ".join([*fields, b"%d" % (int(lease_until_ms) - ms)])
            if left <= ms:
                self._client.delete(key)
            else:
                self._client.set(key, value, px=left - ms)

    def clear(self) -> None:
        self._client.flushdb()

    def another(self) -> IdempotencyStore:
        return RedisStore(self._url, SERVICE)

    def close(self) -> None:
        super().close()
        self._client.close()


class InDatabase(StoreUnderTest):
    def __init__(self, url: str) -> None:
        self._url = url
        self.engine = make_engine(url)
        upgrade(self.engine)
        self.store = SqlStore(self.engine, SERVICE)

    def pass_time(self, ms: int) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                idempotency.update().values(
                    lease_until_ms=idempotency.c.lease_until_ms - ms,
                    expires_at_ms=idempotency.c.expires_at_ms - ms,
                )
            )

    def clear(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(idempotency.delete())

    def another(self) -> IdempotencyStore:
        return SqlStore(make_engine(self._url, poolclass=sa.NullPool), SERVICE)

    def close(self) -> None:
        self.engine.dispose()


def waits_for_a_lock(engine: sa.Engine) -> bool:
    """Whether the database holds somebody back."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
        if engine.dialect.name == "postgresql"
        else "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    )
    with engine.connect() as connection:
        return bool(connection.execute(sa.text(query)).scalar_one())
