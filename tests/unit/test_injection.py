"""Handlers run with what they ask for, and it is closed after the run, also after a failed one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from eventbus import Context, Event, EventBus
from eventbus.context import current_context
from eventbus.envelope import Envelope
from eventbus.errors import DeclarationError
from eventbus.injection import bind, bind_async


class Sold(Event, name="injection.sold"):
    """An event."""


class Clock:
    """Counts how often it is closed."""

    def __init__(self, context: Context | None = None) -> None:
        self.context = context
        self.closed = 0

    def __enter__(self) -> Clock:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed += 1


class Other(Clock):
    """Another one."""


@pytest.fixture
def bus() -> EventBus:
    return EventBus("shop")


def run(bus: EventBus, function: Any) -> None:
    bus.handler("injection.sold", name="react")(function)
    handler = bus.handlers["react"]
    context = Context(bus, Envelope("1", "shop", "injection.sold"), "react", "shop.q", 1, {})
    token = current_context.set(context)
    try:
        if handler.is_coroutine:
            call = bind_async(handler, bus.dependencies)
            asyncio.run(_awaited(call, context))
        else:
            bind(handler, bus.dependencies, lambda returned: None)(Sold(), context)
    finally:
        current_context.reset(token)


async def _awaited(call: Any, context: Context) -> None:
    await call(Sold(), context)


def test_each_form_of_a_handler_is_called_as_it_is_written(bus: EventBus) -> None:
    seen: list[tuple[Any, ...]] = []
    bus.provide(Clock, lambda context: Clock(context))

    def event_only(event: Sold) -> None:
        seen.append((event,))

    def with_context(event: Sold, context: Context) -> None:
        seen.append((event, context.event_id))

    def by_keyword(event: Sold, *, here: Context) -> None:
        seen.append((event, here.event_id))

    def positional(event: Sold, context: Context, /) -> None:
        seen.append((event, context.event_id))

    def all_of_it(event: Sold, context: Context, clock: Clock, more: int = 3) -> None:
        assert clock.context is context
        seen.append((event, more))

    for function in (event_only, with_context, by_keyword, positional, all_of_it):
        bus = EventBus("shop")
        bus.provide(Clock, lambda context: Clock(context))
        run(bus, function)
    assert seen == [(Sold(),), (Sold(), "1"), (Sold(), "1"), (Sold(), "1"), (Sold(), 3)]


def test_a_generator_is_closed_after_the_run(bus: EventBus) -> None:
    notes: list[str] = []

    def clock() -> Iterator[Clock]:
        notes.append("made")
        yield Clock()
        notes.append("closed")

    bus.provide(Clock, clock)

    def react(event: Sold, clock: Clock) -> None:
        notes.append("run")

    run(bus, react)
    assert notes == ["made", "run", "closed"]


def test_a_context_manager_is_closed_after_the_run_and_a_value_is_not(bus: EventBus) -> None:
    shared = Clock()
    notes: list[str] = []

    @contextlib.contextmanager
    def other() -> Iterator[Other]:
        yield Other()
        notes.append("closed")

    bus.provide(Clock, lambda: shared)
    bus.provide(Other, other)

    def react(event: Sold, clock: Clock, other: Other) -> None:
        assert clock is shared
        assert type(other) is Other

    run(bus, react)
    assert notes == ["closed"]
    assert shared.closed == 0, "it may be shared, and is not ours to close"


def test_what_was_made_is_closed_when_the_handler_fails(bus: EventBus) -> None:
    seen: list[BaseException] = []

    def clock() -> Iterator[Clock]:
        try:
            yield Clock()
        except ValueError as error:
            seen.append(error)
            raise

    bus.provide(Clock, clock)

    def react(event: Sold, clock: Clock) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(bus, react)
    assert len(seen) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_provider_that_swallows_an_error_does_not_make_a_success_of_it(
    bus: EventBus, asynchronous: bool
) -> None:
    def clock() -> Iterator[Clock]:
        with contextlib.suppress(ValueError):
            yield Clock()

    bus.provide(Clock, clock)

    def react(event: Sold, clock: Clock) -> None:
        raise ValueError("no")

    async def later(event: Sold, clock: Clock) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(bus, later if asynchronous else react)


def test_a_provider_that_fails_fails_the_run(bus: EventBus) -> None:
    bus.provide(Clock, lambda: 1 // 0)

    def react(event: Sold, clock: Clock) -> None: ...

    with pytest.raises(ZeroDivisionError):
        run(bus, react)


def test_a_coroutine_is_given_what_is_made_asynchronously(bus: EventBus) -> None:
    notes: list[str] = []

    async def clock(context: Context) -> AsyncIterator[Clock]:
        await asyncio.sleep(0)
        yield Clock(context)
        await asyncio.sleep(0)
        notes.append("closed")

    async def other() -> Other:
        await asyncio.sleep(0)
        return Other()

    bus.provide(Clock, clock)
    bus.provide(Other, other)

    async def react(event: Sold, clock: Clock, other: Other, logger: logging.Logger) -> None:
        assert clock.context is not None
        assert type(other) is Other
        notes.append("run")

    run(bus, react)
    assert notes == ["run", "closed"]


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Clock]:
    yield Clock()


async def awaited() -> Clock:
    return Clock()


@pytest.mark.parametrize("factory", [opened, awaited])
def test_a_plain_handler_is_not_given_what_nobody_would_await(bus: EventBus, factory: Any) -> None:
    made: list[Any] = []

    def plain() -> Any:
        made.append(factory())
        return made[0]

    bus.provide(Clock, plain)

    def react(event: Sold, clock: Clock) -> None: ...

    with pytest.raises(DeclarationError, match="factory of Clock is asynchronous"):
        run(bus, react)
    if factory is awaited:
        made[0].close()


def test_the_logger_tells_the_event_and_the_handler(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    def react(event: Sold, logger: logging.Logger) -> None:
        logger.warning("sold out")

    run(bus, react)
    [record] = caplog.records
    assert record.name == f"{__name__}.react"
    assert (record.event_id, record.event_name, record.handler) == (  # type: ignore[attr-defined]
        "1",
        "injection.sold",
        "react",
    )


def test_only_the_handlers_own_logger_tells_the_event(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    def react(event: Sold, logger: logging.Logger) -> None:
        logging.getLogger(__name__).warning("elsewhere")

    run(bus, react)
    assert not hasattr(caplog.records[0], "event_id")
