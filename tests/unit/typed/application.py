"""An application as mypy sees it; `tests/unit/test_typing.py` checks it.

Each line that mypy has to refuse says so: an ignore that is not needed is an error as well.
"""

from datetime import datetime, timezone
from uuid import UUID

from sqlalchemy.orm import Session

from eventbus import Context, Event, EventBus, Retry, Struct


class Address(Struct):
    street: str
    country: str = "DE"


class OrderPaid(Event, name="order.paid"):
    order_id: UUID
    paid_at: datetime
    address: Address | None = None


now = datetime.now(timezone.utc)
paid = OrderPaid(order_id=UUID(int=1), paid_at=now, address=Address(street="x"))
reveal: UUID = paid.order_id

OrderPaid(order_id="1", paid_at=now)  # type: ignore[arg-type]
OrderPaid(order_id=UUID(int=1))  # type: ignore[call-arg]
OrderPaid(order_id=UUID(int=1), paid_at=now, payed=1)  # type: ignore[call-arg]
OrderPaid(UUID(int=1), now)  # type: ignore[call-arg]
paid.order_id = UUID(int=2)  # type: ignore[misc]
print(paid.order)  # type: ignore[attr-defined]

bus = EventBus("shop")


@bus.handler("order.paid", queue="billing", retry=Retry(max_attempts=2))
def charge(event: OrderPaid, context: Context) -> str:
    return context.event_id


charged: str = charge(paid, None)  # type: ignore[arg-type]


def pay(session: Session) -> None:
    event_id: str = bus.publish(paid, session=session, key=paid.order_id)
    ids: list[str] = bus.publish_many([paid], session=session, key=lambda event: event.order_id)
    print(event_id, ids)
    bus.publish("order.paid", session=session)  # type: ignore[arg-type]
    bus.publish(paid, session="session")  # type: ignore[arg-type]
    bus.publish(paid, session)  # type: ignore[call-arg]
