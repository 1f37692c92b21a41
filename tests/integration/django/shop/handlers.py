"""The bus and its handlers, found by ``eventbus.django``."""

from __future__ import annotations

from datetime import timedelta

from eventbus import Context, Event, EventBus, Retry
from tests.integration.django.shop.models import Receipt

bus = EventBus("shop", retry=Retry(max_attempts=2, delay=timedelta(seconds=1)))


class OrderPlaced(Event, name="order.placed"):
    """An order was saved."""

    order_id: int


@bus.handler("order.placed", queue="receipts")
def send(event: OrderPlaced, context: Context) -> None:
    """Plain: idempotency keys in the project's database."""
    Receipt.objects.create(order_id=event.order_id, handler="send")


@bus.handler("order.placed", queue="books", transactional=True)
def book(event: OrderPlaced, context: Context) -> None:
    """Transactional: the ORM's writes and the inbox row are one transaction; fails once."""
    Receipt.objects.create(order_id=event.order_id, handler="book")
    if context.attempt == 1:
        raise RuntimeError("the first attempt leaves nothing behind")
