"""One message in one queue is one row: how it is written, and the statements on rows.

A row is *ready* when nobody owns it and its ``available_at_ms`` is 0; *waiting* when that is a
time; *unsettled* when a consumer owns it. Ready rows are taken in the order of ``seq``.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from eventbus.database import now_ms
from eventbus.message import PARKED_AT_HEADER, REASON_HEADER, Message
from eventbus.tables import message as table
from eventbus.tables import queue as queue_table

#: The owner of a row that nobody has.
NOBODY = ""

#: What RabbitMQ puts on a message that it delivers again; ours is a count of the row.
DELIVERY_COUNT_HEADER = "x-delivery-count"

#: Rows that one statement names at most (SQLite before 3.32 allows 999 parameters).
CHUNK = 500

_PROPERTIES = (
    "message_id",
    "type",
    "content_type",
    "content_encoding",
    "correlation_id",
    "app_id",
    "timestamp",
)

_COLUMNS = (
    table.c.seq,
    table.c.routing_key,
    table.c.properties,
    table.c.body,
    table.c.from_exchange,
    table.c.deliveries,
)


def properties_of(message: Message) -> str:
    """The headers and properties of `message` as the JSON of its row."""
    found = {name: getattr(message, name) for name in _PROPERTIES}
    kept: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    headers = {k: v for k, v in message.headers.items() if k != DELIVERY_COUNT_HEADER}
    if headers:
        kept["headers"] = headers
    # ASCII, so that a NUL or a lone surrogate is text that every database takes.
    return json.dumps(kept, default=_tagged, skipkeys=True, separators=(",", ":"))


def message_of(row: Row[Any]) -> Message:
    """The message in `row`.

    Raises
    ------
    ValueError
        Somebody else has written the row; it cannot be read.
    """
    try:
        properties = json.loads(row.properties, object_hook=_untagged)
        headers = properties.pop("headers", {})
        if row.deliveries:
            headers[DELIVERY_COUNT_HEADER] = row.deliveries
        return Message(bytes(row.body), row.routing_key, headers, **properties)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"properties are not what eventbus writes: {error}") from error


def _tagged(value: Any) -> Any:
    """What JSON has no form for: bytes and times as they came from AMQP, else their text."""
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": value.timestamp()}
    return str(value)


def _untagged(value: dict[str, Any]) -> Any:
    if len(value) == 1:
        if isinstance(encoded := value.get("$bytes"), str):
            return base64.b64decode(encoded)
        if isinstance(seconds := value.get("$time"), (int, float)):
            return datetime.fromtimestamp(seconds, timezone.utc)
    return value


def published_row(queue: str, message: Message, properties: str) -> dict[str, Any]:
    """The values of a ready row that the exchange routed here; `properties` as `properties_of`."""
    return {**new_row(queue, message, properties), "from_exchange": True}


def new_row(queue: str, message: Message, properties: str | None = None) -> dict[str, Any]:
    """The values of a ready row that comes from another queue, or back to its own."""
    return {
        "queue": queue,
        "routing_key": message.routing_key,
        "properties": properties_of(message) if properties is None else properties,
        "body": message.body,
        "from_exchange": False,
        "available_at_ms": 0,
        "owner": NOBODY,
        "deliveries": 0,
    }


def insert(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add `rows` of `new_row`, in their order."""
    if rows:
        connection.execute(_INSERT, rows)


def insert_waiting(connection: Connection, row: dict[str, Any], delay_ms: int) -> None:
    """Add `row`, ready in `delay_ms` milliseconds."""
    values = {**row, "available_at_ms": now_ms() + max(1, delay_ms)}
    connection.execute(table.insert().values(**values))


_INSERT = table.insert()

# A range where equality would do, and an order that only the one index has: no statistics, however
# old, can make a database walk the whole table along its primary key instead.
_READY = (
    sa.select(*_COLUMNS)
    .where(
        table.c.queue == sa.bindparam("of_queue"),
        table.c.owner == NOBODY,
        table.c.available_at_ms <= sa.bindparam("until_ms"),
    )
    .order_by(table.c.available_at_ms, table.c.seq)
    .limit(sa.bindparam("rows"))
    .with_for_update(skip_locked=True)
    .with_hint(table, "FORCE INDEX (eventbus_message_next)", "mysql")
    .with_hint(table, "FORCE INDEX (eventbus_message_next)", "mariadb")
)


