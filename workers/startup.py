"""The start of a service: what has to be there first, and patience with servers that are not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from eventbus.backoff import Backoff
from eventbus.errors import (
    BrokerUnavailable,
    DatabaseNotMigrated,
    DatabaseUnavailable,
    IdempotencyStoreUnavailable,
)

if TYPE_CHECKING:
    from .supervisor import Service

log = logging.getLogger("eventbus.supervisor")

#: What comes with time, the tables with the migration that a deployment runs beside its workers.
_AWAY = (
    BrokerUnavailable,
    DatabaseNotMigrated,
    DatabaseUnavailable,
    IdempotencyStoreUnavailable,
)

FIRST_PAUSE_SECONDS = 0.5
#: The longest pause between two tries.
LONGEST_PAUSE_SECONDS = 5.0


class Startup:
    """Runs services, once what they need is there.

    Parameters
    ----------
    prepare:
        Checks and prepares the servers before the first service; called once for all services,
        again where it failed.
    before_run:
        Called before each try to run a service, after `prepare`.
    patience:
        How long to try again at the start while a server is away or the tables are not there.
        Later, services wait by themselves.
    """

    def __init__(
        self,
        prepare: Callable[[], None] | None = None,
        patience: timedelta = timedelta(0),
        before_run: Callable[[], None] = lambda: None,
    ) -> None:
        self._prepare = prepare
        self._before_run = before_run
        self._prepared = prepare is None
        self._preparing = threading.Lock()
        self._patience_seconds = patience.total_seconds()
        self._troubles: dict[str, str] = {}

    def trouble(self, name: str) -> str | None:
        """Why the service of that name has not started yet."""
        return self._troubles.get(name)

    def run(self, name: str, service: Service, stopping: threading.Event) -> None:
        """Run `service` to its end; returns early when it is told to stop before it has started.

        Raises
        ------
        BrokerUnavailable, DatabaseUnavailable, IdempotencyStoreUnavailable, DatabaseNotMigrated
            It is still so when the patience is at its end.
        """
        deadline = time.monotonic() + self._patience_seconds
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while not stopping.is_set():
            try:
                self._prepare_once()
                self._before_run()
                self._troubles.pop(name, None)
                service.run()
            except _AWAY as error:
                if stopping.is_set():
                    log.info("stopped at the start: %s", error)
                    return
                if service.report().state != "starting" or time.monotonic() >= deadline:
                    raise
                seconds = min(backoff.next(), deadline - time.monotonic())
                log.warning("waiting to start: %s; next try in %.1f s", error, seconds)
                self._troubles[name] = str(error)
                stopping.wait(seconds)
            else:
                return

    def _prepare_once(self) -> None:
        with self._preparing:
            if not self._prepared and self._prepare is not None:
                self._prepare()
                self._prepared = True
