"""The pool of plain handlers: threads that wait for databases and other services.

With one thread it is the pool ``solo``. In a child of ``prefork`` that one is the main thread,
where a signal can interrupt a handler.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue

from eventbus.workers.work import Job

from .port import Ended, Runner


class ThreadPool:
    """Runs jobs on a fixed number of daemon threads.

    Daemon threads, because a handler that hangs must not keep a worker alive that was told to
    stop; `concurrent.futures` would wait for it at exit.

    Parameters
    ----------
    own_threads:
        Without them the caller lends its own: it calls `work`, which returns after `close`.
    """

    def __init__(
        self, places: int, runner: Runner, ended: Ended, *, own_threads: bool = True
    ) -> None:
        self.places = places
        self._runner = runner
        self._ended = ended
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self.work, name=f"eventbus-handler-{number}", daemon=True)
            for number in range(1, places + 1)
            if own_threads
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """See `Pool.submit`."""
        self._jobs.put(job)

    def withdraw(self) -> list[Job]:
        """See `Pool.withdraw`."""
        jobs = []
        try:
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    jobs.append(job)
        except Empty:
            return jobs

    def close(self, timeout: float) -> bool:
        """See `Pool.close`."""
        for _ in range(self.places):
            self._jobs.put(None)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def work(self) -> None:
        """Run jobs on this thread until `close`."""
        while (job := self._jobs.get()) is not None:
            try:
                self._runner.run(job)
            finally:
                # Whatever happens: without it the delivery, and a stop, would wait for ever.
                self._ended(job)
