"""What a handler raises to say itself what becomes of its event.

    raise RetryLater(timedelta(hours=1), "the bank is closed")
    raise Reject("there is no such account")
    raise Skip("a newer price is known")

`eventbus.retry.Retry` turns them into outcomes. A middleware may raise them as well.
"""

from __future__ import annotations

from datetime import timedelta

from eventbus.errors import DeclarationError, EventBusError

#: Also keeps the sum of delays inside a timedelta.
LONGEST_DELAY = timedelta(days=30)


class Directive(EventBusError):
    """One of `RetryLater`, `Reject` and `Skip`."""

    def __init__(self, reason: object) -> None:
        self.reason = None if reason is None else str(reason)
        super().__init__(self.reason or "")


class RetryLater(Directive):
    """Run this handler again for this event after `delay`, whatever its `Retry` plans.

    The broker holds the message meanwhile, so the delay outlives every worker.

    Parameters
    ----------
    delay:
        Up to 30 days. The broker holds a second at the least, and may be late by up to a tenth.
    reason:
        For the log, and for the dead letters if it was the last attempt.
    counted:
        It costs one of the `max_attempts`; the event is parked when they are used up. With False
        it may wait for ever: for what is no failure, such as a shop that is closed.

    Raises
    ------
    DeclarationError
        The delay cannot be kept. In a handler this is a failure as any other.
    """

    def __init__(
        self, delay: timedelta, reason: str | None = None, *, counted: bool = True
    ) -> None:
        if not isinstance(delay, timedelta) or not timedelta(0) <= delay <= LONGEST_DELAY:
            raise DeclarationError(
                f"RetryLater delay={delay!r}: use a timedelta of zero up to 30 days"
            )
        super().__init__(reason)
        self.delay = delay
        self.counted = counted


class Reject(Directive):
    """Park the event in the dead-letter queue at once, with `reason`; no attempt would help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class Skip(Directive):
    """There is nothing to do for this event: it is remembered as handled, counted as skipped.

    What a transactional handler has written so far is rolled back, as with any exception; to keep
    it, return instead.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
