"""Orders are checkout's: billing asks it over HTTP for what the thin event leaves out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from uuid import UUID

import httpx

CHECKOUT_URL = os.environ.get("CHECKOUT_URL", "http://127.0.0.1:8000")

# The handler's transaction is open while it asks, so it does not wait for long.
_http = httpx.Client(base_url=CHECKOUT_URL, timeout=5)


@dataclass(frozen=True)
class Order:
    """An order as far as billing is concerned."""

    customer_id: UUID
    amount_cents: int


def fetch_order(order_id: UUID) -> Order | None:
    """The order as checkout knows it now; None if it knows no such order.

    Raises
    ------
    httpx.HTTPError
        Checkout does not answer. The handler lets it pass: it is retried.
    """
    response = _http.get(f"/orders/{order_id}")
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    answer = response.raise_for_status().json()
    return Order(UUID(answer["customer_id"]), answer["amount_cents"])
