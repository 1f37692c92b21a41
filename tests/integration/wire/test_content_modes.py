"""CloudEvents in structured mode, from `publish` to the handler, on both brokers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from eventbus import Context, Event, PublishOptions, tables
from eventbus.brokers.port import Confirmation
from eventbus.message import REASON_HEADER, Message
from eventbus.outbox.publication import to_publication
from eventbus.outbox.store import StoredRow
from eventbus.workers.operations.edited_dead_letters import data_of, edited
from eventbus.workers.operations.parked import read_parked
from tests.integration.handling.conftest import MakeBus, Shop
from tests.waiting import wait_until

from .conftest import LockContract

STRUCTURED = "application/cloudevents+json"


class Tenancy:
    """Says in an extension attribute whose event it is."""

    def publish_scope(self, call_next: Any, event: Event, options: PublishOptions) -> str:
        published: str = call_next(event, options.with_attributes(tenant="blau"))
        return published


@pytest.fixture
def shop(make_shop: MakeBus, folder: Any) -> Shop:
    return make_shop(content_mode="structured", contracts=str(folder))


def declare(format: str) -> type[Event]:
    class OrderPaid(Event, name="order.paid", format=format):
        order_id: UUID

    return OrderPaid


@pytest.mark.parametrize("format", ["json", "avro"])
def test_an_event_arrives_as_it_was_published(shop: Shop, lock: LockContract, format: str) -> None:
    OrderPaid = declare(format)
    lock(OrderPaid)
    shop.bus.add_middleware(Tenancy())
    handled: list[tuple[Any, Context]] = []

    @shop.bus.handler(OrderPaid, queue="billing")
    def charge(event: OrderPaid, context: Context) -> None:  # type: ignore[valid-type]
        handled.append((event, context))

    event = OrderPaid(order_id=uuid4())
    with shop.running():
        [event_id] = shop.publish(event)
        wait_until(lambda: handled, 30, "the handled event")
    received, context = handled[0]
    assert received == event
    assert (context.envelope.id, context.envelope.source) == (event_id, "shop")
    assert context.envelope.dataschema == "urn:eventbus:schema:order.paid:1"
    assert context.extensions == {"tenant": "blau"}


@pytest.mark.parametrize("format", ["json", "avro"])
def test_the_message_is_one_document_that_any_cloudevents_reader_takes(
    shop: Shop, lock: LockContract, format: str
) -> None:
    OrderPaid = declare(format)
    lock(OrderPaid)

    @shop.bus.handler(OrderPaid, queue="billing")
    def charge(event: OrderPaid) -> None:  # type: ignore[valid-type]
        raise ValueError("it is to be parked")

    event = OrderPaid(order_id=uuid4())
    with shop.running():
        [event_id] = shop.publish(event)
        [parked] = shop.parked("billing")
    assert parked.content_type == STRUCTURED
    assert not [name for name in parked.headers if name.startswith("cloudEvents_")]
    document = json.loads(parked.body)
    assert (document["id"], document["type"], document["source"]) == (
        event_id,
        "order.paid",
        "shop",
    )
    if format == "json":
        assert document["data"] == event.__wire__()
        assert document["datacontenttype"] == "application/json"
    else:
        assert "data" not in document
        assert document["datacontenttype"] == "application/avro"


def test_an_event_that_comes_in_both_modes_takes_effect_once(shop: Shop) -> None:
    OrderPaid = declare("json")
    handled: list[Any] = []

    @shop.bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid) -> None:  # type: ignore[valid-type]
        handled.append(event)

    @shop.bus.handler("order.*", queue="ledger", transactional=True)
    def book(event: OrderPaid, context: Context) -> None:  # type: ignore[valid-type]
        handled.append(event)

    with shop.running():
        shop.publish(OrderPaid(order_id=uuid4()))
        wait_until(lambda: len(handled) == 2, 30, "the handled event")
        # As after a crash between publishing and settling, and a start with the other setting.
        _send(shop, to_publication(_logged(shop), "binary"))
        _send(shop, to_publication(_logged(shop), "structured"))
        shop.publish(OrderPaid(order_id=uuid4()))
        wait_until(lambda: len(handled) >= 4, 30, "the event behind")
        empty = wait_until(lambda: not shop.depth("shop.billing"), 30, "an empty queue")
    assert empty
    assert len(handled) == 4
    assert shop.depth("shop.billing.dlq") == shop.depth("shop.ledger.dlq") == 0


def test_a_failed_run_is_repeated(shop: Shop) -> None:
    OrderPaid = declare("json")
    attempts: list[Context] = []

    @shop.bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid, context: Context) -> None:  # type: ignore[valid-type]
        attempts.append(context)
        if len(attempts) == 1:
            raise ValueError("once")

    with shop.running():
        shop.publish(OrderPaid(order_id=uuid4()))
        wait_until(lambda: len(attempts) == 2, 30, "the second attempt")
    assert [context.attempt for context in attempts] == [1, 2]
    assert attempts[0].envelope == attempts[1].envelope


def test_a_foreign_event_is_handled(shop: Shop) -> None:
    OrderPaid = declare("json")
    handled: list[tuple[Any, Context]] = []

    @shop.bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid, context: Context) -> None:  # type: ignore[valid-type]
        handled.append((event, context))

    order_id = uuid4()
    with shop.running():
        _send(
            shop, _foreign(data={"order_id": str(order_id), "more": [1]}, priority=7, subject=None)
        )
        wait_until(lambda: handled, 30, "the handled event")
    event, context = handled[0]
    assert event == OrderPaid(order_id=order_id)
    assert context.envelope.source == "https://example.org/elsewhere"
    assert context.envelope.subject is None
    assert context.extensions == {"priority": "7"}


def _without_id() -> Message:
    message = _foreign(data={})
    document = json.loads(message.body)
    del document["id"]
    return Message(
        json.dumps(document).encode(),
        "order.paid",
        {},
        "an AMQP message id",
        content_type=STRUCTURED,
    )


def _batch() -> Message:
    body = b"[%s]" % _foreign(data={"order_id": str(uuid4())}).body
    return Message(body, "order.paid", content_type="application/cloudevents-batch+json")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_without_id, "cloudEvents_id is missing"),
        (_batch, "a batch of CloudEvents is not read"),
        (lambda: _foreign(data={}, Tenant="x"), "no name of a CloudEvents attribute"),
        (lambda: _foreign(data={}), "order_id"),
    ],
    ids=["no-id", "batch", "name", "field"],
)
def test_what_is_no_event_is_parked_as_it_came(
    shop: Shop, make: Callable[[], Message], reason: str
) -> None:
    OrderPaid = declare("json")

    @shop.bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid) -> None:  # type: ignore[valid-type]
        raise AssertionError("it cannot be read")

    message = make()
    with shop.running():
        _send(shop, message)
        [parked] = shop.parked("billing")
    assert reason in parked.headers[REASON_HEADER]
    assert (parked.body, parked.content_type) == (message.body, message.content_type)


def test_a_parked_event_can_be_edited(shop: Shop) -> None:
    OrderPaid = declare("json")
    handled: list[Any] = []

    @shop.bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid, context: Context) -> None:  # type: ignore[valid-type]
        handled.append((event, context.envelope.id))

    order_id = uuid4()
    with shop.running():
        _send(shop, _foreign(id="7", data={"order_id": "rubbish"}))
        [message] = shop.parked("billing")
        parked = read_parked(message, "shop.billing")
        assert data_of(shop.bus, parked) == {"order_id": "rubbish"}
        body = json.dumps({"order_id": str(order_id)}).encode()
        _send(shop, edited(parked, body, "operation", "somebody", 0), queue="shop.billing")
        wait_until(lambda: handled, 30, "the edited event")
    assert handled == [(OrderPaid(order_id=order_id), "7")]


def _foreign(**attributes: Any) -> Message:
    document = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "https://example.org/elsewhere",
        "type": "order.paid",
        **attributes,
    }
    body = json.dumps(document, indent=1).encode()
    return Message(body, "order.paid", content_type=f"{STRUCTURED}; charset=UTF-8")


def _send(shop: Shop, message: Message, queue: str | None = None) -> None:
    publisher = shop.bus.broker.publisher("a test")
    try:
        assert publisher.wait_ready(30)
        assert publisher.publish([message], queue=queue).result(30) == [Confirmation.ROUTED]
    finally:
        publisher.close()


def _logged(shop: Shop) -> StoredRow:
    """The first event that was published."""
    log = tables.event_log
    names = ("seq", "name", "partition_key", "attributes", "body", "created_at_ms")
    with shop.bus.engine.connect() as connection:
        row = connection.execute(
            sa.select(*[log.c[name] for name in names]).order_by(log.c.seq).limit(1)
        ).one()
    return StoredRow(*row)
