"""Calls a handler: a plain function in place, a coroutine function on this thread's event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from eventbus.context import Context
from eventbus.subscription import Handler

_thread = threading.local()


def call(handler: Handler, event: Any, context: Context) -> None:
    """Run the handler's function to its end."""
    arguments = (event, context) if handler.takes_context else (event,)
    if handler.is_coroutine:
        _loop().run_until_complete(handler.function(*arguments))
    else:
        handler.function(*arguments)


def _loop() -> asyncio.AbstractEventLoop:
    """One loop per pool thread, kept, so that a handler's clients can keep their connections."""
    loop: asyncio.AbstractEventLoop | None = getattr(_thread, "loop", None)
    if loop is None:
        loop = _thread.loop = asyncio.new_event_loop()
    return loop
