"""The bus and its handlers, found by ``eventbus.django``."""

from __future__ import annotations

from datetime import timedelta

from eventbus import Context, Event, EventBus, Retry
from tests.integration.django.shop.models import Order, Receipt

bus = EventBus("shop", retry=Retry(max_attempts=2, delay=timedelta(seconds=1)))


class OrderPlaced(Event, name="order.placed"):
    """An order was saved."""

    order_id: int


@bus.source("order", gone="dead-letter")
def order(id: int) -> Order | None:
    """The source of truth, for plain handlers and for coroutines."""
    return Order.objects.filter(pk=id).first()


@bus.handler("order.placed", queue="receipts")
def send(event: OrderPlaced, context: Context) -> None:
    """Plain: idempotency keys in the project's database."""
    order: Order = context.fetch(event)
    Receipt.objects.create(order_id=order.pk, handler="send")


@bus.handler("order.placed", queue="books", transactional=True)
def book(event: OrderPlaced, context: Context) -> None:
    """Transactional: the ORM's writes and the inbox row are one transaction; fails once."""
    Receipt.objects.create(order_id=event.order_id, handler="book")
    if context.attempt == 1:
        raise RuntimeError("the first attempt leaves nothing behind")
