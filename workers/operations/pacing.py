"""How fast an operation may go: a rate limit in messages per second."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A rate is kept in slices of this many seconds, so that 500 a second is not one burst of 500.
SLICE_SECONDS = 0.1
#: The longest sleep, so that Ctrl-C is heard.
LONGEST_SLEEP_SECONDS = 0.1


class Pacer:
    """Lets so many through each second, evenly; what was not used is not saved up.

    Parameters
    ----------
    rate:
        Messages per second, more than zero; None for no limit.
    """

    def __init__(
        self,
        rate: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()

    def take(self, most: int, check: Callable[[], None]) -> int:
        """Wait until one may go, and return how many may now, 1 to `most`.

        Parameters
        ----------
        check:
            Called at least every `LONGEST_SLEEP_SECONDS`; what it raises ends the wait.
        """
        check()
        if self._rate is None:
            return most
        while (left := self._next_at - self._clock()) > 0:
            self._sleep(min(left, LONGEST_SLEEP_SECONDS))
            check()
        count = max(1, min(most, int(self._rate * SLICE_SECONDS)))
        # A late slice begins now: to catch up would be a burst.
        self._next_at = max(self._next_at, self._clock() - SLICE_SECONDS) + count / self._rate
        return count
