"""Middleware: order, what may be changed, and what is refused."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Event, EventBus, PublishOptions
from eventbus.errors import DeclarationError, ValidationError
from eventbus.middleware import (
    MiddlewareError,
    call_through,
    call_through_async,
    check_middleware,
)
from eventbus.outbox.row import OutboxRow


class ItemSold(Event, name="middleware.sold"):
    """An event."""

    item: int


class Outbox:
    """Takes the place of a writer."""

    def __init__(self) -> None:
        self.rows: list[OutboxRow] = []

    def write(self, rows: list[OutboxRow]) -> None:
        self.rows.extend(rows)


@pytest.fixture
def bus() -> EventBus:
    return EventBus("shop")


@pytest.fixture
def outbox(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    outbox = Outbox()
    monkeypatch.setattr(bus, "_writer", lambda session: outbox)
    return outbox


class Named:
    """Notes when it is entered and left."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    def publish_scope(self, call_next: Any, event: Event, options: PublishOptions) -> str:
        self.notes.append(f"{self.name} in")
        event_id: str = call_next(event, options)
        self.notes.append(f"{self.name} out")
        return event_id


def test_the_first_one_added_is_the_outermost(bus: EventBus, outbox: Outbox) -> None:
    notes: list[str] = []
    bus.add_middleware(Named("a", notes))
    bus.add_middleware(Named("b", notes))
    bus.publish(ItemSold(item=1))
    assert notes == ["a in", "b in", "b out", "a out"]
    assert len(bus.middlewares) == 2


def test_each_event_of_many_goes_through_it(bus: EventBus, outbox: Outbox) -> None:
    notes: list[str] = []
    bus.add_middleware(Named("a", notes))
    ids = bus.publish_many([ItemSold(item=n) for n in range(3)])
    assert notes == ["a in", "a out"] * 3
    assert [row.event_id for row in outbox.rows] == ids


class Tenant:
    def publish_scope(self, call_next: Any, event: Event, options: PublishOptions) -> Any:
        return call_next(event, options.with_attributes(tenant="acme"))


def test_it_adds_attributes_that_travel_with_the_event(bus: EventBus, outbox: Outbox) -> None:
    bus.add_middleware(Tenant())
    bus.publish(ItemSold(item=1), key="k", subject="s", delay=timedelta(seconds=1))
    [row] = outbox.rows
    attributes = json.loads(row.attributes)
    assert (attributes["tenant"], attributes["subject"]) == ("acme", "s")
    assert (row.partition_key, row.state) == ("k", "delayed")


def test_it_may_pass_on_another_event(bus: EventBus, outbox: Outbox) -> None:
    class Doubling:
        def publish_scope(self, call_next: Any, event: Any, options: PublishOptions) -> Any:
            return call_next(ItemSold(item=event.item * 2), options)

    bus.add_middleware(Doubling())
    bus.publish(ItemSold(item=4))
    assert json.loads(outbox.rows[0].body) == {"item": 8}


def test_one_that_refuses_leaves_nothing_written_of_all_of_them(
    bus: EventBus, outbox: Outbox
) -> None:
    class NoSevens:
        def publish_scope(self, call_next: Any, event: Any, options: PublishOptions) -> Any:
            if event.item == 7:
                raise PermissionError("no sevens")
            return call_next(event, options)

    bus.add_middleware(NoSevens())
    with pytest.raises(PermissionError):
        bus.publish_many([ItemSold(item=1), ItemSold(item=7)])
    assert outbox.rows == []


def test_one_that_forgets_to_publish_is_an_error(bus: EventBus, outbox: Outbox) -> None:
    class Forgetful:
        def publish_scope(self, call_next: Any, event: Any, options: PublishOptions) -> Any:
            return None

    bus.add_middleware(Tenant())
    bus.add_middleware(Forgetful())
    with pytest.raises(MiddlewareError, match=r"Forgetful\.publish_scope' returned without"):
        bus.publish(ItemSold(item=1))
    assert outbox.rows == []


def test_what_is_published_is_validated_after_it(bus: EventBus, outbox: Outbox) -> None:
    class Nonsense:
        def publish_scope(self, call_next: Any, event: Any, options: PublishOptions) -> Any:
            return call_next({"item": 1}, options)

    bus.add_middleware(Nonsense())
    with pytest.raises(ValidationError, match="is not an event"):
        bus.publish(ItemSold(item=1))


