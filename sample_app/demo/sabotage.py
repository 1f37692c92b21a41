"""Billing as it should not be written, so that a test sees the demo fail.

Not an example to copy. It takes the money in a transaction of its own, so that a retry takes it
again; `eventbus.sample_app.billing` shows how it is done.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

from sqlalchemy.orm import Session

from eventbus import Context, EventBus, Retry

from ..billing import app as billing
from ..billing.checkout import Order, fetch_order
from ..billing.events import OrderPaid, OrderPlaced
from ..billing.models import Charge

bus = EventBus(
    "billing",
    database_url=billing.bus.settings.database_url,
    broker_url=billing.bus.settings.broker_url,
    # So long do orders wait whose worker was killed; billing's own handler, with its inbox, knows
    # no such wait.
    claim_lease=timedelta(seconds=4),
)
bus.source("order", gone="dead-letter")(fetch_order)


@bus.handler(OrderPlaced, queue="charges", retry=Retry(delay=timedelta(seconds=1)))
def charge(event: OrderPlaced, context: Context) -> None:
    """Charge, then stumble over something that works at the second attempt."""
    order: Order = context.fetch(event)
    now = datetime.now(timezone.utc)
    taken = Charge(
        order_id=event.order_id,
        amount_cents=order.amount_cents,
        charged_at=now,
        worker_pid=os.getpid(),
    )
    with Session(bus.engine) as session, session.begin():
        session.add(taken)
    if context.attempt == 1 and event.order_id.int % 4 == 0:
        raise ConnectionError("the connection broke, after the money was taken")
    paid = OrderPaid(order_id=event.order_id, customer_id=order.customer_id, paid_at=now)
    with Session(bus.engine) as session, session.begin():
        bus.publish(paid, session=session, key=event.order_id)
