"""The shop as the demo has it in its hands: what it starts, and where it looks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from eventbus.brokers.port import Admin

from .books import Books
from .customers import Customers
from .processes import EVENTBUS, Process, Processes

QUEUES = ("billing.charges", "inventory.reservations", "email.confirmations")

#: Where e-mails wait for their next attempt.
RETRY_QUEUE = "email.confirmations.retry.1000"

#: Messages that a worker has in its hands at a time.
PREFETCH = 8


@dataclass(frozen=True)
class Shop:
    """Its processes, its customers and its books.

    Parameters
    ----------
    url:
        Where checkout listens.
    billing:
        The application that the billing workers run.
    broker:
        To look at the queues.
    provider_down:
        The mail provider is down while this file exists.
    """

    url: str
    billing: str
    processes: Processes
    customers: Customers
    books: Books
    broker: Admin
    provider_down: Path

    def start_web_server(self) -> Process:
        """Start checkout's, with waitress."""
        address = self.url.removeprefix("http://")
        waitress = (sys.executable, "-m", "waitress", f"--listen={address}", "--threads=8")
        application = "eventbus.sample_app.checkout.app:app"
        return self.processes.start("checkout web server", *waitress, application)

    def start_dispatcher(self, service: str) -> Process:
        """Start ``eventbus dispatcher`` for a service that publishes."""
        application = f"eventbus.sample_app.{service}.app:bus"
        name = f"{service} dispatcher"
        return self.processes.start(name, *EVENTBUS, "-A", application, "dispatcher")

    def start_worker(self, service: str, number: str = "") -> Process:
        """Start ``eventbus worker`` for a service that handles events."""
        application = f"eventbus.sample_app.{service}.app:bus"
        if service == "billing":
            application = self.billing
        options = ("-P", "threads", "-c", "2", "--prefetch", str(PREFETCH))
        name = f"{service} worker {number}".strip()
        return self.processes.start(name, *EVENTBUS, "-A", application, "worker", *options)

    def workers(self) -> int:
        """How many workers the broker knows of."""
        return sum(stats.consumers for stats in self.broker.stats(QUEUES).values())

    def checkout_is_healthy(self) -> bool:
        """Whether customers can order."""
        try:
            return httpx.get(f"{self.url}/healthz").is_success
        except httpx.HTTPError:
            return False

    def queued(self, queue: str) -> int:
        """How many messages wait in `queue`, apart from those that a worker has."""
        stats = self.broker.stats([queue])
        return stats[queue].messages if queue in stats else 0

    def nothing_waits(self) -> bool:
        """Whether all outboxes and queues are empty."""
        queues = (*QUEUES, RETRY_QUEUE)
        return not self.books.unsent() and not any(map(self.queued, queues))
