"""Events in each format, from `publish` to the handler, on both brokers."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from marshmallow.validate import Range

from eventbus import Context, Event, Places, Struct
from eventbus.message import CONTRACT_HEADER, PATH_HEADER, REASON_HEADER, Message
from tests.integration.handling.conftest import Shop
from tests.waiting import wait_until

from .conftest import LockContract

NOW = dt.datetime(2026, 11, 24, 9, 30, 0, 123456, tzinfo=dt.timezone.utc)


class Currency(Enum):
    """What a price is in."""

    EURO = "EUR"
    DOLLAR = "USD"


class Line(Struct):
    """One line of an order."""

    sku: str
    count: int


def declare(format: str, name: str = "order.paid") -> type[Event]:
    """A class of its own for each test: with all that a field can be."""

    class OrderPaid(Event, name=name, format=format, style="snapshot", reason="a test"):
        order_id: UUID
        paid_at: dt.datetime
        due: dt.date | None
        total: Annotated[Decimal, Places(2)]
        currency: Currency
        lines: list[Line]
        labels: dict[str, str]
        weight: float = 1.5
        gift: bool = False

    return OrderPaid


def paid(event_class: type[Event], **changes: Any) -> Event:
    """One event."""
    values = {
        "order_id": uuid4(),
        "paid_at": NOW,
        "due": dt.date(2026, 12, 24),
        "total": Decimal("19.90"),
        "currency": Currency.EURO,
        "lines": [Line(sku="ä-1", count=2), Line(sku="b", count=-7)],
        "labels": {"colour": "red"},
    }
    return event_class(**{**values, **changes})


CONTENT_TYPES = {
    "json": "application/json",
    "avro": "application/avro",
    "protobuf": "application/protobuf",
}


@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_an_event_arrives_as_it_was_published(shop: Shop, lock: LockContract, format: str) -> None:
    OrderPaid = declare(format)
    locked = lock(OrderPaid)
    handled: list[tuple[Any, Context]] = []

    @shop.bus.handler(OrderPaid, queue="billing")
    def charge(event: OrderPaid, context: Context) -> None:  # type: ignore[valid-type]
        handled.append((event, context))

    sent = [paid(OrderPaid), paid(OrderPaid, due=None, lines=[], labels={}, gift=True, weight=0.0)]
    with shop.running():
        shop.publish(*sent)
        wait_until(lambda: len(handled) == 2, 15, "the handled events")
    assert [event for event, _ in handled] == sent
    context = handled[0][1]
    assert context.headers["cloudEvents_dataschema"] == "urn:eventbus:schema:order.paid:1"
    assert "cloudEvents_datacontenttype" not in context.headers, "it is a property of the message"
    assert context.envelope.dataschema == "urn:eventbus:schema:order.paid:1"
    assert locked.newest.version == 1


@pytest.mark.parametrize("format", ["avro", "protobuf"])
def test_a_body_is_in_the_frame_of_its_schema(shop: Shop, lock: LockContract, format: str) -> None:
    OrderPaid = declare(format)
    locked = lock(OrderPaid)

    @shop.bus.handler(OrderPaid, queue="billing")
    def charge(event: OrderPaid) -> None:  # type: ignore[valid-type]
        raise ValueError("it is to be parked")

    with shop.running():
        shop.publish(paid(OrderPaid))
        [parked] = shop.parked("billing")
    assert parked.content_type == CONTENT_TYPES[format]
    assert parked.body[:5] == b"\0" + locked.newest.id.to_bytes(4, "big")


@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_one_handler_takes_several_events_by_pattern(
    shop: Shop, lock: LockContract, format: str
) -> None:
    class OrderOpened(Event, name="order.opened", format=format):
        order_id: UUID

    class OrderClosed(Event, name="order.closed"):
        order_id: UUID
        closed_at: dt.datetime

    lock(OrderOpened)
    handled: list[Event] = []

    @shop.bus.handler("order.*", queue="ledger", transactional=True)
    def book(event: OrderOpened | OrderClosed, context: Context) -> None:
        handled.append(event)

    sent = [OrderOpened(order_id=uuid4()), OrderClosed(order_id=uuid4(), closed_at=NOW)]
    with shop.running():
        shop.publish(*sent)
        wait_until(lambda: len(handled) == 2, 15, "the handled events")
    assert sorted(map(repr, handled)) == sorted(map(repr, sent))


@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_a_consumer_reads_the_fields_that_it_uses(
    shop: Shop, lock: LockContract, format: str
) -> None:
    lock(declare(format))
    handled: list[Any] = []

    class Paid(Event, name="order.paid", source="elsewhere", style="snapshot", reason="a test"):
        total: Annotated[Decimal, Places(2)]
        order_id: UUID
        remark: str = "none"

    @shop.bus.handler(Paid, queue="billing")
    def charge(event: Paid) -> None:
        handled.append(event)

    sent = paid(declare(format))
    with shop.running():
        shop.publish(sent)
        wait_until(lambda: handled, 15, "the handled event")
    assert handled == [
        Paid(total=Decimal("19.90"), order_id=sent.order_id, remark="none")  # type: ignore[attr-defined]
    ]


@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_an_older_and_a_newer_writer_are_read(shop: Shop, lock: LockContract, format: str) -> None:
    class First(Event, name="order.sent", format=format):
        order_id: UUID

    class Second(Event, name="order.sent", format=format):
        order_id: UUID
        count: int = 1

    class Third(Event, name="order.sent", format=format):
        order_id: UUID
        count: int = 1
        urgent: bool = False

    for version in (First, Second, Third):
        lock(version)
    handled: list[Any] = []

    @shop.bus.handler(Second, queue="billing")
    def charge(event: Second, context: Context) -> None:
        handled.append((event.order_id, event.count, context.envelope.dataschema))

    one = uuid4()
    with shop.running():
        shop.publish(First(order_id=one), Third(order_id=one, count=3, urgent=True))
        wait_until(lambda: len(handled) == 2, 15, "the handled events")
    assert sorted(handled) == [
        (one, 1, "urn:eventbus:schema:order.sent:1"),
        (one, 3, "urn:eventbus:schema:order.sent:3"),
    ]


@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_what_does_not_fit_the_reader_is_parked_with_contract_and_path(
    shop: Shop, lock: LockContract, format: str
) -> None:
    class Counted(Event, name="order.counted", format=format):
        order_id: UUID
        count: int

    lock(Counted)
    runs: list[Any] = []

    class Strict(Event, name="order.counted", source="elsewhere"):
        order_id: UUID
        count: Annotated[int, Range(max=10)]

    @shop.bus.handler(Strict, queue="billing")
    def charge(event: Strict) -> None:
        runs.append(event)

    with shop.running() as worker:
        shop.publish(Counted(order_id=uuid4(), count=11))
        [parked] = shop.parked("billing")
        assert worker.report().queues["shop.billing"].handlers["charge"].retried == 0
    assert not runs
    assert parked.headers[CONTRACT_HEADER] == "order.counted version 1"
    assert parked.headers[PATH_HEADER] == "$.count"
    reason = parked.headers[REASON_HEADER]
    assert "contract order.counted version 1, at $.count" in reason
    assert "less than or equal to 10" in reason


@pytest.mark.parametrize("format", ["avro", "protobuf"])
def test_bytes_that_are_none_of_the_contract_are_parked(
    shop: Shop, lock: LockContract, format: str
) -> None:
    OrderPaid = declare(format)
    locked = lock(OrderPaid)

    @shop.bus.handler(OrderPaid, queue="billing")
    def charge(event: OrderPaid) -> None:  # type: ignore[valid-type]
        raise AssertionError("it cannot be read")

    frame = b"\0" + locked.newest.id.to_bytes(4, "big")
    bodies = {
        "begins with byte 123": b'{"order_id": 1}',
        "2 bytes": b"\0\0",
        "version 1": frame + b"\0" + b"\xff" * 40,
        "schema 77": b"\0\0\0\0\x4d" + b"\0" * 10,
    }
    with shop.running():
        for body in bodies.values():
            _send(shop, body, CONTENT_TYPES[format])
        parked = shop.parked("billing", len(bodies))
    reasons = {message.body: message.headers[REASON_HEADER] for message in parked}
    for hint, body in bodies.items():
        assert hint in reasons[body]


def test_the_field_whose_bytes_are_damaged_is_named(shop: Shop, lock: LockContract) -> None:
    class Cut(Event, name="order.cut", format="avro"):
        order_id: UUID
        count: int

    locked = lock(Cut)

    @shop.bus.handler(Cut, queue="billing")
    def charge(event: Cut) -> None:
        raise AssertionError("it cannot be read")

    frame = b"\0" + locked.newest.id.to_bytes(4, "big")
    with shop.running():
        _send(shop, frame + b"\x48" + b"0" * 36, "application/avro", "order.cut")
        [parked] = shop.parked("billing")
    assert parked.headers[CONTRACT_HEADER] == "order.cut version 1"
    assert parked.headers[PATH_HEADER] == "$.count"


OTHER_CONTENT_TYPES = (
    "application/x-python-pickle",
    "application/x-python-serialize",
    "application/x-yaml",
    "text/plain",
    "application/octet-stream",
    "",
    None,
)


def test_no_other_content_type_is_read(shop: Shop) -> None:
    class OrderRead(Event, name="order.read"):
        order_id: UUID

    @shop.bus.handler(OrderRead, queue="billing")
    def charge(event: OrderRead) -> None:
        raise AssertionError("it cannot be read")

    body = json.dumps({"order_id": str(uuid4()), "__type__": "os.system"}).encode()
    with shop.running():
        for content_type in OTHER_CONTENT_TYPES:
            _send(shop, body, content_type, "order.read")
        parked = shop.parked("billing", len(OTHER_CONTENT_TYPES))
    assert all("content-type" in message.headers[REASON_HEADER] for message in parked)
    assert {message.body for message in parked} == {body}


def _send(shop: Shop, body: bytes, content_type: str | None, name: str = "order.paid") -> None:
    headers = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": str(uuid4()),
        "cloudEvents_source": "elsewhere",
        "cloudEvents_type": name,
    }
    publisher = shop.bus.broker.publisher("a test")
    try:
        publisher.wait_ready(30)
        message = Message(body, name, headers, content_type=content_type)
        publisher.publish([message]).result(30)
    finally:
        publisher.close()
