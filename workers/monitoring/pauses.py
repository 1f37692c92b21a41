"""The queues that an operator has paused, as the table `eventbus_paused_queue` has them.

A row is the pause: it holds however often workers and brokers start again, until it is deleted.
Workers look here (`eventbus.workers.monitoring.presence`), so it also works while the broker is
away.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from eventbus import tables
from eventbus.database import errors_of, now_ms, reading, writing

#: Longer reasons are cut: they are to be read in a table.
REASON_MAX_LENGTH = 500

_paused = tables.paused_queue.c


@dataclass(frozen=True, slots=True)
class Pause:
    """One paused queue: since when by the database's clock, by whom and why."""

    queue: str
    paused_at_ms: int
    paused_by: str
    reason: str


def read_pauses(connection: Connection) -> list[Pause]:
    """All of them, by name of the queue."""
    rows = connection.execute(
        sa.select(_paused.queue, _paused.paused_at_ms, _paused.paused_by, _paused.reason).order_by(
            _paused.queue
        )
    )
    return [Pause(*row) for row in rows]


def paused_queues(connection: Connection) -> frozenset[str]:
    """The full names of the paused queues."""
    return frozenset(connection.scalars(sa.select(_paused.queue)))


def pause(engine: Engine, queue: str, *, by: str, reason: str) -> Pause | None:
    """Pause `queue`, a full name; the pause that was there before, which stays as it was.

    Raises
    ------
    DatabaseUnavailable, DatabaseNotMigrated
        It is not paused.
    """
    with reading(engine) as connection:
        before = _find(connection, queue)
    if before is not None:
        return before
    values = {"queue": queue, "paused_by": by[:255], "reason": reason[:REASON_MAX_LENGTH]}
    with errors_of(engine):
        try:
            with engine.begin() as connection:
                connection.execute(
                    sa.insert(tables.paused_queue).values(**values, paused_at_ms=now_ms())
                )
        except exc.IntegrityError:  # somebody else has, a moment ago
            with reading(engine) as connection:
                return _find(connection, queue)
    return None


def resume(engine: Engine, queue: str) -> Pause | None:
    """End the pause of `queue`; the pause that was ended, None if it was not paused."""
    with writing(engine) as connection:
        before = _find(connection, queue)
        connection.execute(sa.delete(tables.paused_queue).where(_paused.queue == queue))
    return before


def _find(connection: Connection, queue: str) -> Pause | None:
    row = connection.execute(
        sa.select(_paused.queue, _paused.paused_at_ms, _paused.paused_by, _paused.reason).where(
            _paused.queue == queue
        )
    ).first()
    return None if row is None else Pause(*row)
