"""Runs jobs within their hard time limits, in a process that can be given up.

A plain handler cannot be ended from within its process. When its time is over the job is failed
over its head, by the handler's `Retry`, and the process ends; the thread that ran it never comes
back. A coroutine is cancelled by `interruption`; here is what happens when it blocks the loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from eventbus.errors import TimeLimitExceeded

from ..pools.port import Runner
from ..work import Job
from .host import Deadline
from .time_limits import Alarm, Clock, TimeLimits

#: What a coroutine gets to end after it was cancelled.
CANCEL_SECONDS = 5.0

#: Told of a job whose seconds are over, on the clock's thread.
Expired = Callable[[Job, TimeLimitExceeded, float], None]


class HardLimits:
    """A `Runner` around another one."""

    def __init__(
        self, runner: Runner, limits: TimeLimits, clock: Clock, deadline: Deadline, expired: Expired
    ) -> None:
        self._runner = runner
        self._limits = limits
        self._clock = clock
        self._deadline = deadline
        self._expired = expired

    def run(self, job: Job) -> None:
        """See `Runner.run`; does not return when the time is over."""
        seconds = self._limits.of(job.handler).hard_seconds
        if seconds is None:
            self._runner.run(job)
            return
        # Before the alarm: a handler may keep every other thread of this process from running.
        self._deadline.set(time.monotonic() + seconds)
        alarm = self._set_alarm(job, seconds, seconds)
        self._runner.run(job)
        self._call_off(alarm)
        self._deadline.clear()

    async def run_async(self, job: Job) -> None:
        """See `Runner.run_async`."""
        seconds = self._limits.of(job.handler).hard_seconds
        if seconds is None:
            await self._runner.run_async(job)
            return
        alarm = self._set_alarm(job, seconds + CANCEL_SECONDS, seconds)
        await self._runner.run_async(job)
        self._call_off(alarm)

    def _set_alarm(self, job: Job, after_seconds: float, limit_seconds: float) -> Alarm:
        error = TimeLimitExceeded(f"it ran longer than its time limit of {limit_seconds:g} s")
        return self._clock.set(after_seconds, lambda: self._expired(job, error, limit_seconds))

    def _call_off(self, alarm: Alarm) -> None:
        if not self._clock.call_off(alarm):
            # The job has failed already, and this process ends: nothing may come after.
            threading.Event().wait()
