"""What a process of its own can do for its worker: a child of the prefork pool is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from eventbus.errors import TimeLimitExceeded


class Deadline(Protocol):
    """Where somebody outside sees when the running handler must have ended."""

    def set(self, at: float) -> None:
        """It must have ended at `at`, in seconds of `time.monotonic`."""

    def clear(self) -> None:
        """Nothing runs that has a limit."""


class Host(Protocol):
    """The process around one worker, which can be replaced by another one."""

    #: Where the parent sees when the running handler must have ended.
    deadline: Deadline

    def lend(self, work: Callable[[], None]) -> None:
        """Call `work` on the main thread: it runs plain handlers until the pool is closed."""

    def retire(self, why: str) -> None:
        """Have the worker finish what runs, and let another process take over."""

    def expire(self, error: TimeLimitExceeded) -> None:
        """End the process as soon as what has an outcome is settled: a handler cannot be ended."""
