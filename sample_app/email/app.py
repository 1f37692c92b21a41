"""The email service writes to the customer when an order is paid.

A mail that is sent cannot be rolled back, so this handler is not transactional: eventbus claims the
event before the handler runs and remembers it afterwards, in Redis when ``EVENTBUS_REDIS_URL`` is
set, otherwise in this service's database. While the provider is down each event waits for its
retry, and nobody else waits with it; once nearly all have failed the breaker tries one at a time.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from eventbus import Breaker, EventBus, Retry

from .events import OrderPaid
from .models import Mail
from .provider import DATABASE_URL, ProviderDown, send

bus = EventBus(
    "email",
    database_url=DATABASE_URL,
    broker_url=os.environ.get("EVENTBUS_BROKER_URL", "sqlite:///broker.db"),
    contracts=Path(__file__).parents[1] / "contracts",
)

# Only the provider's absence is worth another try; a mail that it refuses goes to the dead letters.
UNTIL_IT_ANSWERS = Retry(
    max_attempts=1000, delay=timedelta(seconds=1), backoff="fixed", retry_on=(ProviderDown,)
)
# While all mails fail nothing is tried but one, each second at first: a mail that is late by half a
# minute, as the default would have it, is a customer who asks.
bus.queue("confirmations", breaker=Breaker(open_for=timedelta(seconds=1)))


@bus.handler(OrderPaid, queue="confirmations", retry=UNTIL_IT_ANSWERS)
def confirm(event: OrderPaid) -> None:
    """Tell the customer that the order is paid."""
    send(
        Mail(
            customer_id=event.customer_id,
            order_id=event.order_id,
            subject=f"Thank you! Your order {event.order_id} is paid",
        )
    )