def lock_ready(connection: Connection, queue: str, limit: int) -> Sequence[Any]:
    """The oldest ready rows of `queue` that no other transaction has locked."""
    return connection.execute(_READY, {"of_queue": queue, "until_ms": 0, "rows": limit}).all()


def claim(connection: Connection, queue: str, owner: str, limit: int) -> Sequence[Any]:
    """Give the oldest ready rows of `queue` to `owner`; they show the deliveries before this."""
    found = lock_ready(connection, queue, min(limit, CHUNK))
    if found:
        connection.execute(
            table.update()
            .where(table.c.seq.in_([row.seq for row in found]))
            .values(owner=owner, deliveries=table.c.deliveries + 1)
        )
    return found


def lock_queue(connection: Connection, queue: str) -> None:
    """Let no other transaction past this call for `queue` until this one ends."""
    connection.execute(
        sa.select(queue_table.c.name).where(queue_table.c.name == queue).with_for_update()
    )


def others_have(connection: Connection, queue: str, owner: str) -> bool:
    """Whether a consumer that is not `owner` has messages of `queue`; locks the queue first."""
    lock_queue(connection, queue)
    held = sa.select(table.c.seq).where(
        table.c.queue == queue, table.c.owner > NOBODY, table.c.owner != owner
    )
    return connection.execute(held.limit(1)).first() is not None


def delete(connection: Connection, seqs: Iterable[int], owner: str = NOBODY) -> None:
    """Delete rows, of which only those that `owner` still has."""
    for part in _chunks(seqs):
        connection.execute(table.delete().where(table.c.seq.in_(part), table.c.owner == owner))


def still_owned(connection: Connection, seqs: Iterable[int], owner: str = NOBODY) -> set[int]:
    """Which of these rows `owner` still has; they stay so until the transaction ends."""
    found: set[int] = set()
    for part in _chunks(seqs):
        query = sa.select(table.c.seq).where(table.c.seq.in_(part), table.c.owner == owner)
        found.update(connection.scalars(query.with_for_update()))
    return found


def give_back(connection: Connection, seqs: Iterable[int], owner: str) -> None:
    """Make rows of `owner` ready again, where they were. It counts as no lost delivery."""
    # The first one stays counted: whoever gets the message next learns of the redelivery.
    uncounted = sa.case((table.c.deliveries > 1, table.c.deliveries - 1), else_=1)
    for part in _chunks(seqs):
        connection.execute(
            table.update()
            .where(table.c.seq.in_(part), table.c.owner == owner)
            .values(owner=NOBODY, deliveries=uncounted)
        )


def take_away(connection: Connection, queues: Sequence[str], owner: str) -> int:
    """Make all rows of a dead `owner` ready again; the delivery stays counted."""
    result = connection.execute(
        table.update().where(table.c.queue.in_(queues), table.c.owner == owner).values(owner=NOBODY)
    )
    return result.rowcount


def make_due_ready(connection: Connection, queue: str) -> None:
    """Make the rows ready whose time has come."""
    now = connection.scalar(sa.select(now_ms()))
    connection.execute(
        table.update()
        .where(
            table.c.queue == queue,
            table.c.owner == NOBODY,
            table.c.available_at_ms.between(1, now),
        )
        .values(available_at_ms=0)
    )


def move(connection: Connection, found: Sequence[Row[Any]], queue: str) -> None:
    """Move locked rows to `queue` as they are."""
    for part in _chunks(row.seq for row in found):
        connection.execute(
            table.update().where(table.c.seq.in_(part)).values(queue=queue, deliveries=0)
        )


def park(connection: Connection, found: Sequence[Row[Any]], dead_letters: str, reason: str) -> None:
    """Move locked rows to the queue `dead_letters`, with the `reason` in their headers."""
    added = {REASON_HEADER: reason, PARKED_AT_HEADER: int(time.time() * 1000)}
    rows = []
    for row in found:
        try:
            moved = message_of(row).with_headers(added)
        except ValueError:
            moved = Message(bytes(row.body), row.routing_key, dict(added))
        rows.append(new_row(dead_letters, moved))
    insert(connection, rows)
    for part in _chunks(row.seq for row in found):
        connection.execute(table.delete().where(table.c.seq.in_(part)))


def _chunks(seqs: Iterable[int]) -> Iterable[list[int]]:
    # Sorted, so that two transactions lock in one order.
    ordered = sorted(seqs)
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))
