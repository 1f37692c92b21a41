"""Retry: when a failed handler runs again, and when it is given up."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from eventbus.directives import LONGEST_DELAY, Reject, RetryLater, Skip
from eventbus.errors import DeclarationError
from eventbus.outcome import Ack, DeadLetter, Outcome, RetryAfter

BACKOFFS = ("exponential", "fixed", "sequence")

_FIRST_DELAY = timedelta(seconds=1)


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
        ``exponential``: each delay is `factor` times the one before; ``fixed``: all are `delay`;
        ``sequence``: they are `delays`.
    delays:
        Of the sequence, before the second attempt, the third, and so on. The last one repeats
        until `max_attempts` are used up.
    factor:
        Of the exponential backoff.
    max_delay:
        The longest delay of the exponential backoff.
    jitter:
        Part of the delay that is random, 0 to 1, so that what failed together does not come back
        together.
    retry_on, give_up_on:
        Error classes; one in `give_up_on`, or not in `retry_on`, goes to the dead letters at once.
        By default everything that a handler raises is tried again, also what is no `Exception`,
        such as the `SystemExit` of ``sys.exit()``.

    Example::

        Retry(max_attempts=5, delay=timedelta(seconds=2), give_up_on=(CardRefused,))
        Retry(backoff="sequence", delays=(timedelta(seconds=10), timedelta(hours=1)))
    """

    max_attempts: int = 5
    delay: timedelta = _FIRST_DELAY
    backoff: str = "exponential"
    delays: Sequence[timedelta] = ()
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
        self._check_delay("delay", self.delay)
        self._check_delay("max_delay", self.max_delay)
        if self.backoff == "sequence":
            self._check_sequence()
        elif self.delays:
            raise DeclarationError(
                f"Retry delays={self.delays!r} are of backoff='sequence', not of {self.backoff!r}"
            )
        elif self.delay > self.max_delay and self.backoff == "exponential":
            raise DeclarationError(
                f"Retry delay={self.delay!r} is longer than max_delay={self.max_delay!r}; give a "
                f"longer max_delay too"
            )
        self._check_number("jitter", 0, 1)
        self._check_number("factor", 1, 100)
        self._check_errors("retry_on")
        self._check_errors("give_up_on")

    def _check_delay(self, name: str, value: object) -> None:
        if not isinstance(value, timedelta) or not timedelta(0) <= value <= LONGEST_DELAY:
            raise DeclarationError(f"Retry {name}={value!r}: use a timedelta of up to 30 days")

    def _check_sequence(self) -> None:
        if not isinstance(self.delays, Sequence) or not self.delays:
            raise DeclarationError(
                f"Retry delays={self.delays!r}: backoff='sequence' needs a tuple of timedeltas"
            )
        for delay in self.delays:
            self._check_delay("delays", delay)
        if self.delay != _FIRST_DELAY:
            raise DeclarationError(
                f"Retry delay={self.delay!r} has no meaning with backoff='sequence'; the first of "
                f"delays is the first delay"
            )

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
        """What happens after `attempt` (1 for the first) ended with `error`.

        What the handler says itself with `Reject`, `Skip` or `RetryLater` comes before `retry_on`
        and `give_up_on`.
        """
        if isinstance(error, Reject):
            return DeadLetter(error.reason or "rejected")
        if isinstance(error, Skip):
            return Ack(skipped=error.reason or "")
        if isinstance(error, RetryLater):
            return self._later(attempt, error)
        if isinstance(error, tuple(self.give_up_on)) or not isinstance(error, tuple(self.retry_on)):
            return DeadLetter(f"gave up at once on {describe(error)}")
        if attempt >= self.max_attempts:
            return self._used_up(attempt, error)
        planned = self.planned_delay(attempt)
        return RetryAfter(planned * (1 - self.jitter * self._random()))

    def _later(self, attempt: int, wish: RetryLater) -> Outcome:
        if wish.counted and attempt >= self.max_attempts:
            return self._used_up(attempt, wish)
        return RetryAfter(wish.delay, counted=wish.counted)

    def _used_up(self, attempt: int, error: BaseException) -> DeadLetter:
        return DeadLetter(f"failed {attempt} of {self.max_attempts} attempts: {describe(error)}")

    def planned_delay(self, attempt: int) -> timedelta:
        """The delay after `attempt` failed, before jitter."""
        if self.backoff == "sequence":
            return self.delays[min(attempt, len(self.delays)) - 1]
        if self.backoff == "fixed" or not self.delay:
            return self.delay
        # Compare exponents, not results: a float overflows at attempt 443 with factor 5.
        delay = self.delay
        for _ in range(attempt - 1):
            if delay >= self.max_delay or self.factor == 1:
                break
            delay = min(delay * self.factor, self.max_delay)
        return delay

    @property
    def longest_delay(self) -> timedelta:
        """The longest delay that this policy asks for."""
        if self.max_attempts == 1:
            return timedelta(0)
        if self.backoff == "sequence":
            return max(self.delays[: self.max_attempts - 1])
        return self.planned_delay(self.max_attempts - 1)


def describe(error: BaseException) -> str:
    """Class and first line of an error, bounded."""
    line = first_line(error)
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def first_line(error: BaseException) -> str:
    """The first line of an error's text that is not empty; "" without one."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # an error whose text cannot be made is an error all the same
        return ""
    return lines[0] if lines else ""
