"""The rows of the outbox that were given up: what an operator does with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from eventbus import tables, wakeup
from eventbus.database import now_ms, reading, writing
from eventbus.outbox.row import OUTBOX_CHANNEL

_outbox = tables.outbox.c

#: Rows that one statement changes, so that dispatchers never wait long.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """Which failed rows are meant; None means any.

    Parameters
    ----------
    ids:
        Ids of events.
    names:
        Names of events.
    """

    ids: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None


class FailedRows:
    """Counts, retries and deletes failed rows.

    Raises
    ------
    DatabaseUnavailable, DatabaseNotMigrated
        From every method.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count(self, choice: Choice) -> dict[str, int]:
        """Event name to how many of the chosen rows there are."""
        statement = (
            sa.select(_outbox.name, sa.func.count())
            .where(*_conditions(choice))
            .group_by(_outbox.name)
            .order_by(_outbox.name)
        )
        with reading(self._engine) as connection:
            return {name: int(number) for name, number in connection.execute(statement)}

    def ids(self, choice: Choice) -> set[str]:
        """The ids of the chosen rows, of a choice that names ids."""
        with reading(self._engine) as connection:
            return set(connection.scalars(sa.select(_outbox.event_id).where(*_conditions(choice))))

    def retry(self, choice: Choice) -> int:
        """Make the chosen rows pending again, with a fresh count of attempts; returns how many.

        They go out in the order in which they were written. Later events of their keys that have
        been published meanwhile stay before them.
        """
        values = {"state": "pending", "attempts": 0, "available_at_ms": now_ms()}
        done = self._in_batches(choice, sa.update(tables.outbox).values(values))
        if done:
            wakeup.notify(self._engine.url, OUTBOX_CHANNEL)
        return done

    def delete(self, choice: Choice) -> int:
        """Delete the chosen rows: their events are never published. Returns how many."""
        return self._in_batches(choice, sa.delete(tables.outbox))

    def _in_batches(self, choice: Choice, statement: Any) -> int:
        done = 0
        while True:
            chosen = sa.select(_outbox.seq).where(*_conditions(choice)).limit(BATCH)
            with writing(self._engine) as connection:
                found = list(connection.scalars(chosen))
                if found:
                    # Failed still: a second operator may have been quicker.
                    again = (_outbox.seq.in_(found), _outbox.state == "failed")
                    done += connection.execute(statement.where(*again)).rowcount
            if len(found) < BATCH:
                return done


def _conditions(choice: Choice) -> Sequence[Any]:
    conditions = [_outbox.state == "failed"]
    if choice.ids is not None:
        conditions.append(_outbox.event_id.in_(choice.ids))
    if choice.names is not None:
        conditions.append(_outbox.name.in_(choice.names))
    return conditions
