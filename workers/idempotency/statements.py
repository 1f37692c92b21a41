"""The statements of the `sql` store, for each database.

Rows go in and come out as `Record` under their primary key. A batch is one statement, or one
prepared statement run for many rows; which of them is fast differs between the databases.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from eventbus.database import now_ms
from eventbus.tables import idempotency as table

from .transitions import Record, State

#: Handler and event id as they are stored.
RowId = tuple[str, str]

_NOW = sa.select(now_ms())
_COLUMNS = [column.name for column in table.columns]
_VALUES = [column.name for column in table.columns if not column.primary_key]

_THESE_ROWS = sa.and_(
    table.c.handler == sa.bindparam("of_handler"),
    table.c.event_id.in_(sa.bindparam("ids", expanding=True)),
)
_LOCK = sa.select(table).where(_THESE_ROWS).order_by(table.c.event_id).with_for_update()
_DELETE = table.delete().where(
    table.c.handler == sa.bindparam("of_handler"), table.c.event_id == sa.bindparam("id")
)
_EXPIRED = (
    sa.select(table.c.handler, table.c.event_id)
    .where(table.c.expires_at_ms <= sa.bindparam("now"))
    .order_by(table.c.expires_at_ms)
    .limit(sa.bindparam("most"))
)


class Statements:
    """The statements of one dialect."""

    def __init__(self, insert: sa.Insert, upsert: sa.Insert, lock: sa.Select[Any]) -> None:
        self._insert = insert
        self._upsert = upsert
        self._lock = lock

    def now(self, connection: Connection) -> int:
        """The server's clock, epoch milliseconds."""
        return int(connection.execute(_NOW).scalar_one())

    def lock(self, connection: Connection, ids: Iterable[RowId]) -> dict[RowId, Record]:
        """Read those of `ids` that exist, and keep other writers off them until the end."""
        events: dict[str, list[str]] = defaultdict(list)
        # Sorted: two workers that lock the same rows must not wait for each other crosswise.
        for handler, event_id in sorted(set(ids)):
            events[handler].append(event_id)
        return {
            (handler, event_id): Record(State(state), *rest)
            for of_handler, event_ids in events.items()
            for handler, event_id, state, *rest in connection.execute(
                self._lock, {"of_handler": of_handler, "ids": event_ids}
            )
        }

    def insert_if_absent(self, connection: Connection, records: Mapping[RowId, Record]) -> None:
        """Insert `records`; a row that is there already stays as it is, and nobody deletes it."""
        if records:
            connection.execute(self._insert, self._parameters(records))

    def write(self, connection: Connection, records: Mapping[RowId, Record]) -> None:
        """Write `records`, whose rows are locked."""
        if records:
            connection.execute(self._upsert, self._parameters(records))

    def delete(self, connection: Connection, ids: Iterable[RowId]) -> None:
        """Delete rows that are locked."""
        rows = [{"of_handler": handler, "id": event_id} for handler, event_id in ids]
        if rows:
            connection.execute(_DELETE, rows)

    def expired(self, connection: Connection, now: int, limit: int) -> list[RowId]:
        """Up to `limit` rows whose time has passed, the oldest first; they are not locked."""
        rows = connection.execute(_EXPIRED, {"now": now, "most": limit})
        return [(handler, event_id) for handler, event_id in rows]

    def _parameters(self, records: Mapping[RowId, Record]) -> Any:
        return [dict(zip(_COLUMNS, row, strict=True)) for row in _rows(records)]


class _PostgreSQLStatements(Statements):
    """One array a column: one statement for the batch, where the driver would send one a row."""

    def _parameters(self, records: Mapping[RowId, Record]) -> Any:
        columns = zip(*_rows(records), strict=True)
        return {name: list(values) for name, values in zip(_COLUMNS, columns, strict=True)}


def statements_for(dialect: str) -> Statements:
    """The statements for an engine's ``dialect.name``."""
    if dialect == "postgresql":
        return _postgresql()
    if dialect == "sqlite":
        insert = sqlite.insert(table)
        upsert = insert.on_conflict_do_update(
            index_elements=table.primary_key,
            set_={name: insert.excluded[name] for name in _VALUES},
        )
        return Statements(insert.on_conflict_do_nothing(), upsert, _LOCK)
    inserted = mysql.insert(table)
    # INSERT IGNORE would lock the row for sharing only, and two workers that both go on to change
    # it would deadlock.
    keep = inserted.on_duplicate_key_update(handler=table.c.handler)
    replace = inserted.on_duplicate_key_update(
        **{name: inserted.inserted[name] for name in _VALUES}
    )
    return Statements(keep, replace, _LOCK)


def _postgresql() -> Statements:
    arrays = [
        sa.bindparam(column.name, type_=postgresql.ARRAY(column.type)) for column in table.columns
    ]
    given = sa.func.unnest(*arrays).table_valued(*_COLUMNS, name="given").render_derived()
    insert = postgresql.insert(table).from_select(_COLUMNS, sa.select(*given.columns))
    upsert = insert.on_conflict_do_update(
        index_elements=table.primary_key,
        set_={name: insert.excluded[name] for name in _VALUES},
    )
    # LATERAL with a lock inside makes PostgreSQL look each row up by its whole primary key. Left
    # the choice, before the table's first ANALYZE, it reads every row of the handler instead.
    wanted = sa.func.unnest(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Text)))
    ids = wanted.table_valued("event_id", name="wanted").render_derived()
    row = (
        sa.select(table)
        .where(table.c.handler == sa.bindparam("of_handler"), table.c.event_id == ids.c.event_id)
        .with_for_update()
        .lateral("found")
    )
    lock = sa.select(row).select_from(ids.join(row, sa.true()))
    # WHERE false: nothing is changed, but the row is locked. With DO NOTHING it could be deleted
    # by another worker before we come to lock it.
    keep = insert.on_conflict_do_update(
        index_elements=table.primary_key,
        set_={"handler": insert.excluded.handler},
        where=sa.false(),
    )
    return _PostgreSQLStatements(keep, upsert, lock)


def _rows(records: Mapping[RowId, Record]) -> list[tuple[Any, ...]]:
    """Rows in the order of the table's columns, sorted like the locks."""
    return [
        (
            *row_id,
            record.state.value,
            record.token,
            record.fingerprint,
            record.starts,
            record.lease_until_ms,
            record.expires_at_ms,
        )
        for row_id, record in sorted(records.items(), key=lambda item: item[0])
    ]
