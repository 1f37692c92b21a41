"""When a worker stops to consume a queue because its handlers fail: the policy, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from eventbus.errors import DeclarationError

_LONGEST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Breaker:
    """The circuit breaker of one subscription.

    It opens when nearly all runs fail, as they do while something that a handler needs is down.
    Then the worker begins nothing of the queue, and no event loses its attempts for nothing. After
    a wait one event is tried; if that succeeds the queue is consumed again, else the wait doubles.

    Only failures that another attempt might mend are counted: what raises, or takes too long. Each
    worker process has a breaker of its own.

    Parameters
    ----------
    failure_ratio:
        The part of the runs, 0 to 1, that fail before it opens. It is reached by each handler of
        the queue that ran: one that works keeps the queue going.
    minimum:
        Runs within `window` before it judges. They must be of half as many different events: a few
        poisonous ones, tried again and again, open nothing.
    window:
        The time over which runs are counted.
    open_for:
        The first wait.
    longest:
        The longest wait.

    Raises
    ------
    DeclarationError
        A value cannot be used; the text names it and the range.

    Example::

        bus.queue("billing", breaker=Breaker(failure_ratio=0.5, open_for=timedelta(minutes=1)))
    """

    failure_ratio: float = 0.8
    minimum: int = 20
    window: timedelta = timedelta(seconds=30)
    open_for: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        ratio = self.failure_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio <= 1:
            raise DeclarationError(
                f"Breaker failure_ratio={ratio!r}: use more than 0, up to 1; 0.5 opens it when "
                f"half of the runs fail"
            )
        if type(self.minimum) is not int or not 1 <= self.minimum <= 1_000_000:
            raise DeclarationError(f"Breaker minimum={self.minimum!r}: use 1 to 1,000,000")
        for name in ("window", "open_for", "longest"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) or not timedelta(0) < value <= _LONGEST:
                raise DeclarationError(
                    f"Breaker {name}={value!r}: use a timedelta of more than zero, up to a day"
                )
        if self.longest < self.open_for:
            raise DeclarationError(
                f"Breaker longest={self.longest!r} must not be shorter than "
                f"open_for={self.open_for!r}"
            )


#: What a queue has that declares nothing else.
DEFAULT_BREAKER = Breaker()
