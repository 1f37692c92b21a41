"""Inventory's own data: what is in stock, and for which order it is kept."""

from __future__ import annotations

from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of inventory."""


#: What every product begins with.
FIRST_STOCK = 1000


class Stock(Base):
    """How many pieces of a product are free; below zero they have to be bought."""

    __tablename__ = "stock"

    product_id: Mapped[str] = mapped_column(sa.String(50), primary_key=True)
    available: Mapped[int] = mapped_column(default=FIRST_STOCK)


class Reservation(Base):
    """One piece kept for an order."""

    __tablename__ = "reservations"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    order_id: Mapped[UUID] = mapped_column(index=True)
    product_id: Mapped[str] = mapped_column(sa.String(50))
