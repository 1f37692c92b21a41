"""Retry: when a failed handler runs again, and when it is given up."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from eventbus.errors import DeclarationError
from eventbus.outcome import DeadLetter, Outcome, RetryAfter

BACKOFFS = ("exponential", "fixed")

#: Beyond it a retry is a schedule, not a retry; also keeps the sum of delays inside a timedelta.
_LONGEST = timedelta(days=30)


@dataclass(frozen=True)
class Retry:
    """How often and when a failing handler is tried again.

    Parameters
    ----------
    max_attempts:
        Runs in all, the first included; 1 never retries.
    delay:
        Before the second attempt. The broker holds delays of one second and more; a shorter one
        waits about a second.
    backoff:
        ``exponential``: each delay is `factor` times the one before; ``fixed``: all are `delay`.
    factor:
        Of the exponential backoff.
    max_delay:
        The longest delay.
    jitter:
        Part of the delay that is random, 0 to 1, so that what failed together does not come back
        together.
    retry_on, give_up_on:
        Error classes; one in `give_up_on`, or not in `retry_on`, goes to the dead letters at once.
        By default everything that a handler raises is tried again, also what is no `Exception`,
        such as the `SystemExit` of ``sys.exit()``.

    Example::

        Retry(max_attempts=5, delay=timedelta(seconds=2), give_up_on=(CardRefused,))
    """

    max_attempts: int = 5
    delay: timedelta = timedelta(seconds=1)
    backoff: str = "exponential"
    factor: float = 5.0
    max_delay: timedelta = timedelta(minutes=10)
    jitter: float = 0.1
    retry_on: Sequence[type[BaseException]] = (BaseException,)
    give_up_on: Sequence[type[BaseException]] = ()
    _random: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or not 1 <= self.max_attempts <= 1000:
            raise DeclarationError(f"Retry max_attempts={self.max_attempts!r}: use 1 to 1000")
        if self.backoff not in BACKOFFS:
            raise DeclarationError(
                f"Retry backoff={self.backoff!r}: use one of {', '.join(BACKOFFS)}"
            )
        for name in ("delay", "max_delay"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) or not timedelta(0) <= value <= _LONGEST:
                raise DeclarationError(f"Retry {name}={value!r}: use a timedelta of up to 30 days")
        self._check_number("jitter", 0, 1)
        self._check_number("factor", 1, 100)
        self._check_errors("retry_on")
        self._check_errors("give_up_on")

    def _check_number(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, (int, float)) or not least <= value <= most:
            raise DeclarationError(f"Retry {name}={value!r}: use {least} to {most}")

    def _check_errors(self, name: str) -> None:
        # Found here and not by the first failure, in a worker.
        value = getattr(self, name)
        if not isinstance(value, Sequence) or not all(
            isinstance(item, type) and issubclass(item, BaseException) for item in value
        ):
            raise DeclarationError(f"Retry {name}={value!r}: use a tuple of exception classes")

    def next(self, attempt: int, error: BaseException) -> Outcome:
        """What happens after `attempt` (1 for the first) failed with `error`."""
        if isinstance(error, tuple(self.give_up_on)) or not isinstance(error, tuple(self.retry_on)):
            return DeadLetter(f"gave up at once on {describe(error)}")
        if attempt >= self.max_attempts:
            return DeadLetter(
                f"failed {attempt} of {self.max_attempts} attempts: {describe(error)}"
            )
        planned = self.planned_delay(attempt)
        return RetryAfter(planned * (1 - self.jitter * self._random()))

    def planned_delay(self, attempt: int) -> timedelta:
        """The delay after `attempt` failed, before jitter."""
        if self.backoff == "fixed" or not self.delay:
            return min(self.delay, self.max_delay)
        # Compare exponents, not results: a float overflows at attempt 443 with factor 5.
        delay = self.delay
        for _ in range(attempt - 1):
            if delay >= self.max_delay or self.factor == 1:
                break
            delay = min(delay * self.factor, self.max_delay)
        return min(delay, self.max_delay)

    @property
    def longest_delay(self) -> timedelta:
        """The longest delay that this policy asks for."""
        if self.max_attempts == 1:
            return timedelta(0)
        return self.planned_delay(self.max_attempts - 1)


def describe(error: BaseException) -> str:
    """Class and first line of an error, bounded."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # an error whose text cannot be made is an error all the same
        lines = []
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
