"""What the outbox holds, for a reader who must not wait for the database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from eventbus.errors import EventBusError
from eventbus.outbox.store import OutboxDepth

log = logging.getLogger("eventbus.supervisor")

#: How long an answer is good enough: several scrapers cost one query.
FRESH_SECONDS = 5.0

#: How long a scrape waits for the database.
WAIT_SECONDS = 1.0


class OutboxSample:
    """Asks the database now and then, one query at a time, on a thread of its own.

    Parameters
    ----------
    query:
        Asks; may take its time and may raise.
    """

    def __init__(self, query: Callable[[], OutboxDepth]) -> None:
        self._query = query
        self._lock = threading.Lock()
        self._asking: threading.Event | None = None
        self._answer: OutboxDepth | None = None
        self._answered_at = float("-inf")

    def read(self, wait_seconds: float = WAIT_SECONDS) -> OutboxDepth | None:
        """A fresh answer, or None where there is none within `wait_seconds`."""
        with self._lock:
            if self._is_fresh():
                return self._answer
            if self._asking is None:
                self._asking = threading.Event()
                threading.Thread(target=self._ask, name="eventbus-outbox", daemon=True).start()
            asking = self._asking
        asking.wait(wait_seconds)
        with self._lock:
            return self._answer if self._is_fresh() else None

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._answered_at < FRESH_SECONDS

    def _ask(self) -> None:
        answer = None
        try:
            answer = self._query()
        except EventBusError as error:
            log.debug("the outbox cannot be counted: %s", error)
        except Exception:
            log.exception("the outbox cannot be counted")
        with self._lock:
            # None as well: a database that is away is not asked at each scrape.
            self._answer, self._answered_at = answer, time.monotonic()
            asking, self._asking = self._asking, None
        if asking is not None:
            asking.set()
