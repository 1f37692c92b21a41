"""What handlers can be given by the annotations of their parameters, and what is refused where."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, NewType, Protocol

import pytest
from sqlalchemy.orm import Session

from eventbus import Context, Event, EventBus
from eventbus.dependencies import Dependencies
from eventbus.errors import DeclarationError


class Sold(Event, name="dependencies.sold"):
    """An event."""


class Clock:
    """Something an application provides."""


class Shelf(Protocol):
    """Something abstract."""


Tenant = NewType("Tenant", str)


@pytest.fixture
def bus() -> EventBus:
    return EventBus("shop")


def declared(bus: EventBus, function: Any, **options: Any) -> Any:
    bus.handler("dependencies.sold", name="react", **options)(function)
    return bus.handlers["react"]


def given(bus: EventBus, function: Any, **options: Any) -> set[str]:
    return set(bus.dependencies.of(declared(bus, function, **options)))


def test_what_eventbus_gives_itself_needs_no_provider(bus: EventBus) -> None:
    def react(event: Sold, logger: logging.Logger, here: Context, session: Session) -> None: ...

    assert given(bus, react, transactional=True) == {"logger", "here", "session"}


def test_the_context_in_second_place_needs_no_annotation(bus: EventBus) -> None:
    def react(event, context, clock: Clock): ...  # type: ignore[no-untyped-def]

    bus.provide(Clock, Clock)
    assert given(bus, react) == {"clock"}
    assert bus.handlers["react"].parameters[0].leading


def test_what_is_provided_may_be_a_class_a_protocol_or_a_new_type(bus: EventBus) -> None:
    def react(event: Sold, clock: Clock, *, shelf: Shelf, tenant: Tenant) -> None: ...

    for kind in (Clock, Shelf, Tenant):
        bus.provide(kind, lambda: object())
    assert given(bus, react) == {"clock", "shelf", "tenant"}


def test_it_may_be_provided_after_the_handler_is_declared(bus: EventBus) -> None:
    def react(event: Sold, clock: Clock) -> None: ...

    declared(bus, react)
    with pytest.raises(DeclarationError, match=r"'clock' of type Clock; call bus.provide\(Clock,"):
        bus.check_handlers()
    bus.provide(Clock, Clock)
    bus.check_handlers()


def test_a_parameter_with_a_default_keeps_it_where_nothing_is_provided(bus: EventBus) -> None:
    def react(
        event: Sold,
        clock: Clock | None = None,
        retries: int = 3,
        anything=None,  # type: ignore[no-untyped-def]
    ) -> None: ...

    handler = declared(bus, react)
    assert bus.dependencies.of(handler) == {}
    bus.provide(Clock, Clock)
    assert set(bus.dependencies.of(handler)) == {"clock"}


def test_a_session_needs_a_transaction(bus: EventBus) -> None:
    def react(event: Sold, session: Session) -> None: ...

    declared(bus, react)
    with pytest.raises(DeclarationError, match=r"transactional=True, or call bus.provide"):
        bus.check_handlers()
    bus.provide(Session, lambda: None)
    bus.check_handlers()


def test_in_a_django_project_there_is_no_session(bus: EventBus) -> None:
    def react(event: Sold, session: Session) -> None: ...

    handler = declared(bus, react, transactional=True)
    assert set(bus.dependencies.of(handler)) == {"session"}
    with pytest.raises(DeclarationError, match="handlers write with the ORM: leave it out"):
        Dependencies(django=True).of(handler)


def unannotated(event, context, third):  # type: ignore[no-untyped-def]
    """Nothing says what the third is."""


def builtin(event: Sold, context: Context, amount: int) -> None:
    """An int could be anything."""


def positional_only(event: Sold, context: Context, clock: Clock, /) -> None:
    """Is given by name."""


def more(event: Sold, *others: Clock) -> None:
    """How many?"""


def anything(event: Sold, **others: Clock) -> None:
    """By which names?"""


def unknown(event: Sold, clock: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Is not defined."""


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (unannotated, "parameter 'third' has no annotation"),
        (builtin, "parameter 'amount' is annotated with int"),
        (positional_only, "parameter 'clock' is positional-only"),
        (more, "nothing is given to *others"),
        (anything, "nothing is given to **others"),
        (unknown, "'Nowhere', which is not defined"),
    ],
)
def test_a_parameter_that_can_never_be_given_is_refused_where_it_is_declared(
    bus: EventBus, function: Any, text: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        bus.handler("dependencies.sold")(function)
    assert text in str(caught.value)


def two(first: Any, second: Any) -> Clock:
    """Takes too much."""
    return Clock()


def keyword(*, context: Any) -> Clock:
    """Takes it by name."""
    return Clock()


@pytest.mark.parametrize(
    ("kind", "factory", "text"),
    [
        (Clock, two, "takes nothing or the context, not first, second"),
        (Clock, keyword, "takes nothing or the context, not context"),
        (Clock, Clock(), "the second is a function"),
        (Context, Clock, "Context is given by eventbus itself"),
        (logging.Logger, Clock, "Logger is given by eventbus itself"),
        (str, str, r"would tell nothing apart"),
    ],
)
def test_a_provider_that_cannot_work_is_refused(
    bus: EventBus, kind: Any, factory: Any, text: str
) -> None:
    with pytest.raises(DeclarationError, match=text):
        bus.provide(kind, factory)


def test_a_type_is_provided_once(bus: EventBus) -> None:
    bus.provide(Clock, Clock)
    with pytest.raises(DeclarationError, match="Clock is provided already"):
        bus.provide(Clock, lambda: Clock())


async def coroutine() -> Clock:
    return Clock()


async def async_generator() -> AsyncIterator[Clock]:
    yield Clock()


def generator() -> Iterator[Clock]:
    yield Clock()


@pytest.mark.parametrize("factory", [coroutine, async_generator])
def test_only_a_coroutine_is_given_what_is_made_asynchronously(bus: EventBus, factory: Any) -> None:
    bus.provide(Clock, factory)

    async def later(event: Sold, clock: Clock) -> None: ...

    bus.handler("dependencies.sold", name="later")(later)
    bus.check_handlers()

    def plain(event: Sold, clock: Clock) -> None: ...

    bus.handler("dependencies.sold", name="plain")(plain)
    with pytest.raises(DeclarationError, match="'plain': the factory of Clock is asynchronous"):
        bus.check_handlers()
