"""The events and the application's table of these tests."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from eventbus import Event, RecordsEvents


class OrderPaid(Event, name="order.paid"):
    order_id: int


class OrderShipped(Event, name="order.shipped"):
    parcel: UUID


class Base(DeclarativeBase):
    pass


class Order(RecordsEvents, Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20), unique=True)

    def pay(self) -> None:
        self.record_event(OrderPaid(order_id=self.id), key=self.id, subject=f"order {self.id}")
