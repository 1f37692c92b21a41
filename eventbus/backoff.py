"""How long to wait before a connection is tried again."""

from __future__ import annotations

import random


class Backoff:
    """Delays in seconds that double up to a longest one, each with jitter.

    Jitter, because everything that lost the same server would come back in the same instant.

    >>> backoff = Backoff(first=0.1, longest=5.0)
    >>> backoff.next() <= 0.1
    True
    """

    def __init__(self, first: float = 0.05, longest: float = 5.0) -> None:
        self._first = first
        self._longest = longest
        self._delay = first

    def next(self) -> float:
        """The seconds to wait now: between half of the current delay and all of it."""
        delay = self._delay
        self._delay = min(delay * 2, self._longest)
        return delay * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It works again: the next trouble starts from the first delay."""
        self._delay = self._first
