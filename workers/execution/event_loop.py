"""The event loop of a worker process, on a thread of its own.

One for all handlers, so that the clients that they keep open belong to it wherever they are used.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from ..monitoring.stacks import watch_loop

#: What coroutines get to react to being cancelled when the loop ends.
CANCEL_SECONDS = 1.0

#: How long a thread waits at a stretch for what it has handed to the loop.
SLICE_SECONDS = 0.2


class EventLoop:
    """An event loop on a daemon thread, started when it is first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = asyncio.new_event_loop()
                    watch_loop(loop)
                    self._thread = threading.Thread(
                        target=loop.run_forever, name="eventbus-coroutines", daemon=True
                    )
                    self._thread.start()
                    self._loop = loop
        return self._loop

    def wait(self, awaitable: Awaitable[Any]) -> None:
        """Await it on the loop, in the caller's context, while the calling thread waits."""
        future: Future[BaseException | None] = asyncio.run_coroutine_threadsafe(
            _outcome(awaitable), self.get()
        )
        try:
            error = _result(future)
        except BaseException:
            # The waiting thread is interrupted, by a time limit: so is what it waits for.
            future.cancel()
            raise
        if error is not None:
            raise error

    def close(self, timeout: float) -> bool:
        """Cancel what runs, wait up to `timeout` seconds for the end; whether it has come."""
        if self._loop is None or self._thread is None:
            return True
        asyncio.run_coroutine_threadsafe(_end(self._loop), self._loop)
        self._thread.join(timeout)
        return not self._thread.is_alive()


def _result(future: Future[BaseException | None]) -> BaseException | None:
    # In slices: between them a soft time limit can interrupt a thread that is not the main one.
    while True:
        with contextlib.suppress(FutureTimeoutError):
            return future.result(SLICE_SECONDS)


async def _end(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
    loop.stop()


async def _outcome(awaitable: Awaitable[Any]) -> BaseException | None:
    try:
        await awaitable
    except BaseException as error:  # a SystemExit that left a task would end the loop
        return error
    return None
