"""A body that is no text is shown and edited as the data that it holds."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from marshmallow.validate import Range

from eventbus import Event
from eventbus.cli.bodies import Bodies
from eventbus.cli.parked import details_of
from eventbus.message import Message
from eventbus.workers.operations.edited_dead_letters import (
    data_of,
    edited,
    handlers_of,
    read_edited,
)
from eventbus.workers.operations.parked import read_parked
from tests.integration.handling.conftest import Shop
from tests.waiting import wait_until

from .conftest import LockContract


@pytest.mark.parametrize("format", ["avro", "protobuf"])
def test_a_parked_body_is_shown_edited_and_sent_again(
    shop: Shop, lock: LockContract, format: str
) -> None:
    class Counted(Event, name="order.counted", format=format):
        order_id: UUID
        count: int

    lock(Counted)

    class Strict(Event, name="order.counted", source="elsewhere"):
        order_id: UUID
        count: Annotated[int, Range(max=10)]

    handled: list[Any] = []

    @shop.bus.handler(Strict, queue="billing")
    def charge(event: Strict) -> None:
        handled.append(event)

    sent = Counted(order_id=uuid4(), count=11)
    with shop.running():
        shop.publish(sent)
        [message] = shop.parked("billing")
        parked = read_parked(message, "shop.billing")
        data = {"order_id": str(sent.order_id), "count": 11}
        details = details_of(parked, Bodies(shop.bus))
        assert details["data"] == data == data_of(shop.bus, parked)
        assert details["body"] is None
        assert details["body_base64"]
        assert (details["contract"], details["path"]) == ("order.counted version 1", "$.count")

        handlers = handlers_of(shop.bus, parked)
        _, errors = read_edited(shop.bus, json.dumps({**data, "count": 12}), parked, handlers)
        assert "less than or equal to 10" in errors[0]
        body, errors = read_edited(shop.bus, json.dumps({**data, "count": 10}), parked, handlers)
        assert not errors
        again = edited(parked, body, "an operation", "somebody", 1)
        assert again.content_type == "application/json"
        publisher = shop.bus.broker.publisher("replay")
        publisher.wait_ready(30)
        publisher.publish([again], queue="shop.billing").result(30)
        publisher.close()
        wait_until(lambda: handled, 15, "the edited event")
    assert handled == [Strict(order_id=sent.order_id, count=10)]


def test_a_body_whose_schema_nobody_knows_is_shown_in_base64(
    shop: Shop, lock: LockContract
) -> None:
    message = Message(b"\0\0\0\0\x07abc", "order.lost", content_type="application/avro")
    forms = Bodies(shop.bus).forms(message, "order.lost")
    assert forms == {"body": None, "body_base64": "AAAAAAdhYmM=", "data": None}
