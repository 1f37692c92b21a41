"""Billing's own data: the charges."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of billing."""


class Charge(Base):
    """Money taken from a customer.

    Nothing here forbids a second charge for an order. In a service of your own, add the unique
    constraint; in this one the inbox alone has to prevent it, and the demo counts.
    """

    __tablename__ = "charges"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    order_id: Mapped[UUID] = mapped_column(index=True)
    amount_cents: Mapped[int]
    charged_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    worker_pid: Mapped[int]
