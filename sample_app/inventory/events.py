"""What inventory reads."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from marshmallow.validate import Length

from eventbus import Event


class OrderPlaced(Event, name="order.placed", source="checkout"):
    """Checkout's event as inventory reads it: it does not care who ordered, or when."""

    order_id: UUID
    product_id: Annotated[str, Length(max=50)]
