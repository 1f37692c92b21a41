"""Inventory keeps one piece for each order.

Taking one from the stock is not idempotent by itself: done twice, it takes two. The inbox, in the
same transaction, sees to it that it is done once.
"""

from __future__ import annotations

import os
from pathlib import Path

from eventbus import Context, EventBus, Retry

from .events import OrderPlaced
from .models import Reservation, Stock

bus = EventBus(
    "inventory",
    database_url=os.environ.get("INVENTORY_DATABASE_URL", "sqlite:///inventory.db"),
    broker_url=os.environ.get("EVENTBUS_BROKER_URL", "sqlite:///broker.db"),
    contracts=Path(__file__).parents[1] / "contracts",
)


class UnknownProduct(LookupError):
    """Inventory has never heard of the product."""


# Trying again does not help against an unknown product: a person has to look at it.
GIVE_UP = Retry(give_up_on=(UnknownProduct,))


@bus.handler(OrderPlaced, queue="reservations", retry=GIVE_UP, transactional=True)
def reserve(event: OrderPlaced, context: Context) -> None:
    """Take one piece from the stock and keep it for the order."""
    stock = context.session.get(Stock, event.product_id, with_for_update=True)
    if stock is None:
        raise UnknownProduct(event.product_id)
    stock.available -= 1
    context.session.add(Reservation(order_id=event.order_id, product_id=event.product_id))
