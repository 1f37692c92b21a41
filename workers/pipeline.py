"""What a worker does with messages, stage by stage; each stage takes a batch.

    decode ▸ validate ▸ claim ▸ handle ▸ remember ▸ settle

`open_works` decodes and validates, `Claims` claims, `invoke` handles, `Claims` remembers, and
`eventbus.workers.work.settlement_of` says how each delivery ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from eventbus.brokers.port import Delivery
from eventbus.context import Context, current_context
from eventbus.envelope import Envelope, load_data, read_envelope
from eventbus.errors import (
    EventBusError,
    IdempotencyStoreUnavailable,
    UndecodableMessage,
    ValidationError,
)
from eventbus.message import ATTEMPTS_HEADER, HANDLER_HEADER, NOT_BEFORE_HEADER
from eventbus.outcome import Ack, DeadLetter, RetryAfter
from eventbus.retry import describe
from eventbus.subscription import Handler, Subscription

from .crash_points import crash_point
from .event_loop import EventLoop
from .idempotency import make_inbox
from .idempotency.inbox import Inbox, InboxBusy, InboxMismatch
from .idempotency.port import Key
from .invocation import Invocation
from .work import Job, Work

if TYPE_CHECKING:
    from eventbus.bus import EventBus

    from .idempotency.django import DjangoInbox

log = logging.getLogger("eventbus.worker")

_NO_SCOPES = nullcontext()

#: How long a message waits whose event another worker is handling.
BUSY_DELAY = timedelta(seconds=1)

#: A retried message that comes this much too soon may run: levels are not exact.
EARLY_TOLERANCE_MS = 500


# -- decode and validate -------------------------------------------------------------------------


def open_works(
    deliveries: Sequence[Delivery], subscriptions: dict[str, Subscription], max_bytes: int
) -> list[Work]:
    """Decode each delivery and make its jobs; what cannot be read is parked, never dropped."""
    works = []
    for delivery in deliveries:
        work = Work(delivery)
        try:
            _open(work, subscriptions[delivery.queue], max_bytes)
        except UndecodableMessage as error:
            work.parked = str(error)
        except Exception as error:  # of whatever kind: it would end one worker after the other
            log.exception("a message of %s cannot be read", delivery.queue)
            work.parked = f"it cannot be read: {describe(error)}"
            work.jobs.clear()
        if work.parked is not None:
            log.warning("parked a message of %s: %s", delivery.queue, work.parked)
        works.append(work)
    return works


def _open(work: Work, subscription: Subscription, max_bytes: int) -> None:
    delivery = work.delivery
    message = delivery.message
    if delivery.undecodable is not None:
        raise UndecodableMessage(delivery.undecodable)
    retried = not delivery.from_exchange and HANDLER_HEADER in message.headers
    if retried:
        work.early_ms = _early_ms(message.headers.get(NOT_BEFORE_HEADER))
        if work.early_ms is not None:
            return
    envelope = read_envelope(message)
    if delivery.from_exchange and envelope.type != message.routing_key:
        raise UndecodableMessage(
            f"the event is of type {envelope.type[:100]!r}, but its routing key is "
            f"{message.routing_key[:100]!r}"
        )
    handlers = _handlers(subscription, envelope.type, message.headers if retried else None)
    data = load_data(message, max_bytes)
    key_id = f"{envelope.source} {envelope.id}"
    fingerprint = blake2b(message.body, digest_size=8).hexdigest()
    attempt = 1 + _attempts(message.headers.get(ATTEMPTS_HEADER)) if retried else 1
    for handler in handlers:
        work.jobs.append(
            _job(work, handler, envelope, data, Key(handler.name, key_id, fingerprint), attempt)
        )


def _handlers(
    subscription: Subscription, event_name: str, retried: dict[str, Any] | None
) -> list[Handler]:
    if retried is not None:
        wanted = retried[HANDLER_HEADER]
        chosen = [handler for handler in subscription.handlers if handler.name == wanted]
        if not chosen:
            raise UndecodableMessage(
                f"the handler {str(wanted)[:200]!r} that it was kept for is no longer declared"
            )
        return chosen
    handlers = [handler for handler in subscription.handlers if handler.accepts(event_name)]
    if not handlers:
        raise UndecodableMessage(
            f"no handler of queue {subscription.name!r} takes {event_name[:100]!r}; the binding "
            f"that brought it may be an old one"
        )
    return handlers


def _job(
    work: Work, handler: Handler, envelope: Envelope, data: Any, key: Key, attempt: int
) -> Job:
    """The job of one handler; its outcome is already known where the event does not fit it."""
    event_class = handler.event_class(envelope.type)
    job = Job(work, handler, None, envelope, key, attempt)
    if event_class is None:
        job.outcome = DeadLetter(
            f"no event class for {envelope.type[:100]!r} is declared for handler {handler.name!r}"
        )
        return job
    try:
        job.event = event_class.__read__(data)
    except ValidationError as error:
        job.outcome = DeadLetter(str(error))
    except Exception as error:  # a field or validator of the application's own may raise anything
        job.error = error
        job.outcome = DeadLetter(
            f"{event_class.__name__} cannot be read for handler {handler.name!r}: {describe(error)}"
        )
    return job


def _attempts(value: Any) -> int:
    """The attempts that a retried message says have failed; never a reason to skip one."""
    return value if type(value) is int and 0 <= value < 1_000_000 else 0


def _early_ms(not_before: Any) -> int | None:
    if type(not_before) is not int:
        return None
    remaining = not_before - time.time_ns() // 1_000_000
    # A clock that was set back must not keep a message for years.
    if EARLY_TOLERANCE_MS < remaining <= 90 * 86_400_000:
        return remaining
    return None


# -- handle ---------------------------------------------------------------------------------------


class Invoker:
    """Runs one job: the handler in its context, and in its transaction where it has one."""

    def __init__(self, bus: EventBus, invocation: Invocation | None = None) -> None:
        self._bus = bus
        self._invocation = invocation or Invocation(EventLoop())
        self._inbox: Inbox | DjangoInbox | None = None
        if any(handler.transactional for handler in bus.handlers.values()):
            self._inbox = make_inbox(bus)

    def run(self, job: Job) -> None:
        """Run the handler and set the job's outcome; raises nothing of the handler's.

        Whatever the handler raises is its failure and goes by its `Retry`, also the `SystemExit`
        of a ``sys.exit()`` and `asyncio.CancelledError`: they end the handler, never the worker.
        """
        started = time.perf_counter()
        try:
            with self._scopes():
                if job.handler.transactional:
                    self._run_transactional(job)
                else:
                    self._call(job, None)
        except BaseException as error:
            self._raised(job, error)
        else:
            job.outcome = Ack()
        job.seconds = time.perf_counter() - started
        crash_point("worker.handled")

    async def run_async(self, job: Job) -> None:
        """As `run`, for a coroutine handler, on the event loop's thread."""
        started = time.perf_counter()
        try:
            with self._scopes():
                await self._call_async(job)
        except BaseException as error:
            self._raised(job, error)
        else:
            job.outcome = Ack()
        job.seconds = time.perf_counter() - started
        crash_point("worker.handled")

    def _scopes(self) -> AbstractContextManager[Any]:
        if not self._bus.handler_scopes:
            return _NO_SCOPES
        # What is already entered is left again where a later scope cannot be entered.
        with ExitStack() as stack:
            for scope in self._bus.handler_scopes:
                stack.enter_context(scope())
            return stack.pop_all()

    def _run_transactional(self, job: Job) -> None:
        assert self._inbox is not None
        with self._inbox.transaction(job.key) as session:
            if session is not None:
                self._call(job, session)

    def _call(self, job: Job, session: Any) -> None:
        context = self._context(job, session)
        token = current_context.set(context)
        try:
            self._invocation.call(job.handler, job.event, context)
        finally:
            current_context.reset(token)

    async def _call_async(self, job: Job) -> None:
        context = self._context(job, None)
        # Nothing to reset: the task that runs this job has a copy of the variables of its own.
        current_context.set(context)
        await self._invocation.call_async(job.handler, job.event, context)

    def _context(self, job: Job, session: Any) -> Context:
        return Context(
            self._bus,
            job.envelope,
            job.handler.name,
            job.work.delivery.queue,
            job.attempt,
            job.work.delivery.message.headers,
            session,
        )

    def _raised(self, job: Job, error: BaseException) -> None:
        if isinstance(error, (InboxBusy, IdempotencyStoreUnavailable)):
            log.info("%s; it is tried again", error)
            job.outcome = RetryAfter(BUSY_DELAY, counted=False)
        elif isinstance(error, InboxMismatch):
            job.outcome = DeadLetter(str(error))
        else:
            self._failed(job, error)

    def _failed(self, job: Job, error: BaseException) -> None:
        job.error = error
        job.outcome = job.handler.retry.next(job.attempt, error)
        will = (
            f"retry in {job.outcome.delay.total_seconds():.1f} s"
            if isinstance(job.outcome, RetryAfter)
            else "parked"
        )
        log.warning(
            "handler %s failed on %s %s, attempt %d, %s: %s",
            job.handler.name,
            job.envelope.type,
            job.envelope.id,
            job.attempt,
            will,
            describe(error),
            exc_info=log.isEnabledFor(logging.DEBUG) and not isinstance(error, EventBusError),
        )
