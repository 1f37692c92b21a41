"""The application of the tests of bounded queues; effects are rows as in `tests.faults.shop`."""

from __future__ import annotations

import os

import sqlalchemy as sa

from eventbus import Context, Event, EventBus
from eventbus.database import make_engine

#: Messages that each bounded queue holds.
BOUND = 20

bus = EventBus("bounded")

metadata = sa.MetaData()
effects = sa.Table(
    "effects",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("handler", sa.String(50), nullable=False),
    sa.Column("event_id", sa.String(64), nullable=False),
    sa.Column("item", sa.Integer, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
)

_engine = make_engine(bus.settings.database_url)


class Overflowing(Event, name="bounded.overflowing"):
    """Goes to the queue ``overflowing``, and to ``healthy``."""

    item: int


class Blocking(Event, name="bounded.blocking"):
    """Goes to the queue ``blocking``, and to ``healthy``."""

    item: int


class Free(Event, name="bounded.free"):
    """Goes to ``healthy`` only."""

    item: int


bus.queue("overflowing", max_length=BOUND)
bus.queue("blocking", max_length=BOUND, overflow="block")


def _effect(handler: str, event: Event, context: Context) -> None:
    values = {"handler": handler, "event_id": context.event_id, "pid": os.getpid()}
    with _engine.begin() as connection:
        connection.execute(effects.insert().values(item=event.item, **values))  # type: ignore[attr-defined]


@bus.handler("bounded.overflowing", queue="overflowing")
def overflow(event: Overflowing, context: Context) -> None:
    """Has its effect once for each event, however often that comes."""
    _effect("overflow", event, context)


@bus.handler("bounded.blocking", queue="blocking")
def block(event: Blocking, context: Context) -> None:
    """The same."""
    _effect("block", event, context)


@bus.handler("bounded.*", queue="healthy")
def healthy(event: Overflowing | Blocking | Free, context: Context) -> None:
    """The same, of every event."""
    _effect("healthy", event, context)
