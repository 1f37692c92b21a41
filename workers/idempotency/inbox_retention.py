"""Forgets what the inbox need not remember any longer.

Apart from `inbox`, because the dispatcher does this, and an idle one should not carry the ORM.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from eventbus.database import now_ms
from eventbus.tables import inbox as table

from .contention import retrying
from .sql import unavailable

_OLD = (
    sa.select(table.c.handler, table.c.event_id)
    .where(table.c.processed_at_ms < sa.bindparam("oldest"))
    .order_by(table.c.processed_at_ms)
    .limit(sa.bindparam("most"))
)
_DELETE = table.delete().where(
    table.c.handler == sa.bindparam("of_handler"), table.c.event_id == sa.bindparam("of_event")
)


def purge_inbox(engine: Engine, older_than_ms: int, limit: int = 1000) -> int:
    """Delete up to `limit` rows of events handled longer ago than `older_than_ms`; how many.

    Raises
    ------
    IdempotencyStoreUnavailable
        The database cannot be asked.
    """

    def purge() -> int:
        with unavailable(engine), engine.begin() as connection:
            oldest = int(connection.execute(sa.select(now_ms())).scalar_one()) - older_than_ms
            rows = connection.execute(_OLD, {"oldest": oldest, "most": limit}).all()
            # Sorted, so that two of these lock in one order.
            for handler, event_id in sorted(map(tuple, rows)):
                connection.execute(_DELETE, {"of_handler": handler, "of_event": event_id})
            return len(rows)

    return retrying(purge)
