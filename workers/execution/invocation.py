"""Calls a handler: a plain function on this thread, a coroutine on the event loop."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from eventbus.context import Context
from eventbus.injection import bind, bind_async
from eventbus.subscription import Handler

from .event_loop import EventLoop
from .interruption import Interrupter, run_limited
from .time_limits import Clock, TimeLimits


class Invocation:
    """Calls the functions of handlers.

    Parameters
    ----------
    loop:
        Where what a plain function returns is awaited.
    limits:
        Within which they run.
    """

    def __init__(
        self,
        loop: EventLoop,
        limits: TimeLimits | None = None,
        interrupter: Interrupter | None = None,
    ) -> None:
        self.loop = loop
        self._limits = limits or TimeLimits()
        self._interrupter = interrupter or Interrupter(Clock())
        self._plain: dict[Handler, Callable[[Any, Context], None]] = {}
        self._coroutines: dict[Handler, Callable[[Any, Context], Awaitable[Any]]] = {}

    def call(self, handler: Handler, event: Any, context: Context) -> None:
        """Run the handler's function to its end, on this thread."""
        function = self._plain.get(handler)
        if function is None:
            function = bind(handler, context.bus.dependencies, self._finish)
            self._plain[handler] = function
        soft_seconds = self._limits.of(handler).soft_seconds
        if soft_seconds is None:
            function(event, context)
            return
        with self._interrupter.limit(soft_seconds):
            function(event, context)

    async def call_async(self, handler: Handler, event: Any, context: Context) -> None:
        """Run the handler's coroutine to its end, on this thread's event loop."""
        function = self._coroutines.get(handler)
        if function is None:
            function = self._coroutines[handler] = bind_async(handler, context.bus.dependencies)
        limits = self._limits.of(handler)
        if limits.soft_seconds is None and limits.hard_seconds is None:
            await function(event, context)
        else:
            await run_limited(_coroutine(function(event, context)), limits)

    def _finish(self, returned: Any) -> None:
        # Asked of the value, not of the function: a decorator hides that it is a coroutine
        # function, and an event whose coroutine nobody awaits would be acknowledged unhandled.
        if returned is not None and inspect.isawaitable(returned):
            self.loop.wait(returned)


async def _coroutine(awaitable: Awaitable[Any]) -> None:
    await awaitable
