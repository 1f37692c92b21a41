"""One delivered message on its way through the worker, and what its handlers make of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eventbus.brokers.port import Delivery, Forward, Settlement
from eventbus.envelope import Envelope
from eventbus.event import Event
from eventbus.message import (
    ATTEMPTS_HEADER,
    CONTRACT_HEADER,
    ERROR_AT_HEADER,
    ERROR_HEADER,
    ERROR_MESSAGE_HEADER,
    FIRST_ERROR_AT_HEADER,
    FIRST_ERROR_HEADER,
    FIRST_ERROR_MESSAGE_HEADER,
    HANDLER_HEADER,
    NOT_BEFORE_HEADER,
    PARKED_AT_HEADER,
    PATH_HEADER,
    REASON_HEADER,
    TRACEBACK_HEADER,
    WORKER_HEADERS,
    Message,
)
from eventbus.outcome import DeadLetter, Outcome, RetryAfter, Return
from eventbus.retry import first_line
from eventbus.subscription import Handler

from .idempotency.port import Key
from .tracebacks import formatted

#: A header must fit into one frame together with all others, or the broker closes the connection.
REASON_MAX_LENGTH = 1_000
ERROR_NAME_MAX_LENGTH = 100
PATH_MAX_LENGTH = 300
TRACEBACK_MAX_LENGTH = 4_000


@dataclass(slots=True, eq=False)
class Job:
    """One handler's share of a delivery.

    Parameters
    ----------
    event:
        None where it could not be read.
    attempt:
        The number of this run of the handler for this event, 1 for the first.
    outcome:
        None until it is known.
    claimed:
        A start of it is counted in the idempotency store.
    busy:
        It was not begun after all, because another worker has the event.
    lost_starts:
        Earlier starts that ended without an outcome, as far as they are known.
    doomed:
        It is parked without having been begun, because it kills its workers.
    probe:
        Its outcome decides whether the circuit breaker of its queue closes.
    concluded:
        The worker has remembered the outcome. Only then may the delivery be settled: the outcome
        itself is set on the thread of the handler, at any moment.
    """

    work: Work
    handler: Handler
    event: Event | None
    envelope: Envelope
    key: Key
    attempt: int
    outcome: Outcome | None = None
    error: BaseException | None = None
    claimed: bool = False
    busy: bool = False
    lost_starts: int = 0
    doomed: bool = False
    probe: bool = False
    concluded: bool = False
    seconds: float = 0.0

    @property
    def queue(self) -> str:
        """The full name of the queue it came from."""
        return self.work.delivery.queue

    @property
    def starts_are_counted(self) -> bool:
        """Whether it is claimed in the idempotency store before it runs.

        A transactional handler has the inbox against a second run. Only where an earlier start may
        have killed its worker, as the message was delivered before, its starts are counted too:
        the usual one does without the round trip.
        """
        delivery = self.work.delivery
        return not self.handler.transactional or delivery.redelivered or not delivery.from_exchange


@dataclass(slots=True, eq=False)
class Work:
    """A delivery and the jobs that it makes.

    Parameters
    ----------
    parked:
        Why the message as a whole cannot be handled; it then has no jobs.
    headers:
        Of the message in binary mode, whichever it came in: with the event's attributes.
    wait_ms:
        Milliseconds until it is looked at again: it came back too soon, or nobody can say yet what
        it was written with.
    """

    delivery: Delivery
    jobs: list[Job] = field(default_factory=list)
    parked: str | None = None
    wait_ms: int | None = None
    headers: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether every job is concluded."""
        return all(job.concluded for job in self.jobs)


