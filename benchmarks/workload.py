"""What every contestant is given: the same thin events, the same messages, the same queue."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from eventbus import Event, EventBus
from eventbus.message import Message
from eventbus.outbox.publication import to_publication
from eventbus.outbox.row import make_row
from eventbus.outbox.store import StoredRow

SERVICE = "bench"
QUEUE = "orders"
PREFETCH = 500

_MAX_BYTES = 1_000_000


class OrderPaid(Event, name="order.paid"):
    """A thin event: identifiers and a time. `number` tells lost and doubled ones."""

    order_id: uuid.UUID
    number: int
    paid_at: datetime


def ignore(event: OrderPaid) -> None:
    """A handler that does nothing."""


def make_bus(handler: Callable[[OrderPaid], None] = ignore, **settings: Any) -> EventBus:
    """The bus of a contestant: one queue with one handler."""
    bus = EventBus(SERVICE, **settings)
    bus.handler(OrderPaid, queue=QUEUE, name="handler")(handler)
    return bus


def make_event(number: int) -> OrderPaid:
    """The event with that number."""
    return OrderPaid(order_id=uuid.uuid4(), number=number, paid_at=datetime.now(timezone.utc))


def events(count: int) -> Iterator[OrderPaid]:
    """Events numbered from 0."""
    return map(make_event, range(count))


def order_key(event: OrderPaid) -> uuid.UUID:
    """The key of an event: its aggregate, as an application would choose it."""
    return event.order_id


def messages(count: int) -> list[Message]:
    """What a dispatcher publishes for `events(count)`: properties, headers, body."""
    return [message_of(event, order_key(event)) for event in events(count)]


def message_of(event: Event, key: object = None) -> Message:
    """What a dispatcher publishes for `event`."""
    row = make_row(event, source=SERVICE, key=key, max_bytes=_MAX_BYTES)
    return to_publication(
        StoredRow(0, row.name, row.partition_key, row.attributes, row.body, row.created_at_ms)
    )
