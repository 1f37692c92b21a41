"""What checkout tells the others."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from eventbus import Event


class OrderPlaced(Event, name="order.placed"):
    """A customer ordered. Thin: whoever needs the amount asks checkout, which alone knows it."""

    order_id: UUID
    customer_id: UUID
    product_id: str
    placed_at: datetime
