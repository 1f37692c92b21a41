"""The event log's partitions on PostgreSQL: one a day (UTC), made ahead, dropped when it is old.

Dropping a table costs the same whatever is in it, where deleting its rows would write each of them
to the log of the database and leave their space to VACUUM. What has no partition of its own goes
to the default one and is deleted in batches: after a day without a dispatcher, or where the
database's user may not create tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from eventbus import tables
from eventbus.database import now_ms, reading, writing
from eventbus.errors import DatabaseUnavailable

DAY_MS = 86_400_000
#: Days that there is a partition for beside today.
DAYS_AHEAD = 2
#: Both changes need the log for themselves for a moment. Behind a long reader they would wait, and
#: every dispatcher behind them; they are rather tried again later.
LOCK_TIMEOUT_MS = 1_000

_PARTITION = re.compile(r"eventbus_event_log_(\d{8})", re.ASCII)
_PARTITIONS = sa.text(
    "SELECT c.relkind, i.relname FROM pg_class c"
    " LEFT JOIN pg_inherits h ON h.inhparent = c.oid"
    " LEFT JOIN pg_class i ON i.oid = h.inhrelid"
    " WHERE c.oid = to_regclass(:name)"
)
#: Two processes that create the same table at once would fail.
_LOCK = 1163284054


@dataclass(frozen=True, slots=True)
class Plan:
    """Days, as days since the epoch, whose partitions are to be made and to be dropped."""

    create: tuple[int, ...]
    drop: tuple[int, ...]


def plan(existing: Collection[int], now_ms: int, keep_ms: int) -> Plan:
    """What is missing from today on, and what holds nothing younger than `keep_ms`."""
    today = now_ms // DAY_MS
    wanted = range(today, today + DAYS_AHEAD + 1)
    return Plan(
        create=tuple(day for day in wanted if day not in existing),
        drop=tuple(
            sorted(d for d in existing if d < today and (d + 1) * DAY_MS <= now_ms - keep_ms)
        ),
    )


def partition_name(day: int) -> str:
    """The table of a day, such as ``eventbus_event_log_20261124``."""
    return f"{tables.event_log.name}_{_date(day):%Y%m%d}"


def existing_days(engine: Engine) -> set[int] | None:
    """The days that have a partition; None where the log is not partitioned."""
    if engine.dialect.name != "postgresql":
        return None
    with reading(engine) as connection:
        found = connection.execute(_PARTITIONS, {"name": tables.event_log.name}).all()
    if not any(row.relkind == "p" for row in found):
        return None
    return set(_days(row.relname for row in found if row.relname))


def maintain(engine: Engine, existing: Collection[int], keep_ms: int) -> None:
    """Make the partitions that are needed and drop those that are old.

    Raises
    ------
    DatabaseUnavailable
        Also where the user may not create tables, and where a lock was not got in time.
    """
    with reading(engine) as connection:
        now = int(connection.scalar(sa.select(now_ms())) or 0)
    wanted = plan(existing, now, keep_ms)
    statements = [_create(day) for day in wanted.create]
    statements += [f"DROP TABLE IF EXISTS {partition_name(day)}" for day in wanted.drop]
    failure: DatabaseUnavailable | None = None
    for statement in statements:
        # Each by itself: a day whose first events are in the default partition already cannot get
        # one of its own any more, and that must not keep the next days from getting theirs.
        try:
            _change(engine, statement)
        except DatabaseUnavailable as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _days(names: Iterator[str]) -> Iterator[int]:
    for name in names:
        if match := _PARTITION.fullmatch(name):
            day = datetime.strptime(match.group(1), "%Y%m%d").replace(tzinfo=timezone.utc)
            yield int(day.timestamp() * 1000) // DAY_MS


def _create(day: int) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {partition_name(day)} PARTITION OF {tables.event_log.name}"
        f" FOR VALUES FROM ({day * DAY_MS}) TO ({(day + 1) * DAY_MS})"
    )


def _change(engine: Engine, statement: str) -> None:
    with writing(engine) as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        connection.exec_driver_sql(statement)


def _date(day: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(days=day)
