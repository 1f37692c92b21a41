"""Checkout's own data: the orders."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of checkout."""


class Order(Base):
    """One piece of one product, for one customer."""

    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID]
    product_id: Mapped[str] = mapped_column(sa.String(50))
    amount_cents: Mapped[int]
    placed_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
