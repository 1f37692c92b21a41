"""Calls a handler: a plain function on this thread, a coroutine on the event loop."""

from __future__ import annotations

import inspect
from typing import Any

from eventbus.context import Context
from eventbus.subscription import Handler

from .event_loop import EventLoop


class Invocation:
    """Calls the functions of handlers.

    Parameters
    ----------
    loop:
        Where what a plain function returns is awaited.
    """

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop

    def call(self, handler: Handler, event: Any, context: Context) -> None:
        """Run the handler's function to its end, on this thread."""
        returned = _started(handler, event, context)
        # Asked of the value, not of the function: a decorator hides that it is a coroutine
        # function, and an event whose coroutine nobody awaits would be acknowledged unhandled.
        if returned is not None and inspect.isawaitable(returned):
            self._loop.wait(returned)

    async def call_async(self, handler: Handler, event: Any, context: Context) -> None:
        """Run the handler's coroutine to its end, on this thread's event loop."""
        await _started(handler, event, context)


def _started(handler: Handler, event: Any, context: Context) -> Any:
    arguments = (event, context) if handler.takes_context else (event,)
    return handler.function(*arguments)
