"""The event log: what was published, kept for `event_log_retention`.

An event moves here from the outbox when the broker has it (`eventbus.outbox.store`). It is the
audit, it keeps what no queue was bound for, and it fills a new queue from history. On PostgreSQL
it is partitioned by day, so that what is old is dropped, not deleted row by row
(`eventbus.outbox.partitions`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from eventbus import tables
from eventbus.database import now_ms, reading, writing
from eventbus.outbox.store import StoredRow

_log = tables.event_log.c

_ROW_COLUMNS = (
    _log.seq,
    _log.name,
    _log.partition_key,
    _log.attributes,
    _log.body,
    _log.created_at_ms,
)

#: An event is written to the log in the transaction that follows its confirm, with the time of
#: that statement. Events younger than this may still be joined by others as old as they are.
SETTLED_AFTER_MS = 5_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader of the log is: all events up to and with this one are read."""

    published_at_ms: int
    seq: int


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """An event of the log, and its position."""

    row: StoredRow
    position: Position


@dataclass(frozen=True, slots=True)
class Counted:
    """How many events are meant, and how many of them are old."""

    events: int
    old: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events of the log are meant; None means any.

    Parameters
    ----------
    names:
        Event names.
    keys:
        Partition keys.
    since_ms, until_ms:
        Published at or after, and before; epoch milliseconds.
    """

    names: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class EventLog:
    """Reads and cleans the event log of one database; every method is one short transaction.

    Raises
    ------
    DatabaseUnavailable, DatabaseNotMigrated
        From every method.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- reading it in the order of publishing ---------------------------------------------------

    def counts(
        self, selection: Selection, after: Position | None = None, *, old_before_ms: int = 0
    ) -> dict[str, Counted]:
        """Event name to how many are meant; reads all of them, so it may take a while.

        Parameters
        ----------
        old_before_ms:
            Those published before it are old; epoch milliseconds.
        """
        old = sa.func.count(sa.case((_log.published_at_ms < old_before_ms, 1)))
        statement = (
            sa.select(_log.name, sa.func.count(), old)
            .where(*_conditions(selection, after))
            .group_by(_log.name)
            .order_by(_log.name)
        )
        with reading(self._engine) as connection:
            return {
                name: Counted(int(events), int(old))
                for name, events, old in connection.execute(statement)
            }

    def read(self, selection: Selection, after: Position | None, limit: int) -> list[LoggedRow]:
        """The next `limit` events after a position, in the order in which they were published."""
        statement = (
            sa.select(*_ROW_COLUMNS, _log.published_at_ms)
            .where(*_conditions(selection, after))
            .order_by(_log.published_at_ms, _log.seq)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [
                LoggedRow(StoredRow(*row[:-1]), Position(int(row[-1]), int(row[0])))
                for row in connection.execute(statement)
            ]

    def now_ms(self) -> int:
        """The database's clock, by which events are in order."""
        with reading(self._engine) as connection:
            return int(connection.scalar(sa.select(now_ms())) or 0)

    def newest(self, *, routed: bool | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Events as column name to value, newest first."""
        statement = (
            sa.select(tables.event_log)
            .order_by(_log.published_at_ms.desc(), _log.seq.desc())
            .limit(limit)
        )
        if routed is not None:
            statement = statement.where(_log.routed.is_(routed))
        with reading(self._engine) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    # -- unrouted events -------------------------------------------------------------------------

    def unrouted_names(self) -> list[str]:
        """Names of events that no queue was bound for."""
        with reading(self._engine) as connection:
            return list(
                connection.scalars(sa.select(_log.name).where(~_log.routed).distinct().limit(1000))
            )

    def unrouted_rows(self, name: str, after: int, limit: int) -> list[StoredRow]:
        """The oldest unrouted events called `name` whose ``seq`` is above `after`."""
        statement = (
            sa.select(*_ROW_COLUMNS)
            .where(~_log.routed, _log.name == name, _log.seq > after)
            .order_by(_log.seq)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [StoredRow(*row) for row in connection.execute(statement)]

    def mark_routed(self, name: str, sequences: Sequence[int]) -> None:
        """Note that these events called `name` have reached a queue after all."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(tables.event_log)
                # The first two are for the index: ``seq`` alone has none.
                .where(~_log.routed, _log.name == name, _log.seq.in_(sequences))
                .values(routed=True)
            )

    # -- cleaning --------------------------------------------------------------------------------

    def delete_before(self, age_ms: int, limit: int, *, default_partition: bool = False) -> int:
        """Delete up to `limit` events published more than `age_ms` ago; returns how many.

        Parameters
        ----------
        default_partition:
            Only those that have no partition of their own.
        """
        table = tables.event_log_default if default_partition else tables.event_log
        columns = table.c
        old = (
            sa.select(columns.published_at_ms, columns.seq)
            .where(columns.published_at_ms < now_ms() - age_ms)
            .order_by(columns.published_at_ms)
            .limit(limit)
        )
        with writing(self._engine) as connection:
            found = connection.execute(old).all()
            if found:
                connection.execute(
                    sa.delete(table).where(
                        columns.published_at_ms >= found[0].published_at_ms,
                        columns.published_at_ms <= found[-1].published_at_ms,
                        columns.seq.in_([row.seq for row in found]),
                    )
                )
        return len(found)


def _conditions(selection: Selection, after: Position | None) -> Iterator[Any]:
    if selection.names is not None:
        yield _log.name.in_(selection.names)
    if selection.keys is not None:
        yield _log.partition_key.in_(selection.keys)
    if selection.since_ms is not None:
        yield _log.published_at_ms >= selection.since_ms
    if selection.until_ms is not None:
        yield _log.published_at_ms < selection.until_ms
    if after is not None:
        # The first is for the index, and for PostgreSQL to leave partitions out.
        yield _log.published_at_ms >= after.published_at_ms
        yield sa.or_(_log.published_at_ms > after.published_at_ms, _log.seq > after.seq)
