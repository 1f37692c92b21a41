"""What a worker is told at its start, as one value; a prefork pool hands it to its children."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

PREFORK = "prefork"
THREADS = "threads"
SOLO = "solo"

#: Names as the command line takes them.
POOLS = (PREFORK, THREADS, SOLO)

#: How the processes of a prefork pool come into being.
START_METHODS = ("forkserver", "spawn", "fork")


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """The options of a worker; the command line has the same names.

    Parameters
    ----------
    queues:
        Short or full names of the subscriptions; None for all.
    pool, concurrency:
        How plain handlers run, and how many at the same time: ``prefork`` in so many processes,
        ``threads`` on so many threads; ``solo`` runs one whatever is given.
    coroutines:
        Coroutine handlers that run at the same time in one process, beside the others.
    prefetch:
        Messages of a queue that the broker hands out unacknowledged to one process; by default
        sixteen for each handler that can run, at least 64.
    name:
        Shown in the broker's list of connections, in the log and in ``eventbus status``.
    shutdown_timeout:
        How long a stop waits for running handlers.
    soft_time_limit, time_limit:
        Of handlers that have none of their own: when `SoftTimeLimitExceeded` is raised in one, and
        when it is ended. Plain handlers are ended only where they have a process of their own.
    max_tasks_per_child, max_memory_per_child:
        Runs of handlers, and bytes of resident memory, after which a process of ``prefork``
        finishes what it does and is replaced.
    start_method:
        One of `START_METHODS`.
    """

    queues: tuple[str, ...] | None = None
    pool: str = THREADS
    concurrency: int = 8
    coroutines: int = 64
    prefetch: int | None = None
    name: str | None = None
    shutdown_timeout: timedelta = timedelta(seconds=30)
    soft_time_limit: timedelta | None = None
    time_limit: timedelta | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    start_method: str = START_METHODS[0]

    @property
    def handlers_at_once(self) -> int:
        """Plain handlers that run at the same time in one process."""
        return self.concurrency if self.pool == THREADS else 1

    @property
    def prefetch_count(self) -> int:
        """The prefetch of each queue in one process."""
        return self.prefetch or max(64, 16 * self.handlers_at_once)
