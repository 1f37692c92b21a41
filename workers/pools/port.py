"""What a worker needs of a pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Pool(Protocol):
    """Runs handlers.

    Parameters
    ----------
    concurrency:
        Handlers that run at the same time.
    """

    concurrency: int

    def submit(self, task: Callable[[], None]) -> None:
        """Run `task` soon, or now; `task` never raises and says itself when it is done."""

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for running tasks; whether all have ended."""
