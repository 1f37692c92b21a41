"""An application as mypy sees it; `tests/unit/test_typing.py` checks it.

Each line that mypy has to refuse says so: an ignore that is not needed is an error as well.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from uuid import UUID

from sqlalchemy.orm import Session

from eventbus import (
    Context,
    Event,
    EventBus,
    PublishOptions,
    Reject,
    Retry,
    RetryLater,
    Struct,
    shared_handler,
)
from eventbus.hooks import WorkerReady
from eventbus.middleware import ConsumeNext, PublishNext


class Address(Struct):
    street: str
    country: str = "DE"


class OrderPaid(Event, name="order.paid", style="snapshot", reason="a struct is checked too"):
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


@bus.handler("order.paid", queue="billing", rate_limit="5/s", time_limit=timedelta(minutes=1))
async def later(event: OrderPaid, *, session: Session) -> None:
    raise RetryLater(timedelta(hours=1), "closed", counted=False)


@shared_handler(OrderPaid, queue="audit", retry=Retry(max_attempts=2))
def audit(event: OrderPaid) -> int:
    raise Reject("no")


audited: int = audit(paid)
audit("paid")  # type: ignore[arg-type]
shared_handler(OrderPaid, queues="audit")  # type: ignore[call-arg]
bus.handler(OrderPaid, rate_limit=5)  # type: ignore[arg-type]
raise_later = RetryLater(5)  # type: ignore[arg-type]


class Tenancy:
    def publish_scope(self, call_next: PublishNext, event: Event, options: PublishOptions) -> str:
        options.with_attributes(tenant=7)  # type: ignore[arg-type]
        return call_next(event, options.with_attributes(tenant="acme"))

    def consume_scope(self, call_next: ConsumeNext, event: Event, context: Context) -> object:
        tenant: str = context.extensions["tenant"]
        print(tenant)
        return call_next(event, context)


def address() -> Iterator[Address]:
    yield Address(street="x")


bus.add_middleware(Tenancy())
bus.provide(Address, address)
found: list[str] = bus.autodiscover("shop.orders")


@bus.on("worker_ready")
def tell(happening: WorkerReady) -> None:
    print(happening.queues)


def pay(session: Session) -> None:
    event_id: str = bus.publish(paid, session=session, key=paid.order_id)
    ids: list[str] = bus.publish_many([paid], session=session, key=lambda event: event.order_id)
    print(event_id, ids)
    bus.publish("order.paid", session=session)  # type: ignore[arg-type]
    bus.publish(paid, session="session")  # type: ignore[arg-type]
    bus.publish(paid, session)  # type: ignore[call-arg]
