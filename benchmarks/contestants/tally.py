"""Counts what a no-op handler gets, the same way for all contestants."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import expect

#: The share of the messages before the clock starts: connections, caches and batch sizes settle.
WARM_UP = 0.1


class Tally:
    """Call `take` with each event's number; `finished` is called once, with the last one."""

    def __init__(self, count: int, finished: Callable[[], None]) -> None:
        self.calls = 0
        self._count = count
        self._finished = finished
        self._warm = int(count * WARM_UP)
        self._numbers: set[int] = set()
        self._began = 0.0
        self._ended = 0.0

    def take(self, number: int) -> None:
        """Count one event."""
        self.calls += 1
        self._numbers.add(number)
        if self.calls == self._warm:
            self._began = time.perf_counter()
        elif self.calls == self._count:
            self._ended = time.perf_counter()
            self._finished()

    def rate(self) -> float:
        """Events a second after the warm-up; raises when one was lost or came twice."""
        expect("handler calls", self.calls, self._count)
        expect("different events", len(self._numbers), self._count)
        return (self._count - self._warm) / (self._ended - self._began)


def rate_of(stamps: list[tuple[int, int]], count: int) -> float:
    """The same from what the handlers of several processes wrote down, in order of time."""
    expect("handler calls", len(stamps), count)
    expect("different events", len({number for number, _at in stamps}), count)
    times = sorted(at for _number, at in stamps)
    warm = int(count * WARM_UP)
    return (count - warm) / ((times[-1] - times[warm - 1]) / 1e9)
