"""A message that the AMQP client itself cannot read does not stop a worker."""

from __future__ import annotations

import pytest

from eventbus import Event, EventBus
from eventbus.message import REASON_HEADER
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker
from tests.faults.serving import prepare, publish, serving
from tests.integration.brokers.test_rabbitmq import nested, send_raw, with_headers
from tests.waiting import wait_until


class OrderPaid(Event, name="order.paid"):
    """Order `number`."""

    number: int


@pytest.mark.parametrize(
    "table",
    [
        # What the broker itself cannot read, it does not take.
        pytest.param(nested(500), id="nested 500 deep"),
        pytest.param(b"\x04whenT" + (10**15).to_bytes(8, "big"), id="in the year 31 million"),
    ],
)
def test_it_is_parked_and_the_next_one_is_handled(
    table: bytes, broker_url: str, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    bus = EventBus("shop", broker_url=broker_url, database_url=sqlite_url)
    handled = []

    @bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid) -> None:
        handled.append(event.number)

    prepare(bus)
    send_raw(broker_url, with_headers(table))
    publish(bus, OrderPaid(number=1))
    with serving(Worker(bus, WorkerOptions())), serving(Dispatcher(bus)):
        wait_until(lambda: handled == [1], 30, "the event behind it")
    admin = bus.broker.admin()
    try:
        parked = list(admin.browse("shop.billing.dlq", 10))
    finally:
        admin.close()
    assert len(parked) == 1
    assert parked[0].headers[REASON_HEADER]
    assert caplog.text.count("connected to") <= 4, "it was no reconnect loop"
    bus.engine.dispose()
