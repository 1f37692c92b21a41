"""The application whose processes the fault tests kill.

Settings come from the environment. Effects are rows in a table without any unique constraint, so
that an effect that happens twice is seen twice.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from eventbus import Context, Event, EventBus, Retry
from eventbus.database import make_engine

bus = EventBus("shop", retry=Retry(max_attempts=3, delay=timedelta(seconds=1), backoff="fixed"))

metadata = sa.MetaData()
effects = sa.Table(
    "effects",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("handler", sa.String(50), nullable=False),
    sa.Column("event_id", sa.String(64), nullable=False),
    sa.Column("item", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
)

_engine = make_engine(bus.settings.database_url)


class ItemAdded(Event, name="item.added"):
    """Item `item` of a series."""

    item: int


class ItemBooked(Event, name="item.booked"):
    """For the transactional handler."""

    item: int


class ItemBroken(Event, name="item.broken"):
    """Its handler fails until the file named by ``SHOP_MENDED`` exists."""

    item: int


class ItemSlow(Event, name="item.slow"):
    """Its handler runs until the file named by ``SHOP_GO`` exists."""

    item: int


class ItemFatal(Event, name="item.fatal"):
    """Its handler ends the process with a segmentation fault where `deadly`."""

    item: int
    deadly: bool


class ItemFatalBooked(Event, name="item.fatal_booked"):
    """The same for a transactional handler."""

    item: int
    deadly: bool


def _values(handler: str, event: Event, context: Context) -> dict[str, object]:
    return {
        "handler": handler,
        "event_id": context.event_id,
        "item": event.item,  # type: ignore[attr-defined]
        "attempt": context.attempt,
        "pid": os.getpid(),
    }


def _effect(handler: str, event: Event, context: Context) -> None:
    with _engine.begin() as connection:
        connection.execute(effects.insert().values(**_values(handler, event, context)))


@bus.handler("item.added", queue="added")
def add(event: ItemAdded, context: Context) -> None:
    """Has its effect outside any transaction of eventbus."""
    _effect("add", event, context)


@bus.handler("item.booked", queue="booked", transactional=True)
def book(event: ItemBooked, context: Context) -> None:
    """Has its effect in the transaction that also holds the inbox row."""
    context.session.execute(effects.insert().values(**_values("book", event, context)))


@bus.handler("item.broken", queue="broken")
def mend(event: ItemBroken, context: Context) -> None:
    """Fails until it is mended."""
    if not Path(os.environ.get("SHOP_MENDED", "/nonexistent")).exists():
        raise RuntimeError(f"cannot mend {event.item}")
    _effect("mend", event, context)


@bus.handler("item.broken", queue="broken")
def note(event: ItemBroken, context: Context) -> None:
    """The neighbour of `mend` on the same queue, which always succeeds."""
    _effect("note", event, context)


@bus.handler("item.slow", queue="slow")
def wait(event: ItemSlow, context: Context) -> None:
    """Says that it has begun, runs until it may go on, then has its effect."""
    _effect("begun", event, context)
    while not Path(os.environ["SHOP_GO"]).exists():
        time.sleep(0.02)
    _effect("wait", event, context)


def _die_of(event: ItemFatal | ItemFatalBooked) -> None:
    if event.deadly:
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)  # the signal may be another thread's, and this one is not to go on


@bus.handler("item.fatal", queue="fatal")
def meet(event: ItemFatal, context: Context) -> None:
    """Does not survive what is deadly."""
    _die_of(event)
    _effect("meet", event, context)


@bus.handler("item.fatal_booked", queue="fatal_booked", transactional=True)
def meet_booked(event: ItemFatalBooked, context: Context) -> None:
    """Does not survive what is deadly, in a transaction."""
    context.session.execute(effects.insert().values(**_values("meet_booked", event, context)))
    _die_of(event)
