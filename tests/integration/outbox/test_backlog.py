"""A long backlog leaves the outbox as fast as a short one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from eventbus import Event, EventBus, tables
from eventbus.database import upgrade
from eventbus.outbox.row import SHARDS
from eventbus.outbox.store import OutboxStore

BACKLOG = 5_000


class Happened(Event, name="thing.happened"):
    number: int


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """A database with a backlog, and with statistics from before there was one."""
    bus = EventBus("shop", database_url=postgres_url)
    upgrade(bus.engine)
    with bus.engine.begin() as connection:
        bus.publish_many((Happened(number=n) for n in range(BACKLOG)), session=connection)
    yield bus.engine
    bus.engine.dispose()


def test_a_batch_is_read_from_the_index_without_a_look_at_the_whole_backlog(
    engine: Engine,
) -> None:
    statements = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def on_statement(connection: Connection, cursor: object, statement: str, *args: object) -> None:
        statements.append((statement, args[0]))

    rows = OutboxStore(engine).next_batch(range(SHARDS), 100)

    assert len(rows) == 100
    plan = _plan(engine, statements)
    assert "Sort" not in plan, plan
    assert "eventbus_outbox_state" in plan, plan


def test_each_row_looks_for_a_held_one_of_its_key_in_the_index_of_those(engine: Engine) -> None:
    """By the state it would go through all earlier rows, for each row."""
    with engine.begin() as connection:
        held = tables.outbox.c.seq <= BACKLOG // 2
        connection.execute(sa.update(tables.outbox).where(held).values(state="held", attempts=1))
    statements = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def on_statement(connection: Connection, cursor: object, statement: str, *args: object) -> None:
        statements.append((statement, args[0]))

    rows = OutboxStore(engine).next_batch(range(SHARDS), 100)
    plan = _plan(engine, statements)
    assert len(rows) == 100
    assert "eventbus_outbox_held" in plan, plan
    assert plan.count("eventbus_outbox_state") == 1, plan


def _plan(engine: Engine, statements: list[tuple[str, object]]) -> str:
    """Run the transaction's `statements` again, the last one explained."""
    *before, (statement, parameters) = statements
    with engine.connect() as connection:
        for text, values in before:
            connection.exec_driver_sql(text, values)
        lines = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
        return "\n".join(lines)
