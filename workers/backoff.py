"""How long to wait before the next try at something that is away."""

from __future__ import annotations

import random


class Backoff:
    """Exponential delays with full jitter, so that what failed together does not retry together.

    Parameters
    ----------
    first_seconds, longest_seconds:
        Upper bounds of the first and of the longest delay.
    """

    def __init__(self, first_seconds: float = 0.1, longest_seconds: float = 10.0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._failures = 0

    def next_seconds(self) -> float:
        """The delay after one more failure."""
        ceiling = min(self._first * 2 ** min(self._failures, 30), self._longest)
        self._failures += 1
        # Never zero: a loop that fails at once must not spin.
        return ceiling * (0.5 + 0.5 * random.random())

    def reset(self) -> None:
        """Forget the failures, after a success."""
        self._failures = 0
