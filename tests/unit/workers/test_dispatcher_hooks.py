"""What a dispatcher tells its hooks."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from eventbus import tables
from eventbus.hooks import (
    DispatcherReady,
    DispatcherShutdown,
    EventHeldBack,
    EventResumed,
    Unrouted,
)
from tests.waiting import wait_until

from .test_dispatcher import _REFUSED, _ROUTED, _UNROUTED, Outbox, outbox

__all__ = ["outbox"]


def test_hooks_are_told_of_the_start_of_what_has_no_queue_and_of_the_end(outbox: Outbox) -> None:
    told: list[Any] = []
    for name in ("dispatcher_ready", "dispatcher_shutdown", "unrouted"):
        outbox.bus.on(name)(told.append)
    outbox.wire.answer = lambda item: _UNROUTED if item == 2 else _ROUTED
    with outbox.running(name="d1"):
        outbox.publish(1, 2)
        wait_until(lambda: len(told) == 2, 20, lambda: f"two hooks; {told}")
    unrouted = sa.select(tables.event_log.c.event_id).where(~tables.event_log.c.routed)
    with outbox.bus.engine.connect() as connection:
        event_id = connection.scalar(unrouted)
    assert told == [
        DispatcherReady("d1"),
        Unrouted("item.added", event_id),
        DispatcherShutdown("d1"),
    ]


def test_hooks_are_told_when_an_event_is_held_back_and_when_it_goes_on(outbox: Outbox) -> None:
    told: list[Any] = []
    for name in ("event_held_back", "event_resumed"):
        outbox.bus.on(name)(told.append)
    outbox.wire.answer = lambda item: _REFUSED
    with outbox.running():
        outbox.publish(1)
        wait_until(lambda: told, 20, "the refusal")
        outbox.wire.answer = lambda item: _ROUTED
        wait_until(lambda: len(told) == 2, 20, lambda: f"the relief; {told}")
    assert told == [EventHeldBack("item.added"), EventResumed("item.added")]