def test_what_is_no_event_does_not_come_to_it(bus: EventBus, outbox: Outbox) -> None:
    notes: list[str] = []
    bus.add_middleware(Named("a", notes))
    with pytest.raises(ValidationError, match="is not an event"):
        bus.publish({"item": 1})  # type: ignore[arg-type]
    assert notes == []


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"Tenant": "x"}, "'Tenant' cannot be an extension attribute"),
        ({"tenant-id": "x"}, "'tenant-id' cannot be"),
        ({"a" * 21: "x"}, "cannot be an extension"),
        ({"id": "x"}, "'id' cannot be"),
        ({"causationid": "x"}, "'causationid' cannot be"),
        ({"tenant": 7}, "tenant=7 cannot be used"),
        ({"tenant": "a\nb"}, "without control characters"),
        ({"tenant": "\0"}, "without control characters"),
        ({"tenant": "\ud800"}, "without control characters"),
        ({"tenant": "x" * 1001}, "up to 1,000 characters"),
        ({f"a{n}": "x" for n in range(33)}, "at most 32"),
    ],
)
def test_attributes_that_cannot_travel_are_refused_before_anything_is_written(
    bus: EventBus, outbox: Outbox, attributes: Any, text: str
) -> None:
    class Adding:
        def publish_scope(self, call_next: Any, event: Any, options: PublishOptions) -> Any:
            return call_next(event, options.with_attributes(**attributes))

    bus.add_middleware(Adding())
    with pytest.raises(ValidationError) as caught:
        bus.publish(ItemSold(item=1))
    assert text in str(caught.value)
    assert outbox.rows == []


class Nothing:
    pass


class AsyncConsume:
    async def consume_scope(self, call_next: Any, event: Any, context: Any) -> None: ...


class PlainAsync:
    def consume_scope_async(self, call_next: Any, event: Any, context: Any) -> None: ...


class NoMethod:
    consume_scope = "consume"


@pytest.mark.parametrize(
    ("middleware", "text"),
    [
        (Nothing(), "none of the methods publish_scope, consume_scope, consume_scope_async"),
        (None, "NoneType is no middleware"),
        (Tenant, r"write add_middleware\(Tenant\(\)\)"),
        (AsyncConsume(), "AsyncConsume.consume_scope must be plain"),
        (PlainAsync(), "PlainAsync.consume_scope_async must be a coroutine"),
        (NoMethod(), "is not a method"),
    ],
)
def test_what_is_no_middleware_is_refused_when_it_is_added(
    bus: EventBus, middleware: object, text: str
) -> None:
    with pytest.raises(DeclarationError, match=text):
        bus.add_middleware(middleware)
    assert bus.middlewares == ()


def test_what_the_innermost_returns_and_raises_comes_out() -> None:
    passing = [lambda call_next, event, context: call_next(event, context)] * 3
    assert call_through(passing, lambda event, context: (event, context), 1, 2) == (1, 2)
    with pytest.raises(ZeroDivisionError):
        call_through(passing, lambda event, context: 1 // 0, 1, 2)


def test_coroutines_go_through_in_the_same_order() -> None:
    notes: list[str] = []

    def named(name: str) -> Any:
        async def scope(call_next: Any, event: Any, context: Any) -> Any:
            notes.append(f"{name} in")
            returned = await call_next(event, context)
            notes.append(f"{name} out")
            return returned

        return scope

    async def innermost(event: Any, context: Any) -> Any:
        return event

    called = call_through_async([named("a"), named("b")], innermost, 1, 2)
    assert asyncio.run(called) == 1
    assert notes == ["a in", "b in", "b out", "a out"]


def test_a_coroutine_that_does_not_await_the_next_one_is_an_error() -> None:
    async def forgetful(call_next: Any, event: Any, context: Any) -> None:
        call_next(event, context).close()

    async def innermost(event: Any, context: Any) -> None: ...

    with pytest.raises(MiddlewareError, match="forgetful"):
        asyncio.run(call_through_async([forgetful], innermost, 1, 2))


class PlainOnly:
    def consume_scope(self, call_next: Any, event: Any, context: Any) -> Any:
        return call_next(event, context)


class AsyncOnly:
    async def consume_scope_async(self, call_next: Any, event: Any, context: Any) -> Any:
        return await call_next(event, context)


def test_one_that_would_not_be_around_every_handler_is_refused_at_the_start() -> None:
    bus = EventBus("shop")
    bus.add_middleware(PlainOnly())
    check_middleware(AsyncOnly())

    @bus.handler("middleware.sold", queue="a")
    def plain(event: ItemSold) -> None: ...

    bus.check_handlers()

    @bus.handler("middleware.sold", queue="a")
    async def later(event: ItemSold) -> None: ...

    with pytest.raises(DeclarationError, match=r"PlainOnly.*'later'; add consume_scope_async"):
        bus.check_handlers()


def test_the_same_holds_the_other_way_round() -> None:
    bus = EventBus("shop")
    bus.add_middleware(AsyncOnly())

    @bus.handler("middleware.sold", queue="a")
    def plain(event: ItemSold) -> None: ...

    with pytest.raises(DeclarationError, match=r"AsyncOnly.*'plain'; add consume_scope"):
        bus.check_handlers()
