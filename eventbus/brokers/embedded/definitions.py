"""The queues and bindings of the embedded broker as rows: finding, changing and removing them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventbus import tables
from eventbus.database import now_ms
from eventbus.drift import Difference, Found, FoundQueue, differences_of
from eventbus.topology import Binding, Queue, Topology


def inspect(connection: Connection, declared: Topology, prefix: str) -> Found:
    """What is there of `declared`, and of queues whose names begin with `prefix`.

    There is no row for an exchange: it is there as soon as somebody names it.
    """
    wanted = {queue.name for queue in declared.queues}
    exchanges = {exchange.name: exchange.kind for exchange in declared.exchanges}
    names = [
        name for name in arguments_of_all(connection) if name in wanted or name.startswith(prefix)
    ]
    bindings = tuple(binding for binding in all_bindings(connection) if binding.queue in names)
    return Found(exchanges, dict(_found(connection, names)), bindings)


def _found(connection: Connection, names: list[str]) -> Iterator[tuple[str, FoundQueue]]:
    known = arguments_of_all(connection)
    attached = attached_consumers(connection)
    for name in names:
        yield (
            name,
            FoundQueue(
                name,
                known[name],
                messages=messages_in(connection, name),
                consumers=attached.count(name),
            ),
        )


def arguments_of_all(connection: Connection) -> dict[str, dict[str, Any]]:
    """The arguments of every queue, by name."""
    found = connection.execute(sa.select(tables.queue.c.name, tables.queue.c.arguments))
    return {row.name: json.loads(row.arguments) for row in found}


def all_bindings(connection: Connection) -> list[Binding]:
    """Every binding of every exchange."""
    table = tables.binding.c
    found = connection.execute(sa.select(table.exchange, table.queue, table.pattern))
    return [Binding(*row) for row in found]


def attached_consumers(connection: Connection) -> list[str]:
    """The name of a queue once for each consumer that is alive."""
    found = connection.scalars(
        sa.select(tables.consumer.c.queues).where(tables.consumer.c.lease_until_ms >= now_ms())
    )
    return [queue for queues in found for queue in json.loads(queues)]


def messages_in(connection: Connection, queue: str) -> int:
    """All rows of `queue`: ready, waiting for their time, and those that a consumer has."""
    return int(
        connection.scalar(
            sa.select(sa.func.count())
            .select_from(tables.message)
            .where(tables.message.c.queue == queue)
        )
        or 0
    )


def differences(declared: Topology, known: dict[str, dict[str, Any]]) -> Iterator[Difference]:
    """Where queues that exist are not as `declared`."""
    for queue in declared.queues:
        if queue.name in known:
            wanted = Queue(queue.name, json.loads(json.dumps(queue.arguments)))
            yield from differences_of(wanted, FoundQueue(queue.name, known[queue.name]))


def remove(connection: Connection, queue: str) -> None:
    """Delete the row of `queue`, not its messages."""
    connection.execute(tables.queue.delete().where(tables.queue.c.name == queue))


def unbind_all(connection: Connection, queue: str) -> int:
    """Delete the rows of the bindings of `queue`; how many there were."""
    deleted = connection.execute(tables.binding.delete().where(tables.binding.c.queue == queue))
    return int(deleted.rowcount)


def unbind(connection: Connection, binding: Binding) -> None:
    """Delete the row of a binding, if there is one."""
    table = tables.binding.c
    connection.execute(
        tables.binding.delete().where(
            table.exchange == binding.exchange,
            table.queue == binding.queue,
            table.pattern == binding.pattern,
        )
    )


def change(connection: Connection, queue: Queue) -> None:
    """Give a queue other arguments; its messages are rows of another table."""
    connection.execute(
        tables.queue.update()
        .where(tables.queue.c.name == queue.name)
        .values(arguments=json.dumps(queue.arguments, sort_keys=True))
    )
