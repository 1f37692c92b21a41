"""The dispatcher's side of the outbox: leases, batches, settlements, the event log.

Each shard of the outbox belongs to one dispatcher at a time, by a lease; that keeps the order by
key with any number of dispatchers and needs no mark on the rows. Settlements are fenced by the
ownership, so that a dispatcher that lost its lease unnoticed changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Engine

from eventbus import tables
from eventbus.database import now_ms, reading, writing
from eventbus.outbox.row import SHARDS
from eventbus.outbox.transitions import (
    Change,
    Fail,
    Hold,
    HoldBack,
    Log,
    ShardState,
    plan_shards,
)

#: Longer texts of the broker are of no use to a reader.
ERROR_MAX_LENGTH = 2_000

_outbox = tables.outbox.c
_log = tables.event_log.c
_shard = tables.shard.c

#: Written out, so that PostgreSQL and SQLite see that the partial index of such rows will do.
_IS_HELD = _outbox.state == sa.literal_column("'held'")

#: For a transaction that reads from a backlog. PostgreSQL's statistics are from when the outbox was
#: empty: it would take the backlog for a few rows, and read and sort all of it for each batch. The
#: longer the backlog, the slower would be the way out.
_WALK_THE_INDEX = "SET LOCAL enable_sort = off"

_LOG_COLUMNS = (
    "seq",
    "event_id",
    "name",
    "partition_key",
    "attributes",
    "body",
    "created_at_ms",
    "published_at_ms",
    "routed",
)
_MOVED_COLUMNS = _LOG_COLUMNS[:-2]


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of the outbox or of the event log as the dispatcher needs it.

    `held`: it waits for its event's turn (`eventbus.outbox.transitions.HoldBack`).
    """

    seq: int
    name: str
    partition_key: str | None
    attributes: str
    body: bytes
    created_at_ms: int
    attempts: int = 0
    held: bool = False


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """What waits in the outbox.

    Parameters
    ----------
    pending:
        Rows to publish, those held back included.
    held:
        Of these, rows that wait because a queue refuses their event, or because they could not be
        sent.
    delayed:
        Rows whose ``delay`` is not over.
    failed:
        Rows that were given up.
    oldest_age_ms:
        Age of the oldest pending row; None without one.
    unrouted:
        Rows in the event log that no queue was bound for.
    """

    pending: int
    held: int
    delayed: int
    failed: int
    oldest_age_ms: int | None
    unrouted: int


@dataclass(frozen=True, slots=True)
class OutboxStats(OutboxDepth):
    """Also how many rows, `logged`, are in the event log: to count them takes long."""

    logged: int


