"""Sources of truth: what a declaration accepts, and what an event is about."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import pytest
from marshmallow.validate import Length

from eventbus import Context, Event, EventBus, Gone, Ref, ValidationError
from eventbus.errors import DeclarationError, UnknownName
from eventbus.sources import Source, subject_of

SOME_ID = UUID("0199c2f1-0000-7000-8000-000000000001")


@pytest.fixture
def bus() -> EventBus:
    return EventBus("shop")


def declared(bus: EventBus, function: Any, **options: Any) -> Source:
    bus.source("order", **options)(function)
    return bus.sources["order"]


# -- declarations --------------------------------------------------------------------------------


def test_a_source_is_the_function_as_it_was(bus: EventBus) -> None:
    @bus.source("order")
    def order(id: UUID) -> str:
        return str(id)

    assert order(SOME_ID) == str(SOME_ID)
    assert list(bus.sources) == ["order"]


@pytest.mark.parametrize("name", ["", "Order", "order item", "order\n", "o" * 65, "1st", None, 7])
def test_a_source_is_called_like_the_type_of_a_reference(bus: EventBus, name: Any) -> None:
    with pytest.raises(DeclarationError, match="a source is called like the things it knows"):
        bus.source(name)(lambda id: None)


def test_a_type_of_things_has_one_source_of_truth(bus: EventBus) -> None:
    declared(bus, lambda id: None)
    with pytest.raises(DeclarationError, match="two sources are called 'order'"):
        declared(bus, lambda id: None)


def nothing() -> None: ...
def a_float(id: float) -> None: ...
def a_list(id: list[str]) -> None: ...
def an_event(id: Event) -> None: ...
def unknown(id: int, what) -> None: ...  # type: ignore[no-untyped-def]
def undefined(id: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037
def generator(id: int) -> Any:
    yield id


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (nothing, "must take the identifier as its first parameter"),
        (a_float, "annotate it with UUID, int or str"),
        (a_list, "annotate it with UUID, int or str"),
        (an_event, "annotate it with UUID, int or str"),
        (undefined, "an annotation names 'Nowhere'"),
        (generator, "contains 'yield'"),
        ("order", "is a function, not 'order'"),
    ],
)
def test_what_is_no_source_is_refused(bus: EventBus, function: Any, text: str) -> None:
    with pytest.raises(DeclarationError, match=f"source 'order'.*{text}"):
        declared(bus, function)


def test_there_are_three_ends_of_an_event_about_what_is_gone(bus: EventBus) -> None:
    with pytest.raises(DeclarationError, match="use 'skip' or 'dead-letter' or 'retry'"):
        declared(bus, lambda id: None, gone="ignore")


def test_what_nothing_provides_is_told_before_a_worker_starts(bus: EventBus) -> None:
    class Shelf: ...

    @bus.source("order")
    def order(id: UUID, shelf: Shelf) -> None: ...

    with pytest.raises(
        DeclarationError, match="source 'order': nothing provides parameter 'shelf'"
    ):
        bus.check_handlers()
    bus.provide(Shelf, Shelf)
    bus.check_handlers()


# -- identifiers ---------------------------------------------------------------------------------


def by_uuid(id: UUID) -> None: ...
def by_int(id: int) -> None: ...
def by_str(id: Annotated[str, "any"]) -> None: ...
def by_anything(id, context) -> None: ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("function", "given", "taken"),
    [
        (by_uuid, SOME_ID, SOME_ID),
        (by_uuid, str(SOME_ID), SOME_ID),
        (by_int, 17, 17),
        (by_int, "17", 17),
        (by_str, "a", "a"),
        (by_str, 17, "17"),
        (by_str, SOME_ID, str(SOME_ID)),
        (by_anything, SOME_ID, str(SOME_ID)),
    ],
)
def test_an_identifier_is_given_as_it_is_annotated(
    bus: EventBus, function: Any, given: Any, taken: Any
) -> None:
    declared(bus, function)
    assert bus.source_of("order", given)[1] == taken


@pytest.mark.parametrize(
    ("function", "given"),
    [(by_uuid, "17"), (by_uuid, 17), (by_int, "a"), (by_int, 1.5), (by_str, b"a"), (by_int, True)],
)
def test_what_is_no_identifier_is_refused(bus: EventBus, function: Any, given: Any) -> None:
    declared(bus, function)
    with pytest.raises(ValidationError, match="source 'order' takes a"):
        bus.source_of("order", given)


# -- what an event is about ----------------------------------------------------------------------


class Paid(Event, name="sources.order.paid"):
    order_id: UUID
    customer_id: UUID


class LineAdded(Event, name="sources.order.line-item.added"):
    order_id: UUID
    line_item_id: int


class OnlyOrder(Event, name="sources.order.line-item.removed"):
    order_id: UUID


class Second(Event, name="sources.order.paid", major=2):
    order_id: UUID


class Commented(Event, name="sources.comment.added"):
    comment: Ref
    subject: Ref


class Tagged(Event, name="sources.tagged"):
    subject: Ref
    customer_id: UUID


class Coded(Event, name="sources.parcel.sent"):
    parcel_id: Annotated[str, Length(max=9)] | None


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        (Paid(order_id=SOME_ID, customer_id=UUID(int=1)), ("order", SOME_ID)),
        (LineAdded(order_id=SOME_ID, line_item_id=7), ("line-item", 7)),
        (OnlyOrder(order_id=SOME_ID), ("order", SOME_ID)),
        (Second(order_id=SOME_ID), ("order", SOME_ID)),
        (Commented(comment=Ref("note", 1), subject=Ref("order", 2)), ("note", "1")),
        (Tagged(subject=Ref("order", 2), customer_id=SOME_ID), ("order", "2")),
        (Coded(parcel_id="x"), ("parcel", "x")),
    ],
)
def test_an_event_tells_what_it_is_about(event: Event, subject: tuple[str, object]) -> None:
    assert subject_of(event) == subject


def test_an_event_that_does_not_tell_is_refused_with_the_remedy() -> None:
    class Moved(Event, name="sources.stock.moved"):
        product_id: UUID
        warehouse_id: UUID

    class Merged(Event, name="sources.merged"):
        left: Ref
        right: Ref

    for event in (
        Moved(product_id=SOME_ID, warehouse_id=SOME_ID),
        Merged(left=Ref("order", 1), right=Ref("order", 2)),
        Coded(parcel_id=None),
    ):
        with pytest.raises(DeclarationError, match=r"context\.fetch\('order', event\.order_id\)"):
            subject_of(event)


def test_what_can_be_asked_for(bus: EventBus) -> None:
    declared(bus, by_uuid)
    event = Paid(order_id=SOME_ID, customer_id=UUID(int=1))
    for asked in ((event,), (Ref("order", SOME_ID),), ("order", SOME_ID), ("order", str(SOME_ID))):
        source, identifier = bus.source_of(*asked)
        assert (source.name, identifier) == ("order", SOME_ID)


@pytest.mark.parametrize(
    ("of", "id", "text"),
    [
        ("order", None, "has no identifier"),
        (Ref("order", 1), 2, "has its own"),
        (17, None, "give an event, a Ref, or the name of a source"),
        (None, None, "give an event, a Ref, or the name of a source"),
    ],
)
def test_what_cannot_be_asked_for(bus: EventBus, of: Any, id: Any, text: str) -> None:
    declared(bus, by_uuid)
    with pytest.raises(DeclarationError, match=text):
        bus.source_of(of, id)


def test_an_unknown_source_names_the_nearest(bus: EventBus) -> None:
    declared(bus, by_uuid)
    with pytest.raises(UnknownName, match="'ordre'; did you mean 'order'"):
        bus.source_of("ordre", SOME_ID)


def test_gone_needs_no_words() -> None:
    assert str(Gone()) == ""
    assert Gone("deleted on request").reason == "deleted on request"
    assert Context  # what a source may take
