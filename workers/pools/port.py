"""What a worker needs of a pool.

The worker's loop never runs a handler itself: it hands jobs to a pool and is told when they have
ended, so that deliveries, settlements, pauses and a stop go on however long a handler takes.
"""

from __future__ import annotations

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
    """

    places: int

    def submit(self, job: Job) -> None:
        """Run `job` soon, in the order of the calls; `Ended` is told afterwards."""

    def withdraw(self) -> list[Job]:
        """Take back the jobs that have not begun; of these `Ended` is not told."""

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for running jobs; whether all have ended."""
