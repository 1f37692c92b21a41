"""What every thread and every coroutine of this process does now, for an operator's USR1.

From Python itself, and not from a signal's handler: reading other threads' frames is safe only
while they stand still. A thread that keeps the interpreter's lock for ever hides everything;
``py-spy dump`` looks from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

log = logging.getLogger("eventbus.supervisor")

_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def watch_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Have the tasks of `loop` in the dumps of this process, for as long as it exists."""
    _loops.add(loop)


def dump() -> None:
    """Write the stacks to the log, whatever its level is."""
    record = log.makeRecord(
        log.name,
        logging.INFO,
        __file__,
        0,
        "stacks of all threads",
        (),
        None,
        sinfo=text(),
    )
    log.handle(record)


def text() -> str:
    """The stacks, the innermost call last; the values of variables are not in it."""
    return "\n".join([*_threads(), *_tasks()])


def _threads() -> Iterator[str]:
    frames = sys._current_frames()
    own = threading.get_ident()
    for thread in threading.enumerate():
        frame = frames.pop(thread.ident or 0, None)
        if frame is not None and thread.ident != own:
            yield f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}:"
            yield from _stack(frame)
    for ident, frame in frames.items():
        yield f"thread {ident}, not started by Python:"
        yield from _stack(frame)


def _stack(frame: FrameType) -> list[str]:
    calls = traceback.extract_stack(frame)
    # How `threading` begins says nothing.
    while len(calls) > 1 and calls[0].filename == threading.__file__:
        del calls[0]
    return "".join(calls.format()).rstrip().splitlines()


def _tasks() -> Iterator[str]:
    for loop in list(_loops):
        # Its own thread goes on meanwhile; a task that ends under our eyes is left out.
        with contextlib.suppress(RuntimeError):
            for task in asyncio.all_tasks(loop):
                yield f"task {task.get_name()!r}:"
                yield from _task_stack(task)


def _task_stack(task: asyncio.Task[Any]) -> Iterator[str]:
    """The calls that wait for one another; asyncio itself shows only the first of them."""
    waiting: Any = task.get_coro()
    while (frame := _attribute(waiting, "cr_frame", "ag_frame", "gi_frame")) is not None:
        yield from "".join(traceback.format_stack(frame, limit=1)).rstrip().splitlines()
        waiting = _attribute(waiting, "cr_await", "ag_await", "gi_yieldfrom")


def _attribute(value: Any, *names: str) -> Any:
    """Of a coroutine, an asynchronous generator or a generator."""
    return next((getattr(value, name) for name in names if hasattr(value, name)), None)
