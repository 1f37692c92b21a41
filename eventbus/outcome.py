"""What becomes of one event at one handler, as a value: policy computes it, an adapter does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Ack:
    """The effect is remembered; the message is done. `skipped` says why there was no effect."""

    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Try this handler again after `delay`; `counted` says whether it costs an attempt."""

    delay: timedelta
    counted: bool = True


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Park the message where an operator sees it, with the `reason` in one sentence.

    Of an event that does not fit, `contract` and `path` say what it does not fit, and where.
    """

    reason: str
    contract: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Return:
    """Give the message back to its queue untouched, as at a shutdown; costs no attempt."""


Outcome = Ack | RetryAfter | DeadLetter | Return
