"""Wait for a condition with a deadline: the only way in which a test waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class WaitTimeout(AssertionError):
    """The condition did not come true in time."""


def wait_until(
    predicate: Callable[[], T],
    timeout: float = 10.0,
    what: str | Callable[[], str] = "",
    *,
    interval: float = 0.01,
    retry_on: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """Call `predicate` until it returns something true, and return that.

    `timeout` and `interval` are seconds; the interval grows to a tenth of a second. `what` says
    what was expected, as text or as a function that looks at the state once the deadline has
    passed. Exceptions of the types in `retry_on` count as "not yet"; others pass through.

        wait_until(lambda: queue_depth("shop.billing") == 0, 5, "shop.billing is empty")
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            last = predicate()
            if last:
                return last
        except retry_on as error:
            last = error
        if time.monotonic() >= deadline:
            expected = what() if callable(what) else what
            raise WaitTimeout(
                f"not within {timeout:g} s: {expected or 'the condition'} (last seen: {last!r})"
            )
        time.sleep(interval)
        interval = min(interval * 1.5, 0.1)
