"""What checkout tells the others."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from marshmallow.validate import Length

from eventbus import Event


class OrderPlaced(Event, name="order.placed"):
    """A customer ordered. Thin: whoever needs the amount asks checkout, which alone knows it."""

    order_id: UUID
    customer_id: UUID
    product_id: Annotated[str, Length(max=50)]
    placed_at: datetime
