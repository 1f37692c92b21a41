"""The mailbox: stands for what a mail provider has delivered."""

from __future__ import annotations

from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of the email service."""


class Mail(Base):
    """One e-mail as the customer has it."""

    __tablename__ = "mails"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    customer_id: Mapped[UUID]
    order_id: Mapped[UUID] = mapped_column(index=True)
    subject: Mapped[str] = mapped_column(sa.String(200))
