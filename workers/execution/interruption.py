"""Raises `SoftTimeLimitExceeded` inside a handler that has run too long.

On a thread it is raised between two steps of Python: a call that sleeps, waits for a server or
computes in C is not interrupted, the error comes when it returns. On the main thread, where the
children of ``prefork`` run their handlers, a signal interrupts what sleeps or waits too. A
coroutine is interrupted where it awaits.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import threading
from collections.abc import Coroutine, Generator
from types import FrameType, TracebackType
from typing import Any

from eventbus.errors import SoftTimeLimitExceeded, TimeLimitExceeded

from .time_limits import Clock, Limits

#: Sent from the clock's thread to the main thread, of the same process only.
SIGNAL = signal.SIGUSR2

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_NOTHING = ctypes.py_object()


class Interrupter:
    """Interrupts plain handlers; each runs in a `limit` of its own.

    Example::

        with interrupter.limit(5.0):
            function(event)
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def limit(self, seconds: float) -> SoftLimit:
        """A limit for what runs inside it on the calling thread."""
        # Without its handler the signal would end the process.
        if _MainThread.receives and threading.current_thread() is threading.main_thread():
            return SoftLimit(self._clock, seconds, _MainThread())
        return SoftLimit(self._clock, seconds, _Thread())


class SoftLimit:
    """While entered, raises after so many seconds on the thread that has entered it."""

    __slots__ = ("_alarm", "_clock", "_seconds", "_target")

    def __init__(self, clock: Clock, seconds: float, target: _MainThread | _Thread) -> None:
        self._clock = clock
        self._seconds = seconds
        self._target = target

    def __enter__(self) -> None:
        self._target.enter()
        self._alarm = self._clock.set(self._seconds, self._target.interrupt)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        in_time = self._clock.call_off(self._alarm)
        # The error itself may come as late as here; then the handler has failed all the same.
        self._target.leave(in_time)
        if isinstance(error, SoftTimeLimitExceeded):
            error.args = (f"it ran longer than its soft time limit of {self._seconds:g} s",)


class _Thread:
    """A thread that is not the main one."""

    __slots__ = ("_ident", "_lock", "_over")

    def enter(self) -> None:
        self._ident = threading.get_ident()
        self._lock = threading.Lock()
        self._over = False

    def interrupt(self) -> None:
        with self._lock:
            if not self._over:
                _set_async_exc(self._ident, SoftTimeLimitExceeded)

    def leave(self, in_time: bool) -> None:
        if in_time:
            return
        with self._lock:
            self._over = True
        # What is not raised yet would hit the next handler.
        _set_async_exc(self._ident, _NOTHING)


class _MainThread:
    """The main thread: the signal's handler raises, if this is still what runs there."""

    __slots__ = ("_due",)

    _current: _MainThread | None = None
    receives = False

    def enter(self) -> None:
        self._due = False
        _MainThread._current = self

    def interrupt(self) -> None:
        self._due = True
        signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)

    def leave(self, in_time: bool) -> None:
        _MainThread._current = None

    @classmethod
    def on_signal(cls, number: int, frame: FrameType | None) -> None:
        """Raise in the handler that is over its limit; any other such signal means nothing."""
        current = cls._current
        if current is not None and current._due:
            cls._current = None
            raise SoftTimeLimitExceeded


def receive_interruptions() -> None:
    """Let handlers on the main thread be interrupted; call it there."""
    signal.signal(SIGNAL, _MainThread.on_signal)
    _MainThread.receives = True


# -- coroutines ------------------------------------------------------------------------------------


async def run_limited(coroutine: Coroutine[Any, Any, Any], limits: Limits) -> None:
    """Await `coroutine` within `limits`, on the event loop.

    Raises
    ------
    TimeLimitExceeded
        It was cancelled by its hard limit.
    """
    await _Limited(coroutine, limits)


class _Limited:
    """Drives a coroutine; turns the cancellation that a limit asked for into the limit's error.

    The task is cancelled, because only that wakes whatever the coroutine awaits; what is then
    thrown into the coroutine is ours to choose.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], limits: Limits) -> None:
        self._coroutine = coroutine
        self._limits = limits
        self._soft = self._hard = False

    def __await__(self) -> Generator[Any, Any, None]:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        timers = [
            loop.call_later(seconds, self._interrupt, task, name)
            for seconds, name in (
                (self._limits.soft_seconds, "_soft"),
                (self._limits.hard_seconds, "_hard"),
            )
            if seconds is not None
        ]
        try:
            yield from self._drive(task)
        finally:
            for timer in timers:
                timer.cancel()

    def _interrupt(self, task: asyncio.Task[Any], name: str) -> None:
        setattr(self, name, True)
        task.cancel()

    def _drive(self, task: asyncio.Task[Any]) -> Generator[Any, Any, None]:
        error: BaseException | None = None
        while True:
            awaited = self._step(error)
            if awaited is None:
                return
            error = None
            try:
                yield awaited[0]
            except asyncio.CancelledError as cancelled:
                error = self._reason(task, cancelled)
            except BaseException as raised:
                error = raised

    def _step(self, error: BaseException | None) -> tuple[Any] | None:
        """Let the coroutine go on; what it awaits next, None when it has ended."""
        coroutine = self._coroutine
        ending = self._hard
        try:
            awaited = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration:
            if ending:
                raise self._exceeded() from None
            return None
        except asyncio.CancelledError:
            if ending:
                raise self._exceeded() from None
            raise
        if ending:
            # It does not let itself be cancelled.
            with contextlib.suppress(RuntimeError):
                coroutine.close()
            raise self._exceeded()
        return (awaited,)

    def _reason(self, task: asyncio.Task[Any], cancelled: asyncio.CancelledError) -> BaseException:
        """What to throw into the coroutine where its task was cancelled."""
        if self._hard or not self._soft:
            return cancelled
        self._soft = False
        if hasattr(task, "uncancel"):  # since Python 3.11
            task.uncancel()
        seconds = self._limits.soft_seconds
        return SoftTimeLimitExceeded(f"it ran longer than its soft time limit of {seconds:g} s")

    def _exceeded(self) -> TimeLimitExceeded:
        return TimeLimitExceeded(
            f"it ran longer than its time limit of {self._limits.hard_seconds:g} s and was "
            f"cancelled"
        )
