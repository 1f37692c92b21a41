"""Runs so many jobs, then asks for a process that is new: for handlers that leak."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..pools.port import Runner
from ..work import Job


class TaskLimit:
    """A `Runner` around another one.

    Parameters
    ----------
    most:
        Jobs that it runs; later ones come back without an outcome.
    reached:
        Called once, after the last.
    """

    def __init__(self, runner: Runner, most: int, reached: Callable[[], None]) -> None:
        self._runner = runner
        self._left = most
        self._reached = reached
        self._lock = threading.Lock()

    def run(self, job: Job) -> None:
        """See `Runner.run`."""
        number = self._next()
        if number >= 0:
            self._runner.run(job)
        if number == 0:
            self._reached()

    async def run_async(self, job: Job) -> None:
        """See `Runner.run_async`."""
        number = self._next()
        if number >= 0:
            await self._runner.run_async(job)
        if number == 0:
            self._reached()

    def _next(self) -> int:
        with self._lock:
            self._left -= 1
            return self._left
