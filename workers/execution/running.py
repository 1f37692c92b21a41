"""Puts together what runs a job: the handler's call, its time limits, the limits of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventbus.errors import TimeLimitExceeded

from ..pipeline import Invoker
from ..pools import HandlerPools, make_pools
from ..pools.port import Ended, Runner
from ..work import Job
from .event_loop import EventLoop
from .hard_limits import HardLimits
from .interruption import Interrupter
from .invocation import Invocation
from .task_limit import TaskLimit
from .time_limits import Clock, TimeLimits

if TYPE_CHECKING:
    from eventbus.bus import EventBus

    from ..options import WorkerOptions
    from .host import Host


def start_pools(
    bus: EventBus, options: WorkerOptions, ended: Ended, host: Host | None
) -> HandlerPools:
    """The pools of a worker, ready to take jobs.

    Parameters
    ----------
    ended:
        Told of each job that has ended, on any thread.
    host:
        The process, where it is one of a prefork pool.
    """
    loop = EventLoop()
    clock = Clock()
    limits = TimeLimits.of_options(options)
    invoker = Invoker(bus, Invocation(loop, limits, Interrupter(clock)))
    runner: Runner = invoker
    if host is not None:
        runner = _within_process(runner, invoker, limits, clock, options, ended, host)
    return make_pools(options, runner, ended, loop, host)


def _within_process(
    runner: Runner,
    invoker: Invoker,
    limits: TimeLimits,
    clock: Clock,
    options: WorkerOptions,
    ended: Ended,
    host: Host,
) -> Runner:
    def expired(job: Job, error: TimeLimitExceeded, seconds: float) -> None:
        invoker.fail(job, error, seconds)
        ended(job)
        host.expire(error)

    runner = HardLimits(runner, limits, clock, host.deadline, expired)
    most = options.max_tasks_per_child
    if most is not None:
        runner = TaskLimit(runner, most, lambda: host.retire(f"it has run {most} handlers"))
    return runner
