"""What the email service reads."""

from __future__ import annotations

from uuid import UUID

from eventbus import Event


class OrderPaid(Event, name="order.paid", source="billing"):
    """Billing's event as the email service reads it."""

    order_id: UUID
    customer_id: UUID
