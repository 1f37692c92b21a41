"""What a worker is told at its start, as one value; a prefork pool hands it to its children."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """The options of a worker; the command line has the same names.

    Parameters
    ----------
    queues:
        Short or full names of the subscriptions; None for all.
    pool, concurrency:
        How handlers run, and how many at the same time; ``solo`` runs one whatever is given.
    coroutines:
        Coroutine handlers that run at the same time in one process, beside the others.
    prefetch:
        Messages of a queue that the broker hands out unacknowledged; by default sixteen for each
        handler that can run, at least 64.
    name:
        Shown in the broker's list of connections, in the log and in ``eventbus status``.
    shutdown_timeout:
        How long a stop waits for running handlers.
    """

    queues: tuple[str, ...] | None = None
    pool: str = "threads"
    concurrency: int = 8
    coroutines: int = 64
    prefetch: int | None = None
    name: str | None = None
    shutdown_timeout: timedelta = timedelta(seconds=30)

    @property
    def handlers_at_once(self) -> int:
        """Handlers that run at the same time in one process."""
        return self.concurrency if self.pool == "threads" else 1

    @property
    def prefetch_count(self) -> int:
        """The prefetch of each queue in one process."""
        return self.prefetch or max(64, 16 * self.handlers_at_once)