def settlement_of(work: Work) -> Settlement:
    """How to end a finished delivery: what failed goes on as copies, then it is acknowledged.

    A delivery that is to be returned for one handler is returned whole; the others have remembered
    what they did and will not do it again.
    """
    delivery = work.delivery
    message = _as_produced(delivery)
    if work.wait_ms is not None:
        return Settlement(delivery, (Forward(message, work.wait_ms),))
    if work.parked is not None:
        return Settlement(delivery, (_parked(message, {}, work.parked),))
    if any(isinstance(job.outcome, Return) for job in work.jobs):
        return Settlement(delivery, requeue=True)
    return Settlement(delivery, tuple(_forwards(message, work.jobs)))


def _as_produced(delivery: Delivery) -> Message:
    """The message, without headers of ours that its producer has made up: a replay obeys them."""
    message = delivery.message
    if delivery.from_exchange and not WORKER_HEADERS.isdisjoint(message.headers):
        return message.without_worker_headers()
    return message


def _forwards(message: Message, jobs: Sequence[Job]) -> list[Forward]:
    forwards = []
    for job in jobs:
        outcome = job.outcome
        if isinstance(outcome, RetryAfter):
            forwards.append(_retried(message, job, outcome))
        elif isinstance(outcome, DeadLetter):
            headers = {HANDLER_HEADER: job.handler.name, ATTEMPTS_HEADER: job.attempt}
            headers |= _failure(message, job) | _misfit(outcome)
            forwards.append(_parked(message, headers, outcome.reason))
    return forwards


def _retried(message: Message, job: Job, outcome: RetryAfter) -> Forward:
    delay_ms = max(int(outcome.delay.total_seconds() * 1000), 0)
    failed = job.attempt if outcome.counted else job.attempt - 1
    headers: dict[str, Any] = {
        HANDLER_HEADER: job.handler.name,
        ATTEMPTS_HEADER: failed,
        NOT_BEFORE_HEADER: time.time_ns() // 1_000_000 + delay_ms,
    }
    if outcome.counted:
        headers |= _failure(message, job)
    return Forward(message.with_headers(headers), delay_ms)


def _parked(message: Message, headers: dict[str, Any], reason: str) -> Forward:
    headers = {
        **headers,
        REASON_HEADER: cut(reason, REASON_MAX_LENGTH),
        PARKED_AT_HEADER: time.time_ns() // 1_000_000,
    }
    return Forward(message.with_headers(headers), None)


def _misfit(outcome: DeadLetter) -> dict[str, Any]:
    """The headers that tell which contract a message does not fit, and where."""
    if outcome.contract is None:
        return {}
    return {
        CONTRACT_HEADER: cut(outcome.contract, PATH_MAX_LENGTH),
        PATH_HEADER: cut(outcome.path or "", PATH_MAX_LENGTH),
    }


def _failure(message: Message, job: Job) -> dict[str, Any]:
    """The headers that tell of the job's error, and of the first one of this handler."""
    error = job.error
    if error is None:
        return {}
    name, line = cut(type(error).__name__, ERROR_NAME_MAX_LENGTH), cut(first_line(error), 300)
    now_ms = time.time_ns() // 1_000_000
    headers = {
        ERROR_HEADER: name,
        ERROR_MESSAGE_HEADER: line,
        ERROR_AT_HEADER: now_ms,
        TRACEBACK_HEADER: cut(formatted(error), TRACEBACK_MAX_LENGTH, end=True),
    }
    if FIRST_ERROR_HEADER not in message.headers:
        headers |= {
            FIRST_ERROR_HEADER: name,
            FIRST_ERROR_MESSAGE_HEADER: line,
            FIRST_ERROR_AT_HEADER: now_ms,
        }
    return headers


def cut(text: str, limit: int, *, end: bool = False) -> str:
    """`text` in at most `limit` characters that UTF-8 can carry: its beginning, or its end."""
    # Twice: first so that not all of a huge text is escaped, then because escapes are longer.
    text = _cut(text, limit, end)
    return _cut(
        text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00"), limit, end
    )


def _cut(text: str, limit: int, end: bool) -> str:
    if len(text) <= limit:
        return text
    return "..." + text[-(limit - 3) :] if end else text[: limit - 3] + "..."
