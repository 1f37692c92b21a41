"""Where handlers run: the pool port and its adapters."""

from __future__ import annotations

from eventbus.workers.execution.event_loop import EventLoop
from eventbus.workers.execution.host import Host
from eventbus.workers.options import WorkerOptions
from eventbus.workers.work import Job

from .coroutines import CoroutinePool
from .port import Ended, Pool, Runner
from .threads import ThreadPool


class HandlerPools:
    """The pools of one process: plain handlers in one, coroutine handlers in the other.

    Neither waits for the other: each has its own places.
    """

    def __init__(self, plain: Pool, coroutines: Pool) -> None:
        self.plain = plain
        self.coroutines = coroutines

    def submit(self, job: Job) -> None:
        """See `Pool.submit`."""
        pool = self.coroutines if job.handler.is_coroutine else self.plain
        pool.submit(job)

    def withdraw(self) -> list[Job]:
        """See `Pool.withdraw`."""
        return [*self.plain.withdraw(), *self.coroutines.withdraw()]

    def close(self, timeout: float) -> bool:
        """See `Pool.close`."""
        return self.plain.close(timeout) & self.coroutines.close(timeout)


def make_pools(
    options: WorkerOptions, runner: Runner, ended: Ended, loop: EventLoop, host: Host | None
) -> HandlerPools:
    """The pools that `options` ask for.

    Parameters
    ----------
    ended:
        Told of each job that has ended, on the thread where it ran.
    loop:
        Where coroutine handlers run.
    host:
        The process that lends its main thread.
    """
    plain = ThreadPool(options.handlers_at_once, runner, ended, own_threads=host is None)
    if host is not None:
        host.lend(plain.work)
    return HandlerPools(plain, CoroutinePool(options.coroutines, runner, ended, loop))
