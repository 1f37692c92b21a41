"""Handlers and subscriptions: what a declaration accepts, and what it says otherwise."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Context, Event, EventBus, Retry
from eventbus.errors import DeclarationError, UnknownName


class OrderPaid(Event, name="order.paid"):
    order_id: int


class OrderShipped(Event, name="order.reshipped"):
    order_id: int


class Unnamed(Event):
    order_id: int


@pytest.fixture
def bus() -> EventBus:
    return EventBus("shop")


def test_a_handler_is_declared_with_its_names_and_the_function_stays_itself(bus: EventBus) -> None:
    def charge(event: OrderPaid, context: Context) -> str:
        return "charged"

    assert bus.handler("order.paid", queue="billing")(charge) is charge
    handler = bus.handlers["charge"]
    assert handler.patterns == ("order.paid",)
    assert handler.events == {"order.paid": OrderPaid}
    assert [parameter.annotation for parameter in handler.parameters] == [Context]
    assert (handler.is_coroutine, handler.transactional) == (False, False)
    assert handler.retry is bus.retry
    subscription = bus.subscriptions["billing"]
    assert subscription.queue == "shop.billing"
    assert subscription.dead_letter_queue == "shop.billing.dlq"


def test_without_a_queue_the_handler_has_its_own(bus: EventBus) -> None:
    @bus.handler("order.paid", name="renamed")
    def charge(event: OrderPaid) -> None: ...

    assert bus.subscriptions["renamed"].handlers[0].name == "renamed"
    assert bus.handlers["renamed"].parameters == ()


def test_handlers_of_one_queue_share_it(bus: EventBus) -> None:
    @bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid) -> None: ...

    @bus.handler("order.paid", "order.reshipped", queue="billing")
    def count(event: OrderPaid | OrderShipped) -> None: ...

    subscription = bus.subscriptions["billing"]
    assert subscription.patterns == ("order.paid", "order.reshipped")
    assert [handler.name for handler in subscription.handlers] == ["charge", "count"]


def test_an_event_class_stands_for_its_name(bus: EventBus) -> None:
    @bus.handler(OrderPaid)
    def charge(event: OrderPaid) -> None: ...

    assert bus.handlers["charge"].patterns == ("order.paid",)


def test_a_handler_accepts_what_its_patterns_match(bus: EventBus) -> None:
    @bus.handler("order.*", "card.#")
    def audit(event: Event) -> None: ...

    handler = bus.handlers["audit"]
    assert handler.accepts("order.paid")
    assert handler.accepts("card")
    assert not handler.accepts("mail.sent")
    assert handler.event_class("order.reshipped") is OrderShipped
    assert handler.event_class("nobody.knows") is None


def test_what_was_asked_before_is_remembered_within_bounds(bus: EventBus) -> None:
    @bus.handler("order.*")
    def audit(event: Event) -> None: ...

    handler = bus.handlers["audit"]
    for number in range(10_000):
        handler.accepts(f"foreign.{number}")
    assert len(handler._accepts) <= 4096
    assert handler.accepts("order.paid")


@pytest.mark.parametrize("annotated", ["bare", "Event", "Any"])
def test_a_handler_may_take_any_event(bus: EventBus, annotated: str) -> None:
    functions: dict[str, Callable[..., None]] = {}

    def bare(event) -> None: ...  # type: ignore[no-untyped-def]

    def one(event: Event) -> None: ...

    def anything(event: Any) -> None: ...

    functions = {"bare": bare, "Event": one, "Any": anything}
    bus.handler("#", name="any")(functions[annotated])
    assert bus.handlers["any"].events == {}


def test_local_event_classes_can_be_annotations(bus: EventBus) -> None:
    class LocalHappened(Event, name="local.happened"):
        pass

    @bus.handler("local.happened")
    def react(event: LocalHappened) -> None: ...

    assert bus.handlers["react"].events == {"local.happened": LocalHappened}


def test_a_handler_may_be_a_method_a_partial_an_object_or_a_coroutine(bus: EventBus) -> None:
    class Service:
        def method(self, event: OrderPaid, context: Context) -> None: ...

        async def later(self, event: OrderPaid) -> None: ...

    class Callee:
        async def __call__(self, event: OrderPaid) -> None: ...

    def charge(account: str, event: OrderPaid, context: Context) -> None: ...

    async def charge_later(account: str, event: OrderPaid) -> None: ...

    service = Service()
    declared: dict[str, Any] = {
        "method": service.method,
        "later": service.later,
        "callee": Callee(),
        "partial": functools.partial(charge, "main"),
        "partial_later": functools.partial(charge_later, "main"),
    }
    for name, function in declared.items():
        bus.handler("order.paid", name=name)(function)
    assert {n for n, handler in bus.handlers.items() if handler.parameters} == {
        "method",
        "partial",
    }
    assert {n for n, handler in bus.handlers.items() if handler.is_coroutine} == {
        "later",
        "callee",
        "partial_later",
    }
    assert all(handler.events == {"order.paid": OrderPaid} for handler in bus.handlers.values())


# -- refused -------------------------------------------------------------------------------------


def good(event: OrderPaid) -> None: ...


def no_event() -> None: ...


def three(event: OrderPaid, context: Context, more: int) -> None: ...


def keyword_only(event: OrderPaid, *, more: int) -> None: ...


def variadic(*events: OrderPaid) -> None: ...


def not_an_event(event: int) -> None: ...


def maybe_event(event: OrderPaid | None) -> None: ...


def no_name(event: Unnamed) -> None: ...


def unresolved(event: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def generator(event: OrderPaid) -> Iterator[int]:
    yield 1


async def async_generator(event: OrderPaid) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (no_event, "must take the event"),
        (three, "'more' is annotated with int"),
        (keyword_only, "'more' is annotated with int"),
        (variadic, "must take the event"),
        (not_an_event, "not an event with a name"),
        (maybe_event, "not an event with a name"),
        (no_name, "not an event with a name"),
        (unresolved, "'Nowhere', which is not defined"),
        (generator, "contains 'yield'"),
        (async_generator, "contains 'yield'"),
        ("charge", "a handler is a function"),
    ],
)
def test_a_function_that_cannot_react_is_refused(
    bus: EventBus, function: Any, complaint: str
) -> None:
    with pytest.raises(DeclarationError, match=complaint):
        bus.handler("order.paid")(function)
    assert bus.handlers == {}


@pytest.mark.parametrize(
    ("patterns", "complaint"),
    [
        ((), "has no routing key"),
        (("",), "empty word"),
        (("order paid",), "white space"),
        (("a.#.b.#.c.#",), "more than 2 '#'"),
        (("order.**",), "whole words"),
        ((7,), "is a string"),
        ((Unnamed,), "Unnamed has no name"),
        (("card.*",), "does not match"),
        (("order.paid", "card.*"), "does not match"),
    ],
)
def test_patterns_that_cannot_work_are_refused(
    bus: EventBus, patterns: tuple[Any, ...], complaint: str
) -> None:
    with pytest.raises(DeclarationError, match=complaint):
        bus.handler(*patterns)(good)


def test_the_decorator_without_parentheses_is_refused(bus: EventBus) -> None:
    with pytest.raises(DeclarationError, match=r"'good' has no routing key; write @bus.handler\("):
        bus.handler(good)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["two words", "x" * 201, "line\n", "a\0"])
def test_a_handler_name_that_cannot_be_stored_is_refused(bus: EventBus, name: str) -> None:
    with pytest.raises(DeclarationError, match="handler name"):
        bus.handler("order.paid", name=name, queue="billing")(good)


@pytest.mark.parametrize("queue", ["two words", "#", "x" * 101])
def test_a_queue_name_that_cannot_be_one_is_refused(bus: EventBus, queue: str) -> None:
    with pytest.raises(DeclarationError, match="queue name"):
        bus.handler("order.paid", queue=queue)(good)


@pytest.mark.parametrize("service", ["", "two words", "*", None])
def test_a_service_name_that_cannot_be_one_is_refused(service: Any) -> None:
    with pytest.raises(DeclarationError, match="service name"):
        EventBus(service)


def test_two_handlers_of_one_name_are_both_named(bus: EventBus) -> None:
    bus.handler("order.paid")(good)
    with pytest.raises(
        DeclarationError, match=r"'good': .*test_subscription\.good and .*good; give"
    ):
        bus.handler("order.paid", queue="other")(good)


def test_a_transactional_coroutine_is_refused(bus: EventBus) -> None:
    async def book(event: OrderPaid) -> None: ...

    with pytest.raises(DeclarationError, match="coroutine and transactional"):
        bus.handler("order.paid", transactional=True)(book)


# -- what is declared ----------------------------------------------------------------------------


def test_an_unknown_queue_is_answered_with_the_nearest(bus: EventBus) -> None:
    bus.handler("order.paid", queue="billing")(good)
    assert bus.subscription("billing") is bus.subscription("shop.billing")
    with pytest.raises(UnknownName, match="did you mean 'billing'"):
        bus.subscription("biling")
    with pytest.raises(UnknownName, match="declared: billing"):
        bus.subscription("zzz")


def test_an_unknown_event_is_answered_with_the_nearest(bus: EventBus) -> None:
    # A name that is near to no other of this process, in which many tests declare events.
    class Nearest(Event, name="nearest.of.all"):
        number: int

    assert bus.event_class("nearest.of.all") is Nearest
    with pytest.raises(UnknownName, match=r"'nearest.of.al'; did you mean 'nearest.of.all'"):
        bus.event_class("nearest.of.al")


def test_a_queue_is_bounded_as_it_was_asked_for(bus: EventBus) -> None:
    bus.queue("billing", max_length=7)
    assert bus.subscriptions == {}
    bus.handler("order.paid", queue="billing")(good)
    queues = {queue.name: queue for queue in bus.topology().queues}
    assert queues["shop.billing"].arguments["x-max-length"] == 7


@pytest.mark.parametrize("max_length", [0, -1, 10**10, "7", 1.5])
def test_a_bound_that_cannot_be_one_is_refused(bus: EventBus, max_length: Any) -> None:
    with pytest.raises(DeclarationError, match="max_length"):
        bus.queue("billing", max_length=max_length)


def test_a_queue_overflows_unless_it_is_asked_to_block(bus: EventBus) -> None:
    bus.handler("order.paid", queue="billing")(good)
    assert bus.subscription("billing").overflow_queue == "shop.billing.overflow"
    bus.queue("billing", overflow="block")
    assert bus.subscription("billing").overflow_queue is None
    queues = {queue.name: queue for queue in bus.topology().queues}
    assert queues["shop.billing"].arguments["x-overflow"] == "reject-publish"


@pytest.mark.parametrize("overflow", ["drop-head", "", None, 1, []])
def test_an_unknown_way_to_overflow_is_refused(bus: EventBus, overflow: Any) -> None:
    with pytest.raises(DeclarationError, match="'dead-letter' or 'block'"):
        bus.queue("billing", overflow=overflow)


def test_the_topology_has_the_retry_levels_that_the_handlers_need(bus: EventBus) -> None:
    bus.handler(
        "order.paid",
        queue="billing",
        retry=Retry(max_attempts=2, delay=timedelta(seconds=5), backoff="fixed"),
    )(good)
    names = [queue.name for queue in bus.topology(["billing"]).queues]
    assert names == [
        "shop.billing",
        "shop.billing.overflow",
        "shop.billing.dlq",
        "shop.billing.retry.1000",
        "shop.billing.retry.5000",
    ]
    with pytest.raises(UnknownName):
        bus.topology(["other"])


def test_a_handler_without_a_transaction_has_no_session(bus: EventBus) -> None:
    from eventbus.envelope import Envelope

    context = Context(bus, Envelope("1", "shop", "order.paid"), "charge", "shop.billing", 1, {})
    assert context.event_id == "1"
    with pytest.raises(AttributeError, match="transactional=True"):
        _ = context.session
