"""The customers: they order over HTTP, several at a time, and never try twice."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from uuid import UUID, uuid4

import httpx

from ..prepare import PRODUCTS

#: How many order at the same time.
CONCURRENCY = 6

#: Seconds after which a customer gives up on checkout.
PATIENCE = 10.0


class Customers:
    """Order at the checkout service at `url`, from threads of their own.

    What they are told is kept: an order that was confirmed to a customer must be in the books.
    """

    def __init__(self, url: str) -> None:
        self.confirmed: list[UUID] = []
        self.failures: list[str] = []
        self._http = httpx.Client(base_url=url, timeout=PATIENCE)
        self._threads = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="customer")
        self._leaving = threading.Event()

    def __enter__(self) -> Customers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leaving.set()
        self._threads.shutdown(cancel_futures=True)
        self._http.close()

    def order(self, count: int) -> None:
        """Place `count` orders, several at a time; returns at once."""
        for _ in range(count):
            self._threads.submit(self._order)

    def _order(self) -> None:
        if self._leaving.is_set():
            return
        wanted = {"customer_id": str(uuid4()), "product_id": random.choice(PRODUCTS)}
        try:
            answer = self._http.post("/orders", json=wanted).raise_for_status().json()
            self.confirmed.append(UUID(answer["id"]))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
