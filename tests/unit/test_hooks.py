"""Lifecycle hooks: who is told of what, and that a hook harms nothing."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any

import pytest

from eventbus import EventBus
from eventbus.errors import DeclarationError
from eventbus.hooks import HOOKS, BreakerClosed, BreakerOpened, WorkerReady


@pytest.fixture
def bus() -> EventBus:
    return EventBus("shop")


def test_a_hook_is_called_by_name_with_what_happened(bus: EventBus) -> None:
    told: list[Any] = []

    @bus.on("worker_ready")
    def first(happening: WorkerReady) -> None:
        told.append(happening)

    bus.on("worker_ready")(lambda happening: told.append("second"))
    bus.hooks.fire(WorkerReady("w1", ("shop.billing",)))
    bus.hooks.fire(BreakerClosed("shop.billing"))
    assert told == [WorkerReady("w1", ("shop.billing",)), "second"]
    assert first.__name__ == "first"


def test_each_bus_has_its_own_hooks(bus: EventBus) -> None:
    told: list[Any] = []
    EventBus("other").on("breaker_opened")(told.append)
    assert not bus.hooks
    bus.hooks.fire(BreakerOpened("shop.billing", "90 % failed"))
    assert told == []


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_a_hook_that_raises_is_logged_and_harms_nothing(
    bus: EventBus, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    told: list[Any] = []

    @bus.on("breaker_closed")
    def broken(happening: BreakerClosed) -> None:
        raise error

    bus.on("breaker_closed")(told.append)
    with caplog.at_level(logging.ERROR, "eventbus.hooks"):
        bus.hooks.fire(BreakerClosed("shop.billing"))
    assert told == [BreakerClosed("shop.billing")]
    assert "hook breaker_closed failed" in caplog.text
    assert "broken" in caplog.text


def test_an_unknown_hook_is_answered_with_the_nearest(bus: EventBus) -> None:
    with pytest.raises(DeclarationError, match=r"'worker_redy'; did you mean 'worker_ready'"):
        bus.on("worker_redy")(print)
    with pytest.raises(DeclarationError, match="hooks: worker_starting, worker_ready"):
        bus.on("zzz")(print)


def test_the_name_is_wrong_where_it_is_written_not_where_it_is_called(bus: EventBus) -> None:
    with pytest.raises(DeclarationError):
        bus.on("worker_redy")


@pytest.mark.parametrize("function", [None, "print", 7])
def test_what_cannot_be_called_is_no_hook(bus: EventBus, function: Any) -> None:
    with pytest.raises(DeclarationError, match="plain function that takes one argument"):
        bus.on("worker_ready")(function)


def test_a_coroutine_is_no_hook_as_nobody_would_await_it(bus: EventBus) -> None:
    async def later(happening: WorkerReady) -> None: ...

    with pytest.raises(DeclarationError, match="plain function"):
        bus.on("worker_ready")(later)


def test_every_hook_is_described_and_gives_named_values() -> None:
    for name, kind in HOOKS.items():
        assert name.islower()
        assert kind.__doc__, name
        assert fields(kind)
