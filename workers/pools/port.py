"""What a worker needs of a pool.

The worker's loop never runs a handler itself: it hands jobs to a pool and is told when they have
ended, so that deliveries, settlements, pauses and a stop go on however long a handler takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from eventbus.workers.work import Job

#: Told of a job that has ended, on the thread where it ran; it must not block.
Ended = Callable[[Job], None]


class Runner(Protocol):
    """Runs a job to its end and sets its outcome; raises nothing of the handler's."""

    def run(self, job: Job) -> None:
        """Run it on this thread."""

    def run_async(self, job: Job) -> Coroutine[Any, Any, None]:
        """Run it on this thread's event loop."""


class Pool(Protocol):
    """Runs jobs side by side, as many as it has places.

    Parameters
    ----------
    places:
        Jobs that run at the same time.
    room:
        Places that are free now; below zero, so many jobs wait for one.
    """

    places: int

    @property
    def room(self) -> int:
        """Places that are free now; below zero, so many jobs wait for one."""

    def submit(self, job: Job) -> None:
        """Run `job` soon, in the order of the calls; `Ended` is told afterwards."""

    def withdraw(self) -> list[Job]:
        """Take back the jobs that have not begun; of these `Ended` is not told."""

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for running jobs; whether all have ended."""


class Places:
    """Counts the jobs of one pool; from any thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def room(self) -> int:
        """See `Pool.room`."""
        return self.count - self._taken

    def take(self) -> None:
        """A job came."""
        with self._lock:
            self._taken += 1

    def free(self, jobs: int = 1) -> None:
        """Jobs have ended, or were taken back."""
        with self._lock:
            self._taken -= jobs
