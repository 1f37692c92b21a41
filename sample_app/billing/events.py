"""What billing reads, and what it tells the others."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from eventbus import Event


class OrderPlaced(Event, name="order.placed", source="checkout"):
    """Checkout's event as billing reads it: only the field that it needs."""

    order_id: UUID


class OrderPaid(Event, name="order.paid"):
    """The customer was charged for an order."""

    order_id: UUID
    customer_id: UUID
    paid_at: datetime
