"""The story that the demo tells: a day of the shop, with everything that can go wrong.

1. Quiet: the first orders go all the way to the customer's e-mail.
2. Rush: the email service is down, and billing has no worker while its version is replaced.
   Customers order all the same; events wait in their queues.
3. Crash: billing is back, and one of its two workers is killed in the middle of its work. The
   other one takes over what it had in its hands.
4. Recovery: the email service is back, but its mail provider does not answer. Each e-mail is
   retried until it does.
5. Closing time: the processes finish and end, so that what is counted afterwards is final.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .accidents import Accidents
from .books import Counts
from .errors import DemoFailed
from .processes import Process
from .screen import Screen
from .shop import RETRY_QUEUE, Shop

#: Seconds for the whole story; ending the processes may take some more.
DEADLINE_SECONDS = 48.0

#: Seconds between two looks at the databases, and when a moment must not be missed.
LOOK_SECONDS, CLOSE_LOOK_SECONDS = 0.2, 0.01

#: So many charges has the worker made that is killed.
_CHARGES_BEFORE_KILL = 3

#: So many e-mails wait for their retry before the provider answers again.
_RETRIES = 10

#: What the embedded broker takes to deliver again what a dead worker had; RabbitMQ does so at once.
_SETTLE_SECONDS = 1.5


class Story:
    """Tells the story once.

    Parameters
    ----------
    orders:
        How many orders are placed.
    """

    def __init__(self, shop: Shop, orders: int, screen: Screen) -> None:
        self._shop = shop
        self._orders = orders
        self._first_orders = orders // 10
        self._screen = screen
        self._state = screen.state
        self._deadline = time.monotonic() + DEADLINE_SECONDS
        self.accidents = Accidents()

    def tell(self) -> None:
        """Carry it out.

        Raises
        ------
        DemoFailed
            Something did not happen in time, or a process ended that should run.
        """
        billing, email = self._open_the_shop()
        self._quiet_hour()
        self._stop_workers(billing, email)
        self._rush_hour()
        self._kill_a_busy_worker()
        self._wait(lambda c: c.placed >= self._orders, "all orders to be placed")
        self._wait(self._all_paid, "all orders to be paid and reserved")
        self._bring_email_back()
        self._close_the_shop()

    # -- chapters -----------------------------------------------------------------------------

    def _open_the_shop(self) -> tuple[list[Process], Process]:
        self._now("The services start, each in processes of its own.")
        shop = self._shop
        shop.start_web_server()
        shop.start_dispatcher("checkout")
        shop.start_dispatcher("billing")
        billing = [shop.start_worker("billing", number) for number in "12"]
        email = shop.start_worker("email")
        shop.start_worker("inventory")
        self._wait(
            lambda c: shop.workers() == 4 and shop.checkout_is_healthy(), "the services to be ready"
        )
        self._service("checkout", "taking orders")
        self._service("billing", "2 workers")
        self._service("inventory", "1 worker")
        self._service("email", "1 worker")
        self._screen.say(f"{len(shop.processes.all)} processes are ready.")
        return billing, email

    def _quiet_hour(self) -> None:
        self._now("The first customers order, over HTTP.")
        self._shop.customers.order(self._first_orders)
        self._wait(lambda c: c.mails >= self._first_orders, "the first orders to be done")
        self._screen.say(f"{self._first_orders} orders are done, up to the e-mail.", "green")

    def _stop_workers(self, billing: list[Process], email: Process) -> None:
        for process in (*billing, email):
            process.terminate()
        self._service("billing", "no worker", troubled=True)
        self._service("email", "stopped", troubled=True)
        self._now("Billing gets a new version, and the email service is taken down.")
        ended = [*billing, email]
        self._wait(lambda c: all(p.exit_code is not None for p in ended), "workers to stop")
        self._screen.say("The email service is down, and billing has no worker.", "yellow")

    def _rush_hour(self) -> None:
        self._now("Customers order all the same; events wait in their queues.")
        self._shop.customers.order(self._orders - self._first_orders)
        half = self._orders // 2
        self._wait(lambda c: c.placed >= half, "half of the orders to be placed")
        self._screen.say("Half of the orders are placed. Billing is started again.")
        counts = self._shop.books.counts()
        self.accidents.orders_waiting = counts.placed - counts.charges

    def _kill_a_busy_worker(self) -> None:
        workers = [self._shop.start_worker("billing", number) for number in "12"]
        self._service("billing", "2 workers")
        self._now("Billing's workers charge what has waited for them.")
        victim = self._first_busy(workers)
        self.accidents.killed_by = victim.kill()
        self._service("billing", "1 of 2 workers killed", troubled=True)
        self._screen.say(
            f"SIGKILL to {victim.name}: {self.accidents.charges_before_kill} orders charged, "
            f"more in its hands.",
            "yellow",
        )
        self._now("The other worker takes over what the killed one had in its hands.")

    def _first_busy(self, workers: list[Process]) -> Process:
        """The worker that is first found in the middle of its work."""
        accidents, books = self.accidents, self._shop.books
        found: list[Process] = []

        def busy() -> bool:
            for worker in workers:
                accidents.charges_before_kill = books.charges_by(worker.pid)
                if accidents.charges_before_kill < _CHARGES_BEFORE_KILL:
                    continue
                accidents.queued_at_kill = self._shop.queued("billing.charges")
                if accidents.was_busy:
                    found.append(worker)
                    return True
            return False

        self._wait(
            lambda c: busy() or c.charges >= self._orders,
            "a billing worker to be busy",
            CLOSE_LOOK_SECONDS,
        )
        if not found:
            raise DemoFailed("billing was done before a worker could be killed; try more --orders")
        return found[0]

    def _all_paid(self, counts: Counts) -> bool:
        return counts.charges >= self._orders and counts.reservations >= self._orders

    def _bring_email_back(self) -> None:
        self._note_missed_mails()
        self._screen.say(
            f"All orders are paid; {self.accidents.mails_missed} events wait for the email service."
        )
        self._shop.provider_down.touch()
        self._shop.start_worker("email")
        self._service("email", "its provider is down", troubled=True)
        self._screen.say("It is back, but its mail provider does not answer.", "yellow")
        self._now("Each e-mail fails, and is tried again a second later.")
        self._wait(lambda c: self._see_retries(), "e-mails to fail", CLOSE_LOOK_SECONDS)
        self._note_missed_mails()
        self._shop.provider_down.unlink()
        self._service("email", "catching up")
        self._screen.say("The mail provider answers again.", "green")
        self._now("The email service catches up with what it has missed.")
        self._wait(lambda c: c.mails >= self._orders, "all e-mails to be sent")

    def _note_missed_mails(self) -> None:
        counts = self._shop.books.counts()
        self.accidents.mails_missed = self._orders - counts.mails
        self.accidents.mails_sent = counts.mails - self._first_orders

    def _see_retries(self) -> bool:
        self.accidents.retries = self._shop.queued(RETRY_QUEUE)
        return self.accidents.retries >= _RETRIES

    def _close_the_shop(self) -> None:
        shop = self._shop
        self._now("What the killed worker had is delivered again; then the services end.")
        self._wait(lambda c: shop.workers() == 3, "the broker to notice that a worker is dead")
        # Only now does a second charge come, if there is one: it must not escape the count.
        settled = time.monotonic() + _SETTLE_SECONDS
        self._wait(
            lambda c: time.monotonic() > settled and shop.nothing_waits(),
            "outboxes and queues to be empty",
        )
        shop.processes.close()
        self._screen.say("All e-mails are sent, all queues are empty; the services have ended.")

    # -- looking and showing ------------------------------------------------------------------

    def _wait(
        self, condition: Callable[[Counts], bool], what: str, seconds: float = LOOK_SECONDS
    ) -> None:
        """Wait for `condition`, look every so many seconds, and keep the screen up to date."""
        shop, state = self._shop, self._state
        while True:
            shop.processes.check()
            state.counts = shop.books.counts()
            state.failures = len(shop.customers.failures)
            self._screen.refresh()
            if state.failures:
                raise DemoFailed(f"checkout failed: {shop.customers.failures[0]}")
            if condition(state.counts):
                return
            if time.monotonic() > self._deadline:
                raise DemoFailed(f"after {DEADLINE_SECONDS:.0f} s still waiting for {what}")
            time.sleep(seconds)

    def _now(self, text: str) -> None:
        self._state.now = text

    def _service(self, name: str, how: str, *, troubled: bool = False) -> None:
        self._state.services[name] = how
        (self._state.troubled.add if troubled else self._state.troubled.discard)(name)
