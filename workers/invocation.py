"""Calls a handler: in place, and what it returns to be awaited on this thread's event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

from eventbus.context import Context
from eventbus.subscription import Handler

_thread = threading.local()


def call(handler: Handler, event: Any, context: Context) -> None:
    """Run the handler's function to its end."""
    arguments = (event, context) if handler.takes_context else (event,)
    returned = handler.function(*arguments)
    # Asked of the value, not of the function: a decorator hides that it is a coroutine function,
    # and an event whose coroutine nobody awaits would be acknowledged unhandled.
    if returned is not None and inspect.isawaitable(returned):
        _loop().run_until_complete(returned)


def _loop() -> asyncio.AbstractEventLoop:
    """One loop per pool thread, kept, so that a handler's clients can keep their connections."""
    loop: asyncio.AbstractEventLoop | None = getattr(_thread, "loop", None)
    if loop is None:
        loop = _thread.loop = asyncio.new_event_loop()
    return loop
