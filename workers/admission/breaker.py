"""The state machine of one circuit breaker: closed, open, half-open. It reads no clock.

    closed ──too many failures──▶ open ──the wait is over──▶ half-open ──success──▶ closed
                                    ▲───────failure, a longer wait───────┘

A `Circuit` is told what became of runs and what time it is, in seconds of any clock that only
grows. What an open circuit means for the queue is `eventbus.workers.admission.valve`'s business.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from eventbus.breaker import Breaker

CLOSED = "closed"
OPEN = "open"
HALF_OPEN = "half-open"

#: The window moves on by this part of itself.
_SLICES = 10


@dataclass(slots=True)
class _Slice:
    """Counts of one tenth of the window: handler to runs, and to those of them that failed."""

    ends_at: float
    runs: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


class Circuit:
    """The breaker of one queue in one process."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._window_seconds = breaker.window.total_seconds()
        self._first_wait_seconds = breaker.open_for.total_seconds()
        self._longest_wait_seconds = breaker.longest.total_seconds()
        self._clear()
        self.state = CLOSED
        #: When an open one becomes half-open.
        self.probe_at = 0.0
        #: Why it opened, in words for an operator.
        self.reason = ""

    def succeeded(self, handler: str, now: float) -> None:
        """Count a run, while closed."""
        if self.state is CLOSED:
            runs = self._slice(now).runs
            runs[handler] = runs.get(handler, 0) + 1

    def failed(self, handler: str, event_id: str, now: float) -> bool:
        """Count a run that failed, while closed; whether that has opened it."""
        if self.state is not CLOSED:
            return False
        counts = self._slice(now)
        counts.runs[handler] = counts.runs.get(handler, 0) + 1
        counts.failures[handler] = counts.failures.get(handler, 0) + 1
        self._note_event(event_id, now)
        if not self._has_reached_its_limit():
            return False
        self._open(self._first_wait_seconds, now)
        return True

    def tick(self, now: float) -> None:
        """Note how late it is: once the wait is over, an event is to be tried."""
        if self.state is OPEN and now >= self.probe_at:
            self.state = HALF_OPEN

    def probed(self, succeeded: bool, now: float) -> None:
        """Close it, or open it again for a longer wait, after a probe."""
        if self.state is not HALF_OPEN:
            return
        if succeeded:
            self.state = CLOSED
        else:
            self._open(min(self._wait_seconds * 2, self._longest_wait_seconds), now)

    def _open(self, wait_seconds: float, now: float) -> None:
        if self.state is CLOSED:
            runs, failures = self._totals()
            self.reason = (
                f"{sum(failures.values())} of {sum(runs.values())} runs failed within "
                f"{self._window_seconds:g} s"
            )
        self.state = OPEN
        self._wait_seconds = wait_seconds
        self.probe_at = now + wait_seconds
        self._clear()

    # -- the window ---------------------------------------------------------------------------

    def _clear(self) -> None:
        self._slices: deque[_Slice] = deque()
        #: Events that failed, each with when it did last; the latest are last.
        self._events: dict[str, float] = {}

    def _slice(self, now: float) -> _Slice:
        """The counts of now; what is older than the window is dropped."""
        slices = self._slices
        if not slices or now >= slices[-1].ends_at:
            while slices and slices[0].ends_at <= now - self._window_seconds:
                slices.popleft()
            slices.append(_Slice(now + self._window_seconds / _SLICES))
        return slices[-1]

    def _note_event(self, event_id: str, now: float) -> None:
        events = self._events
        events.pop(event_id, None)
        events[event_id] = now
        oldest = next(iter(events))
        # More than are asked for need not be known.
        while len(events) > self._breaker.minimum or events[oldest] <= now - self._window_seconds:
            del events[oldest]
            oldest = next(iter(events))

    def _has_reached_its_limit(self) -> bool:
        runs, failures = self._totals()
        return (
            sum(runs.values()) >= self._breaker.minimum
            and len(self._events) >= (self._breaker.minimum + 1) // 2
            and all(
                failures.get(handler, 0) >= count * self._breaker.failure_ratio
                for handler, count in runs.items()
            )
        )

    def _totals(self) -> tuple[dict[str, int], dict[str, int]]:
        runs: dict[str, int] = {}
        failures: dict[str, int] = {}
        for counts in self._slices:
            for handler, count in counts.runs.items():
                runs[handler] = runs.get(handler, 0) + count
            for handler, count in counts.failures.items():
                failures[handler] = failures.get(handler, 0) + count
        return runs, failures
