"""The application of the pool tests: handlers that sleep, crash, leak and hold the interpreter.

Each writes lines to the file named by ``POOL_NOTES``: what happened, the item, its process. A
line is written at once and whole, so that what a killed process did is there.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from eventbus import Context, Event, EventBus, Retry, SoftTimeLimitExceeded

bus = EventBus("pools", retry=Retry(max_attempts=2, delay=timedelta(seconds=1), backoff="fixed"))

leaked: list[bytes] = []


class Done(Event, name="pool.done"):
    """Handled at once."""

    item: int


class Slow(Event, name="pool.slow"):
    """Its handler sleeps for so many seconds."""

    item: int
    seconds: int


class Gated(Event, name="pool.gated"):
    """Its handler runs until the file named by ``POOL_GO`` exists."""

    item: int


class Busy(Event, name="pool.busy"):
    """Its handler computes for so many seconds."""

    item: int
    seconds: int


class Stuck(Event, name="pool.stuck"):
    """Its handler sleeps in C and keeps the interpreter's lock."""

    item: int
    seconds: int


class Crash(Event, name="pool.crash"):
    """Its handler ends the process by a segmentation fault."""

    item: int


class Leak(Event, name="pool.leak"):
    """Its handler keeps so many bytes."""

    item: int
    size: int


class Awaited(Event, name="pool.awaited"):
    """Its handler is a coroutine that sleeps for so many seconds."""

    item: int
    seconds: int


def note(what: str, item: int) -> None:
    """Write a line."""
    fd = os.open(os.environ["POOL_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{what} {item} {os.getpid()}\n".encode())
    os.close(fd)


@bus.handler(Done, queue="done")
def done(event: Done) -> None:
    note("done", event.item)


@bus.handler(Slow, queue="slow")
def slow(event: Slow) -> None:
    note("begun", event.item)
    try:
        time.sleep(event.seconds)
    except SoftTimeLimitExceeded:
        note("interrupted", event.item)
        raise
    note("slept", event.item)


@bus.handler(Gated, queue="gated")
def gated(event: Gated) -> None:
    note("begun", event.item)
    while not Path(os.environ["POOL_GO"]).exists():
        time.sleep(0.02)
    note("gated", event.item)


@bus.handler(Busy, queue="busy")
def busy(event: Busy) -> None:
    note("begun", event.item)
    end = time.monotonic() + event.seconds
    try:
        while time.monotonic() < end:
            pass
    except SoftTimeLimitExceeded:
        note("interrupted", event.item)
        raise
    note("busy", event.item)


@bus.handler(Stuck, queue="stuck")
def stuck(event: Stuck) -> None:
    note("begun", event.item)
    ctypes.PyDLL(None).sleep(event.seconds)
    note("stuck", event.item)


@bus.handler(Crash, queue="crash")
def crash(event: Crash) -> None:
    note("crash", event.item)
    ctypes.string_at(0)


@bus.handler(Leak, queue="leak")
def leak(event: Leak) -> None:
    leaked.append(b"x" * event.size)
    note("leak", event.item)


@bus.handler(Awaited, queue="awaited")
async def awaited(event: Awaited, context: Context) -> None:
    note("begun", event.item)
    try:
        await asyncio.sleep(event.seconds)
    except SoftTimeLimitExceeded:
        note("interrupted", event.item)
        raise
    except asyncio.CancelledError:
        note("cancelled", event.item)
        raise
    note("awaited", event.item)


if os.environ.get("POOL_DIES") and "prefork" not in sys.argv:
    # Not the parent, which imports this too.
    os.kill(os.getpid(), signal.SIGKILL)
