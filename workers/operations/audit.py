"""The audit of operations: one row in ``eventbus_operation`` for each, kept up to date as it runs.

An operation is what an operator does to many messages at once: a replay, a deletion, a migration.
The row says who, when, which messages, how many so far and how it ended. It is also the
operation's memory: with it, one that was interrupted goes on.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine, Row

from eventbus.database import reading, writing
from eventbus.errors import UnknownName
from eventbus.tables import operation as table

RUNNING = "running"
#: All of it is done.
DONE = "done"
#: A person ended it (Ctrl-C, SIGTERM); it can be resumed.
INTERRUPTED = "interrupted"
#: It ended itself, because too much of what it did came back.
STOPPED = "stopped"
#: An error ended it.
FAILED = "failed"

#: A row that says it is running but was not written for so long belongs to a process that was
#: killed. A running operation writes at least once a second.
LOST_AFTER_MS = 10_000

_WHO_MAX_LENGTH = 255


@dataclass(frozen=True)
class OperationRecord:
    """One operation as the audit has it.

    Parameters
    ----------
    kind:
        Such as ``dlq.replay``.
    parameters:
        Which messages were chosen, and how they are treated; JSON.
    total:
        How many there are to do, as far as it is known.
    done, failed:
        How many are done, and how many of those came back or were refused.
    runs:
        1, and one more each time it was resumed.
    position:
        Where a resumed operation goes on, for one that needs to be told; JSON.
    notes:
        What else is to be remembered, such as the original of an edited message; JSON.
    """

    id: str
    kind: str
    state: str
    started_by: str
    started_at_ms: int
    updated_at_ms: int
    finished_at_ms: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    total: int | None = None
    done: int = 0
    failed: int = 0
    runs: int = 1
    position: Any = None
    notes: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def state_at(self, now_ms: int) -> str:
        """The state, or ``killed`` for one that says it runs and has not been heard of."""
        if self.state == RUNNING and now_ms - self.updated_at_ms > LOST_AFTER_MS:
            return "killed"
        return self.state


class OperationLog:
    """Reads and writes the audit rows.

    Each method raises `DatabaseUnavailable` or `DatabaseNotMigrated` where the database does.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, record: OperationRecord) -> None:
        """Store `record`, the first time or again."""
        values = _values(record)
        with writing(self._engine) as connection:
            changed = connection.execute(
                table.update().where(table.c.id == record.id).values(**values)
            )
            if not changed.rowcount and not connection.scalar(
                sa.select(table.c.id).where(table.c.id == record.id)
            ):
                connection.execute(table.insert().values(**values))

    def find(self, id: str) -> OperationRecord:
        """The operation of that id.

        Raises
        ------
        UnknownName
            There is none.
        """
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(table).where(table.c.id == id)).first()
        if row is None:
            raise UnknownName(
                f"there is no operation {id!r}; 'eventbus operations list' shows them"
            )
        return _record(row)

    def latest(self, limit: int, kind: str | None = None) -> list[OperationRecord]:
        """The newest operations, of that `kind` or of a group of kinds (``dlq``), newest first."""
        query = sa.select(table).order_by(table.c.started_at_ms.desc(), table.c.id.desc())
        if kind is not None:
            group = sa.literal(f"{kind}.")
            query = query.where(
                sa.or_(
                    table.c.kind == kind,
                    sa.func.substr(table.c.kind, 1, len(kind) + 1) == group,
                )
            )
        with reading(self._engine) as connection:
            return [_record(row) for row in connection.execute(query.limit(limit))]


def who() -> str:
    """The user and the machine, as in ``ada@shop-3``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:_WHO_MAX_LENGTH]


_PROGRESS = ("total", "done", "failed", "runs", "position", "notes")


def _values(record: OperationRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind,
        "state": record.state,
        "started_by": record.started_by,
        "started_at_ms": record.started_at_ms,
        "updated_at_ms": record.updated_at_ms,
        "finished_at_ms": record.finished_at_ms,
        # In ASCII: what an operator typed or a message holds is text that every database takes.
        "parameters": json.dumps(record.parameters, default=str),
        "progress": json.dumps({name: getattr(record, name) for name in _PROGRESS}, default=str),
        "error": None if record.error is None else _storable(record.error),
    }


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _record(row: Row[Any]) -> OperationRecord:
    record = OperationRecord(
        id=row.id,
        kind=row.kind,
        state=row.state,
        started_by=row.started_by,
        started_at_ms=row.started_at_ms,
        updated_at_ms=row.updated_at_ms,
        finished_at_ms=row.finished_at_ms,
        parameters=json.loads(row.parameters),
        error=row.error,
    )
    progress = json.loads(row.progress)
    return replace(record, **{name: progress[name] for name in _PROGRESS if name in progress})
