"""What inventory reads."""

from __future__ import annotations

from uuid import UUID

from eventbus import Event


class OrderPlaced(Event, name="order.placed"):
    """Checkout's event as inventory reads it: it does not care who ordered, or when."""

    order_id: UUID
    product_id: str
