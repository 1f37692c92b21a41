"""Billing charges each order exactly once, and tells of it.

`transactional=True` puts the handler into one transaction of billing's database, which holds the
charge, the event that tells of it and the inbox row that remembers which event was handled. If the
worker dies in the middle, all of it is undone and another worker starts anew; if the event is
delivered twice, the inbox stops the second one.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from eventbus import Context, EventBus, Retry

from .checkout import Order, fetch_order
from .events import OrderPaid, OrderPlaced
from .models import Charge

bus = EventBus(
    "billing",
    database_url=os.environ.get("BILLING_DATABASE_URL", "sqlite:///billing.db"),
    broker_url=os.environ.get("EVENTBUS_BROKER_URL", "sqlite:///broker.db"),
    contracts=Path(__file__).parents[1] / "contracts",
)

# Checkout keeps every order: an event about one that it does not know is for a person to look at.
bus.source("order", gone="dead-letter")(fetch_order)

# Checkout may be away for a while; an order waits for it up to about an hour.
PATIENT = Retry(max_attempts=12, delay=timedelta(seconds=1), max_delay=timedelta(minutes=10))


@bus.handler(OrderPlaced, queue="charges", retry=PATIENT, transactional=True)
def charge(event: OrderPlaced, context: Context) -> None:
    """Charge the customer: a row here stands for the call to a payment provider.

    A real provider is given ``context.event_id`` as its idempotency key: its account is not in our
    transaction.
    """
    order: Order = context.fetch(event)
    now = datetime.now(timezone.utc)
    context.session.add(
        Charge(
            order_id=event.order_id,
            amount_cents=order.amount_cents,
            charged_at=now,
            worker_pid=os.getpid(),
        )
    )
    paid = OrderPaid(order_id=event.order_id, customer_id=order.customer_id, paid_at=now)
    bus.publish(paid, session=context.session, key=event.order_id)
