"""A bus on each database, and each kind of session on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from eventbus import EventBus, database, tables

from .sessions import KINDS, Transactions

Rows = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def bus(database_url: str) -> Iterator[EventBus]:
    """A bus whose tables are there; it has opened no connection of its own."""
    engine = database.make_engine(database_url)
    database.upgrade(engine)
    engine.dispose()
    bus = EventBus("shop", database_url=database_url)
    yield bus
    if "engine" in bus.__dict__:
        bus.engine.dispose()


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    """The committed rows of the outbox, as another process sees them."""
    engine = database.make_engine(database_url)

    def read() -> list[dict[str, Any]]:
        with database.reading(engine) as connection:
            found = connection.execute(sa.select(tables.outbox).order_by(tables.outbox.c.seq))
            return [dict(row) for row in found.mappings()]

    yield read
    engine.dispose()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def transactions(
    request: pytest.FixtureRequest, bus: EventBus, database_url: str
) -> Iterator[Transactions]:
    """Each kind of session in turn."""
    made = request.param(database_url, bus)
    yield made
    made.close()
