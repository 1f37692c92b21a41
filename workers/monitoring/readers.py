"""Tells the schema registry what the handlers of this process read, so that a change names them.

One thread in each process that stays. It needs a registry and the process does not: while the
registry is away, the readers are missing there, and everything else goes on. Where the application
has neither lock files nor a `registry_url`, there is nobody to tell, and the thread does not run.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from eventbus.backoff import Backoff
from eventbus.contracts.lock_files import SUFFIX
from eventbus.errors import DatabaseNotMigrated, EventBusError
from eventbus.settings import Settings

from ..supervisor import Service

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.registry.port import Reader

log = logging.getLogger("eventbus.readers")

#: How often it says so again: `eventbus.contracts.gates.readers.REPEAT_MS`, which is imported late.
REPEAT_SECONDS = 3_600.0

#: Between two tries while the registry does not answer.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

#: Trouble that ends sooner is not told: a migration may run beside the start.
TELL_AFTER_SECONDS = 10.0

#: A process that ends waits so long for a registry that is being told.
LEAVE_SECONDS = 1.0


class ReaderAnnouncer:
    """Says for the queues that `services` consume what is read, for as long as it is entered.

    Parameters
    ----------
    bus:
        Its handlers, and the registry in its settings.
    services:
        What runs in this process.
    """

    def __init__(self, bus: EventBus, services: Iterable[Service]) -> None:
        self._bus = bus
        self._queues = frozenset(queue for service in services for queue in service.report().queues)
        self._runs = bool(self._queues) and _has_registry(bus.settings)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="readers", daemon=True)

    def __enter__(self) -> ReaderAnnouncer:
        if self._runs:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving.set()
        if self._runs:
            self._thread.join(LEAVE_SECONDS)

    def _run(self) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        began, told = time.monotonic(), False
        while not self._leaving.is_set():
            pause = REPEAT_SECONDS
            try:
                self._announce()
            except Exception as error:  # nothing that goes wrong here may touch the worker
                pause = backoff.next()
                if not told and time.monotonic() - began >= TELL_AFTER_SECONDS:
                    told = True
                    _tell(error)
            else:
                if told:
                    log.info("the schema registry knows what is read here again")
                began, told = time.monotonic() + REPEAT_SECONDS, False
                backoff.reset()
            self._leaving.wait(pause)

    def _announce(self) -> None:
        # Only now: what derives contracts is not needed for anything else in a worker.
        from eventbus.contracts.gates.readers import readers_of
        from eventbus.contracts.registry import open_registry

        readers: list[Reader] = [one for one in readers_of(self._bus) if one.queue in self._queues]
        if readers:
            open_registry(self._bus).add_readers(readers)
            log.debug("the schema registry knows of %d readers here", len(readers))


def _has_registry(settings: Settings) -> bool:
    """Whether contracts are in use: what derives and registers them takes 2 MiB of memory."""
    if settings.registry_url is not None:
        return True
    try:
        return any(name.endswith(SUFFIX) for name in os.listdir(settings.contracts))
    except OSError:
        return False


def _tell(error: Exception) -> None:
    text = str(error) if isinstance(error, EventBusError) else f"{type(error).__name__}: {error}"
    log.log(
        logging.INFO if isinstance(error, DatabaseNotMigrated) else logging.WARNING,
        "the schema registry does not know what is read here, so that a change to a contract that "
        "breaks it may go unnoticed; everything else goes on: %s",
        text,
    )
