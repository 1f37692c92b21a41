"""The thread pool: for handlers that wait for databases and other services."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue


class ThreadPool:
    """Runs tasks on a fixed number of daemon threads.

    Daemon threads, because a handler that hangs must not keep a worker alive that was told to
    stop; `concurrent.futures` would wait for it at exit.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"eventbus-handler-{number}", daemon=True)
            for number in range(1, concurrency + 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Callable[[], None]) -> None:
        """See `Pool.submit`."""
        self._tasks.put(task)

    def close(self, timeout: float) -> bool:
        """See `Pool.close`."""
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