class OutboxStore:
    """Reads and settles the outbox of one database; every method is one transaction.

    Raises
    ------
    DatabaseUnavailable, DatabaseNotMigrated
        From every method.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._batch = _batch_statement()
        self._held_batch = _held_batch_statement()
        self._is_postgresql = engine.dialect.name == "postgresql"
        self._among = _among_array if self._is_postgresql else _among_list
        # PostgreSQL takes a lone statement for a transaction: no BEGIN, no COMMIT to wait for.
        autocommit = {"isolation_level": "AUTOCOMMIT"} if self._is_postgresql else {}
        self._lone = engine.execution_options(**autocommit)
        self._has_backlog = True

    # -- leases -------------------------------------------------------------------------------

    def renew(self, owner: str, lease_ms: int) -> frozenset[int]:
        """Report `owner` alive and return the shards that are its own for the next `lease_ms`.

        Must be called with nothing in flight: it may give up shards to another dispatcher.
        """
        with writing(self._engine) as connection:
            # Locked first: two that renew at the same time would else wait for each other.
            rows = connection.execute(
                sa.select(tables.shard).order_by(_shard.shard).with_for_update()
            ).all()
            now = int(connection.scalar(sa.select(now_ms())) or 0)
            alive = self._report_alive(connection, owner, now, lease_ms)
            # A lease that ends far from now is from before the server's clock was set back.
            shards = {
                row.shard: ShardState(row.owner, not now < row.lease_until_ms <= now + 2 * lease_ms)
                for row in rows
            }
            plan = plan_shards(shards, owner, alive)
            if plan.release:
                connection.execute(
                    sa.update(tables.shard)
                    .where(_shard.shard.in_(plan.release), _shard.owner == owner)
                    .values(owner=None, lease_until_ms=0)
                )
            if plan.owned:
                connection.execute(
                    sa.update(tables.shard)
                    .where(_shard.shard.in_(plan.owned))
                    .values(owner=owner, lease_until_ms=now + lease_ms)
                )
            return plan.owned

    def _report_alive(
        self, connection: Connection, owner: str, now: int, lease_ms: int
    ) -> list[str]:
        table = tables.dispatcher
        updated = connection.execute(
            sa.update(table).where(table.c.owner == owner).values(lease_until_ms=now + lease_ms)
        )
        if not updated.rowcount:
            connection.execute(sa.insert(table).values(owner=owner, lease_until_ms=now + lease_ms))
        connection.execute(
            sa.delete(table).where(
                sa.or_(table.c.lease_until_ms <= now, table.c.lease_until_ms > now + 2 * lease_ms)
            )
        )
        return list(connection.scalars(sa.select(table.c.owner)))

    def release(self, owner: str) -> None:
        """Give up everything of `owner`, so that another dispatcher need not wait for the lease."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(tables.shard)
                .where(_shard.owner == owner)
                .values(owner=None, lease_until_ms=0)
            )
            connection.execute(
                sa.delete(tables.dispatcher).where(tables.dispatcher.c.owner == owner)
            )

    # -- rows ---------------------------------------------------------------------------------

    def next_batch(
        self,
        shards: Collection[int],
        limit: int,
        in_flight: Collection[int] = (),
    ) -> list[StoredRow]:
        """The next `limit` rows of `shards` to publish, oldest first.

        Left out are rows that are held back, later rows of their keys, and the ``seq`` of rows
        `in_flight`, which are still in the table. These exactly, not a range: a row between them
        that is not in flight must not be overtaken by a later one of its key.
        """
        rows = self._rows(self._batch, shards, limit, in_flight, self._has_backlog)
        self._has_backlog = len(rows) == limit
        return rows

    def held_names(self, shards: Collection[int]) -> list[str]:
        """Names of the events of which rows of `shards` are held back."""
        names = sa.select(_outbox.name).distinct().where(_IS_HELD)
        with reading(self._engine) as connection:
            return list(connection.scalars(_of_shards(names, shards)))

    def held_batch(
        self, shards: Collection[int], name: str, limit: int, in_flight: Collection[int] = ()
    ) -> list[StoredRow]:
        """The oldest `limit` rows that are held back of the event `name`.

        Left out are rows behind one of their key that waits for something else, and `in_flight`.
        """
        statement = self._held_batch.where(_outbox.name == name)
        return self._rows(statement, shards, limit, in_flight, True)

    def _rows(
        self,
        statement: Any,
        shards: Collection[int],
        limit: int,
        in_flight: Collection[int],
        backlog: bool,
    ) -> list[StoredRow]:
        statement = _of_shards(statement.limit(limit), shards)
        if in_flight:
            statement = statement.where(sa.not_(self._among(_outbox.seq, in_flight)))
        walk = backlog and self._is_postgresql
        with reading(self._engine if walk else self._lone) as connection:
            if walk:
                connection.exec_driver_sql(_WALK_THE_INDEX)
            return [StoredRow(*row) for row in connection.execute(statement)]

    def promote_delayed(self) -> int | None:
        """Make the delayed rows pending whose time has come; milliseconds until the next one."""
        with reading(self._engine) as connection:
            due_in = connection.scalar(
                sa.select(sa.func.min(_outbox.available_at_ms) - now_ms()).where(
                    _outbox.state == "delayed"
                )
            )
        if due_in is None or due_in > 0:
            return None if due_in is None else int(due_in)
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(tables.outbox)
                .where(_outbox.state == "delayed", _outbox.available_at_ms <= now_ms())
                .values(state="pending")
            )
        return 0

    def settle(self, owner: str, changes: Sequence[tuple[StoredRow, Change]]) -> None:
        """Carry out `changes` in one transaction, on those rows whose shard `owner` still has."""
        routed = [row.seq for row, change in changes if isinstance(change, Log) and change.routed]
        unrouted = [
            row.seq for row, change in changes if isinstance(change, Log) and not change.routed
        ]
        others = [(row, c) for row, c in changes if isinstance(c, (Hold, Fail))]
        held_back = {
            row.seq: change.error
            for row, change in changes
            if isinstance(change, HoldBack) and not row.held
        }
        if not (routed or unrouted or others or held_back):
            return
        alone = len(others) + bool(routed) + bool(unrouted) + bool(held_back) == 1
        with writing(self._lone if alone else self._engine) as connection:
            for sequences, flag in ((routed, True), (unrouted, False)):
                if sequences:
                    self._move_to_log(connection, owner, sequences, flag)
            if held_back:
                connection.execute(self._holding_back(owner, held_back))
            for row, change in others:
                connection.execute(_parking(owner, row, change))

    def _holding_back(self, owner: str, errors: dict[int, str]) -> Any:
        # The index of keys that are held back is one of rows with attempts.
        return (
            sa.update(tables.outbox)
            .where(self._among(_outbox.seq, errors), _owned(owner))
            .values(
                state="held",
                attempts=sa.case((_outbox.attempts == 0, 1), else_=_outbox.attempts),
                last_error=next(iter(errors.values()))[:ERROR_MAX_LENGTH],
            )
        )

    def _move_to_log(
        self, connection: Connection, owner: str, sequences: Sequence[int], routed: bool
    ) -> None:
        """Move rows to the event log; one that is logged already is only removed, never an error.

        A restored backup can number rows like old ones; refusing them would publish them for ever.
        """
        chosen = (self._among(_outbox.seq, sequences), _owned(owner))
        moved = [_outbox[name] for name in _MOVED_COLUMNS]
        # Evaluated once: PostgreSQL's clock goes on from row to row.
        extra = (sa.select(now_ms()).scalar_subquery(), sa.literal(routed))
        dialect = connection.dialect.name
        if dialect == "postgresql":
            deleted = sa.delete(tables.outbox).where(*chosen).returning(*moved).cte("moved")
            selected = sa.select(*(deleted.c[name] for name in _MOVED_COLUMNS), *extra)
            connection.execute(
                postgresql.insert(tables.event_log)
                .from_select(_LOG_COLUMNS, selected)
                .on_conflict_do_nothing()
            )
            return
        selected = sa.select(*moved, *extra).where(*chosen)
        insert = sa.insert(tables.event_log).from_select(_LOG_COLUMNS, selected)
        connection.execute(insert.prefix_with("OR IGNORE" if dialect == "sqlite" else "IGNORE"))
        connection.execute(sa.delete(tables.outbox).where(*chosen))

    def depth(self) -> OutboxDepth:
        """Count what waits."""
        with reading(self._engine) as connection:
            return OutboxDepth(**_count_waiting(connection))

    def stats(self) -> OutboxStats:
        """Count what is there."""
        with reading(self._engine) as connection:
            logged = connection.scalar(sa.select(sa.func.count()).select_from(tables.event_log))
            return OutboxStats(**_count_waiting(connection), logged=int(logged or 0))

    def rows(self, *, state: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Rows of the outbox as column name to value, oldest first; `state` as in the table."""
        statement = sa.select(tables.outbox).order_by(_outbox.seq).limit(limit)
        if state is not None:
            statement = statement.where(_outbox.state == state)
        return self._mappings(statement)

    def _mappings(self, statement: Any) -> list[dict[str, Any]]:
        with reading(self._engine) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]


def _count_waiting(connection: Connection) -> dict[str, Any]:
    states = sa.select(
        _outbox.state,
        sa.func.count(),
        sa.func.sum(sa.case((_outbox.attempts > 0, 1), else_=0)),
        now_ms() - sa.func.min(_outbox.created_at_ms),
    ).group_by(_outbox.state)
    found = {row[0]: row[1:] for row in connection.execute(states)}
    unrouted = connection.scalar(
        sa.select(sa.func.count()).select_from(tables.event_log).where(~_log.routed)
    )
    waiting = [found[state] for state in ("pending", "held") if state in found]
    age = max((age for _, _, age in waiting), default=None)
    return {
        "pending": sum(int(count) for count, _, _ in waiting),
        "held": sum(int(held) for _, held, _ in waiting),
        "delayed": int(found.get("delayed", (0,))[0]),
        "failed": int(found.get("failed", (0,))[0]),
        "oldest_age_ms": None if age is None else max(int(age), 0),
        "unrouted": int(unrouted or 0),
    }


def _among_array(column: Any, sequences: Collection[int]) -> Any:
    """One parameter for all: the statement's text, and so its plan and caches, stay the same."""
    array = sa.bindparam(None, list(sequences), postgresql.ARRAY(sa.BigInteger), unique=True)
    return column == sa.any_(array)


def _among_list(column: Any, sequences: Collection[int]) -> Any:
    return column.in_(list(sequences))


def _batch_statement() -> Any:
    now = now_ms()
    earlier = tables.outbox.alias("held")
    waits = _case_of_state(earlier, pending=earlier.c.available_at_ms > now, held=sa.true())
    return _rows_to_publish(False).where(
        _outbox.state == "pending",
        sa.or_(_outbox.attempts == 0, _outbox.available_at_ms <= now),
        ~_has_earlier_of_its_key(earlier, waits),
    )


def _held_batch_statement() -> Any:
    earlier = tables.outbox.alias("held")
    waits = _case_of_state(earlier, pending=sa.true(), held=earlier.c.name != _outbox.name)
    return _rows_to_publish(True).where(_IS_HELD, ~_has_earlier_of_its_key(earlier, waits))


def _case_of_state(row: Any, pending: Any, held: Any) -> Any:
    """`pending` or `held`, as the state of `row` is.

    As a CASE: the index by state would find all the earlier rows of that state, not of the key.
    """
    by_state = sa.case((row.c.state == "pending", pending), (row.c.state == "held", held))
    return by_state.is_(sa.true())


def _rows_to_publish(held: bool) -> Any:
    return sa.select(
        _outbox.seq,
        _outbox.name,
        _outbox.partition_key,
        _outbox.attributes,
        _outbox.body,
        _outbox.created_at_ms,
        _outbox.attempts,
        sa.literal(held),
    ).order_by(_outbox.seq)


def _has_earlier_of_its_key(earlier: Any, waits: Any) -> Any:
    """Whether `earlier`, a row with attempts of the same key, is one that `waits`."""
    return (
        sa.select(sa.literal(1))
        .where(
            earlier.c.partition_key == _outbox.partition_key,
            earlier.c.attempts > 0,
            earlier.c.seq < _outbox.seq,
            waits,
        )
        .exists()
    )


def _of_shards(statement: Any, shards: Collection[int]) -> Any:
    if len(shards) < SHARDS:
        return statement.where(_outbox.shard.in_(sorted(shards)))
    return statement


def _owned(owner: str) -> Any:
    return _outbox.shard.in_(sa.select(_shard.shard).where(_shard.owner == owner))


def _parking(owner: str, row: StoredRow, change: Hold | Fail) -> Any:
    statement = sa.update(tables.outbox).where(_outbox.seq == row.seq, _owned(owner))
    error = change.error[:ERROR_MAX_LENGTH]
    if isinstance(change, Hold):
        return statement.values(
            state="pending",
            attempts=row.attempts + 1,
            available_at_ms=now_ms() + change.delay_ms,
            last_error=error,
        )
    return statement.values(state="failed", attempts=row.attempts + 1, last_error=error)
