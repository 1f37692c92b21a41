"""The solo pool: handlers run one after the other on the worker's own thread.

The quickest for short handlers, as nothing changes threads. Heartbeats and leases go on all the
same, they have threads of their own.
"""

from __future__ import annotations

from collections.abc import Callable


class SoloPool:
    """Runs each task at once, in `submit`."""

    concurrency = 1

    def submit(self, task: Callable[[], None]) -> None:
        """See `Pool.submit`."""
        task()

    def close(self, timeout: float) -> bool:
        """See `Pool.close`; nothing can be running here."""
        return True
