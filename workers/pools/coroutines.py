"""The pool of coroutine handlers: tasks of the process's event loop."""

from __future__ import annotations

import asyncio
from collections import deque

from eventbus.workers.execution.event_loop import EventLoop
from eventbus.workers.work import Job

from .port import Ended, Runner


class CoroutinePool:
    """Runs jobs as tasks of one event loop, at most `places` at a time."""

    def __init__(self, places: int, runner: Runner, ended: Ended, loop: EventLoop) -> None:
        self.places = places
        self._runner = runner
        self._ended = ended
        self._loop = loop
        self._jobs: deque[Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waking = False

    def submit(self, job: Job) -> None:
        """See `Pool.submit`."""
        self._jobs.append(job)
        # Appended before the flag is read, and the flag cleared before the jobs are taken: none is
        # left without a wake-up of the loop, and many share one.
        if not self._waking:
            self._waking = True
            self._loop.get().call_soon_threadsafe(self._wake)

    def withdraw(self) -> list[Job]:
        """See `Pool.withdraw`."""
        jobs = []
        try:
            while True:
                jobs.append(self._jobs.popleft())
        except IndexError:
            return jobs

    def close(self, timeout: float) -> bool:
        """See `Pool.close`."""
        return self._loop.close(timeout)

    def _wake(self) -> None:
        self._waking = False
        self._begin()

    def _begin(self) -> None:
        while self._jobs and len(self._tasks) < self.places:
            try:
                job = self._jobs.popleft()
            except IndexError:  # withdrawn just now
                return
            task = self._loop.get().create_task(self._run(job))
            # The loop itself keeps only weak references.
            self._tasks.add(task)
            task.add_done_callback(self._done)

    async def _run(self, job: Job) -> None:
        try:
            await self._runner.run_async(job)
        finally:
            self._ended(job)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._begin()
