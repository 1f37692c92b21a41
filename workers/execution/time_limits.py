"""Time limits of handlers: how long each may run, and a clock that says when one is over.

The soft limit raises `SoftTimeLimitExceeded` inside the handler (`interruption`). The hard limit
ends it: a coroutine is cancelled, the process of a plain handler is replaced (`prefork`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from eventbus.subscription import Handler

if TYPE_CHECKING:
    from ..options import WorkerOptions


@dataclass(frozen=True)
class Limits:
    """How long one run of a handler may take; None for as long as it likes."""

    soft_seconds: float | None = None
    hard_seconds: float | None = None


class TimeLimits:
    """The limits of each handler: its own, else those of the worker."""

    def __init__(self, soft: timedelta | None = None, hard: timedelta | None = None) -> None:
        self._soft = soft
        self._hard = hard
        self._known: dict[Handler, Limits] = {}

    @classmethod
    def of_options(cls, options: WorkerOptions) -> TimeLimits:
        """Those that a worker is told."""
        return cls(options.soft_time_limit, options.time_limit)

    def of(self, handler: Handler) -> Limits:
        """The limits of `handler`."""
        found = self._known.get(handler)
        if found is None:
            soft = handler.soft_time_limit or self._soft
            hard = handler.time_limit or self._hard
            found = self._known[handler] = Limits(_seconds(soft), _seconds(hard))
        return found


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


class Alarm:
    """Something to call at a time, unless it is called off before.

    Whoever comes first, the clock or `call_off`, decides: what must not happen twice is safe.
    """

    __slots__ = ("_action", "_decided", "_lock", "at")

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self._action = action
        self._decided = False
        self._lock = threading.Lock()

    def call_off(self) -> bool:
        """Whether it was in time; if not, the action has run, or runs now."""
        return self._decide()

    def ring(self) -> None:
        """Call the action, unless it was called off."""
        if self._decide():
            self._action()

    def _decide(self) -> bool:
        with self._lock:
            first, self._decided = not self._decided, True
            return first


class Clock:
    """Rings alarms on one thread, which starts with the first."""

    def __init__(self) -> None:
        self._alarms: set[Alarm] = set()
        self._changed = threading.Condition()
        self._wakes_at = float("inf")
        self._thread: threading.Thread | None = None

    def set(self, seconds: float, action: Callable[[], None]) -> Alarm:
        """Call `action` in so many seconds, on the clock's thread; it must not raise."""
        alarm = Alarm(time.monotonic() + seconds, action)
        with self._changed:
            self._alarms.add(alarm)
            if self._thread is None:
                self._thread = self._started()
            elif alarm.at < self._wakes_at:
                self._changed.notify()
        return alarm

    def call_off(self, alarm: Alarm) -> bool:
        """See `Alarm.call_off`."""
        # The thread may wake for it all the same: cheaper than waking it for each handler's end.
        with self._changed:
            self._alarms.discard(alarm)
        return alarm.call_off()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="eventbus-clock", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while True:
            for alarm in self._due():
                alarm.ring()

    def _due(self) -> list[Alarm]:
        """The alarms whose time has come; waits for the next."""
        with self._changed:
            now = time.monotonic()
            due = [alarm for alarm in self._alarms if alarm.at <= now]
            self._alarms.difference_update(due)
            if due:
                return due
            self._wakes_at = min((alarm.at for alarm in self._alarms), default=float("inf"))
            self._changed.wait(min(self._wakes_at - now, threading.TIMEOUT_MAX))
            return []
