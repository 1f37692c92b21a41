"""What a worker does with messages, stage by stage; each stage takes a batch.

    decode ▸ validate ▸ claim ▸ handle ▸ remember ▸ settle

`open_works` decodes and validates, `Claims` claims, `invoke` handles, `Claims` remembers, and
`eventbus.workers.work.settlement_of` says how each delivery ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from eventbus.brokers.port import Delivery
from eventbus.context import Context, current_context
from eventbus.contracts.receiving import DoesNotFit, Received, Receiving
from eventbus.directives import Directive
from eventbus.envelope import Envelope, read_envelope
from eventbus.errors import (
    EventBusError,
    IdempotencyStoreUnavailable,
    RegistryUnavailable,
    UndecodableMessage,
)
from eventbus.hooks import HandlerFailed, HandlerSkipped, HandlerSucceeded
from eventbus.message import ATTEMPTS_HEADER, HANDLER_HEADER, NOT_BEFORE_HEADER
from eventbus.middleware import (
    CONSUME,
    CONSUME_ASYNC,
    call_through,
    call_through_async,
    scopes,
)
from eventbus.outcome import Ack, DeadLetter, Outcome, RetryAfter
from eventbus.retry import describe
from eventbus.subscription import Handler, Subscription

from .crash_points import crash_point
from .execution.event_loop import EventLoop
from .execution.invocation import Invocation
from .idempotency import make_inbox
from .idempotency.inbox import Inbox, InboxBusy, InboxMismatch
from .idempotency.port import Key
from .work import Job, Work

if TYPE_CHECKING:
    from eventbus.bus import EventBus

    from .idempotency.django import DjangoInbox

log = logging.getLogger("eventbus.worker")

#: How long a message waits whose event another worker is handling.
BUSY_DELAY = timedelta(seconds=1)

#: How long a message waits whose schema only a registry knows that does not answer.
REGISTRY_DELAY_MS = 5_000

#: A retried message that comes this much too soon may run: levels are not exact.
EARLY_TOLERANCE_MS = 500


# -- decode and validate -------------------------------------------------------------------------


def open_works(
    deliveries: Sequence[Delivery], subscriptions: dict[str, Subscription], receiving: Receiving
) -> list[Work]:
    """Decode each delivery and make its jobs; what cannot be read is parked, never dropped."""
    works = []
    for delivery in deliveries:
        work = Work(delivery)
        try:
            _open(work, subscriptions[delivery.queue], receiving)
        except UndecodableMessage as error:
            work.parked = str(error)
        except RegistryUnavailable as error:
            # Nothing is wrong with the message. It waits beside the queue, so that the others go
            # on, and for as long as it takes.
            log.warning("a message of %s waits: %s", delivery.queue, error)
            work.wait_ms = REGISTRY_DELAY_MS
        except Exception as error:  # of whatever kind: it would end one worker after the other
            log.exception("a message of %s cannot be read", delivery.queue)
            work.parked = f"it cannot be read: {describe(error)}"
            work.jobs.clear()
        if work.parked is not None:
            log.warning("parked a message of %s: %s", delivery.queue, work.parked)
        works.append(work)
    return works


def _open(work: Work, subscription: Subscription, receiving: Receiving) -> None:
    delivery = work.delivery
    message = delivery.message
    if delivery.undecodable is not None:
        raise UndecodableMessage(delivery.undecodable)
    retried = not delivery.from_exchange and HANDLER_HEADER in message.headers
    if retried:
        work.wait_ms = _early_ms(message.headers.get(NOT_BEFORE_HEADER))
        if work.wait_ms is not None:
            return
    message = receiving.opened(message)
    work.headers = message.headers
    envelope = read_envelope(message)
    if delivery.from_exchange and envelope.type != message.routing_key:
        raise UndecodableMessage(
            f"the event is of type {envelope.type[:100]!r}, but its routing key is "
            f"{message.routing_key[:100]!r}"
        )
    handlers = _handlers(subscription, envelope.type, message.headers if retried else None)
    received = receiving.receive(message, envelope)
    key_id = f"{envelope.source} {envelope.id}"
    fingerprint = blake2b(message.body, digest_size=8).hexdigest()
    attempt = 1 + _attempts(message.headers.get(ATTEMPTS_HEADER)) if retried else 1
    for handler in handlers:
        work.jobs.append(
            _job(work, handler, envelope, received, Key(handler.name, key_id, fingerprint), attempt)
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
    work: Work, handler: Handler, envelope: Envelope, received: Received, key: Key, attempt: int
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
        job.event = received.read(event_class)
    except DoesNotFit as error:
        job.outcome = DeadLetter(str(error), error.contract, error.at)
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
    """Runs one job: the handler in its context, and in its transaction where it has one.

    Raises
    ------
    DeclarationError
        A handler cannot be run as it is declared.
    """

    def __init__(self, bus: EventBus, invocation: Invocation | None = None) -> None:
        bus.check_handlers()
        self._bus = bus
        self._hooks = bus.hooks
        self._scopes = scopes(bus.middlewares, CONSUME)
        self._async_scopes = scopes(bus.middlewares, CONSUME_ASYNC)
        self._invocation = invocation or Invocation(EventLoop())
        self._inbox: Inbox | DjangoInbox | None = None
        if any(handler.transactional for handler in bus.handlers.values()):
            self._inbox = make_inbox(bus)

    def run(self, job: Job) -> None:
        """Run the handler and set the job's outcome; raises nothing of the handler's.

        Whatever the handler raises is its failure and goes by its `Retry`, also the `SystemExit`
        of a ``sys.exit()`` and `asyncio.CancelledError`: they end the handler, never the worker.
        """
        context = self._context(job)
        token = current_context.set(context)
        started = time.perf_counter()
        try:
            if self._scopes:
                call_through(self._scopes, partial(self._handle, job), job.event, context)
            else:
                self._handle(job, job.event, context)
        except BaseException as error:
            self._raised(job, error)
        else:
            job.outcome = Ack()
        finally:
            current_context.reset(token)
        self._ended(job, context, started)

    async def run_async(self, job: Job) -> None:
        """As `run`, for a coroutine handler, on the event loop's thread."""
        context = self._context(job)
        # Nothing to reset: the task that runs this job has a copy of the variables of its own.
        current_context.set(context)
        started = time.perf_counter()
        handle = self._invocation.call_async
        try:
            if self._async_scopes:
                innermost = partial(handle, job.handler)
                await call_through_async(self._async_scopes, innermost, job.event, context)
            else:
                await handle(job.handler, job.event, context)
        except BaseException as error:
            self._raised(job, error)
        else:
            job.outcome = Ack()
        self._ended(job, context, started)

    def fail(self, job: Job, error: BaseException, after_seconds: float) -> None:
        """Let a job that still runs have failed with `error`: its process is to end."""
        self._raised(job, error)
        self._ended(job, self._context(job), time.perf_counter() - after_seconds)

    def _handle(self, job: Job, event: Any, context: Context) -> None:
        if not job.handler.transactional:
            self._invocation.call(job.handler, event, context)
            return
        assert self._inbox is not None
        with self._inbox.transaction(job.key) as session:
            if session is not None:
                self._invocation.call(job.handler, event, context.with_session(session))

    def _context(self, job: Job) -> Context:
        return Context(
            self._bus,
            job.envelope,
            job.handler.name,
            job.work.delivery.queue,
            job.attempt,
            job.work.headers,
            loop=self._invocation.loop,
        )

    def _raised(self, job: Job, error: BaseException) -> None:
        if isinstance(error, (InboxBusy, IdempotencyStoreUnavailable)):
            log.info("%s; it is tried again", error)
            job.busy = True
            job.outcome = RetryAfter(BUSY_DELAY, counted=False)
        elif isinstance(error, InboxMismatch):
            job.outcome = DeadLetter(str(error))
        else:
            job.outcome = job.handler.retry.next(job.attempt, error)
            if _is_failure(job.outcome):
                job.error = error
            _log(job, error)

    def _ended(self, job: Job, context: Context, started: float) -> None:
        job.seconds = time.perf_counter() - started
        if self._hooks:
            self._tell(job, context)
        crash_point("worker.handled")

    def _tell(self, job: Job, context: Context) -> None:
        assert job.event is not None
        if job.error is not None:
            self._hooks.fire(HandlerFailed(context, job.event, job.error, job.seconds))
        elif isinstance(job.outcome, Ack):
            skipped = job.outcome.skipped
            if skipped is None:
                self._hooks.fire(HandlerSucceeded(context, job.event, job.seconds))
            else:
                self._hooks.fire(HandlerSkipped(context, job.event, skipped))


def _is_failure(outcome: Outcome) -> bool:
    """Whether a run has failed, and was not ended by the handler for another reason."""
    waits = isinstance(outcome, RetryAfter) and not outcome.counted
    return not (waits or isinstance(outcome, Ack))


def _log(job: Job, error: BaseException) -> None:
    """Tell of a run that did not succeed, in one line."""
    outcome = job.outcome
    if isinstance(outcome, Ack):
        will, level = "skipped", logging.INFO
    elif isinstance(outcome, RetryAfter):
        will = f"retry in {outcome.delay.total_seconds():.1f} s"
        level = logging.WARNING if outcome.counted else logging.INFO
    else:
        will, level = "parked", logging.WARNING
    log.log(
        level,
        "handler %s %s %s %s, attempt %d, %s: %s",
        job.handler.name,
        "on" if isinstance(error, Directive) else "failed on",
        job.envelope.type,
        job.envelope.id,
        job.attempt,
        will,
        describe(error),
        exc_info=log.isEnabledFor(logging.DEBUG) and not isinstance(error, EventBusError),
    )
