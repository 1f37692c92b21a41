"""The worker: consumes subscriptions and runs their handlers.

One thread of the broker adapter brings deliveries, the worker's own thread takes them through the
pipeline in batches, and the pool runs the handlers. A message is acknowledged only after its
effect is remembered, or after the copy that is retried or parked is confirmed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from eventbus import database
from eventbus.brokers.port import Consumer, Delivery, Settlement
from eventbus.outcome import Ack, DeadLetter, RetryAfter, Return
from eventbus.subscription import Handler, Subscription

from .claims import Claims
from .crash_points import crash_point
from .event_loop import EventLoop
from .idempotency import make_store
from .invocation import Invocation
from .options import WorkerOptions
from .pipeline import Invoker, open_works
from .pools import make_pools
from .report import WORKER, HandlerCounts, QueueReport, Report
from .work import Job, Work, settlement_of

if TYPE_CHECKING:
    from eventbus.bus import EventBus

    from .idempotency.port import IdempotencyStore

log = logging.getLogger("eventbus.worker")

#: Messages that are decoded, claimed and settled together at the most.
BATCH_LIMIT = 256

#: Claims are taken for about this much work ahead: what is claimed and not begun when a worker
#: dies waits for the lease to run out.
CLAIM_AHEAD_SECONDS = 0.02

#: The loop looks up this often although nothing happens.
TICK_SECONDS = 1.0

#: How long closing waits for the broker to take the last settlements.
FLUSH_SECONDS = 5.0


class Worker:
    """Runs the handlers of some subscriptions of a bus until it is stopped.

    Raises
    ------
    UnknownName
        No subscription has one of the queues; the text lists those that are declared.

    Example::

        Worker(bus, WorkerOptions(queues=("billing",), concurrency=4)).run()
    """

    def __init__(self, bus: EventBus, options: WorkerOptions | None = None) -> None:
        options = options or WorkerOptions()
        chosen = bus.subscriptions if options.queues is None else options.queues
        found = [bus.subscription(queue) for queue in chosen]
        self.subscriptions: dict[str, Subscription] = {s.queue: s for s in found}
        self._bus = bus
        self._options = options
        self._concurrency = options.handlers_at_once
        with_coroutines = any(handler.is_coroutine for handler in self._handlers())
        self._coroutines = options.coroutines if with_coroutines else 0
        self._name = options.name or f"{bus.service}.worker"
        self._shutdown_seconds = options.shutdown_timeout.total_seconds()
        self._report = Report(
            WORKER, bus.service, self._name, pool=options.pool, concurrency=self._concurrency
        )
        for subscription in found:
            handlers = {handler.name: HandlerCounts() for handler in subscription.handlers}
            self._report.queues[subscription.queue] = QueueReport(handlers=handlers)
        self._consumer: Consumer | None = None
        self._inbox: SimpleQueue[list[Delivery] | Job | None] = SimpleQueue()
        self._waiting: deque[Delivery] = deque()
        self._finished: list[Job] = []
        self._running: set[Job] = set()
        #: Whether every handler had ended when `run` returned.
        self.drained = True
        self._stop = threading.Event()
        self._stop_now = threading.Event()
        self._mean_seconds = CLAIM_AHEAD_SECONDS

    # -- control ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Take nothing new, finish the running handlers, return from `run`; from any thread."""
        self._stop.set()
        self._inbox.put(None)

    def stop_now(self) -> None:
        """Give unfinished messages back and return from `run` at once; from any thread."""
        self._stop_now.set()
        self.stop()

    def report(self) -> Report:
        """What this worker does now; from any thread. The counts in it go on growing."""
        report = self._report
        report.running = len(self._running)
        report.waiting = len(self._waiting)
        if self._stop.is_set():
            report.state = "draining"
        consumer = self._consumer
        if consumer is not None:
            report.trouble = self._claims.trouble or consumer.trouble
            consuming = not self._stop.is_set() and consumer.wait_consuming(0)
            for queue in report.queues.values():
                queue.consuming = consuming
            report.ready = consuming and report.trouble is None
        return report

    def run(self) -> None:
        """Handle messages until `stop`; a server that goes away is waited for.

        Raises
        ------
        BrokerUnavailable, DatabaseUnavailable, IdempotencyStoreUnavailable
            It is away at the start.
        DatabaseNotMigrated, TopologyMismatch
            What is there is not what this application declares.
        """
        store = make_store(self._bus)
        try:
            self._check(store)
            self._declare()
            self._consume(store)
        finally:
            store.close()

    def _check(self, store: IdempotencyStore) -> None:
        in_database = self._bus.settings.redis_url is None
        if in_database or any(handler.transactional for handler in self._handlers()):
            database.check(self._bus.engine)
        store.ping()

    def _consume(self, store: IdempotencyStore) -> None:
        loop = EventLoop()
        invoker = Invoker(self._bus, Invocation(loop))
        self._claims = Claims(self._bus, store, self._abandon_waiting)
        self._pools = make_pools(self._options, invoker, self._inbox.put, loop)
        consumer = self._bus.broker.consumer(self._name)
        self._consumer = consumer
        self._claims.start()
        consumer.start(
            dict.fromkeys(self.subscriptions, self._options.prefetch_count), self._inbox.put
        )
        self._report.state = "running"
        try:
            while not self._stop.is_set():
                self._cycle()
                self._report.beat = time.time()
            self._drain(consumer)
        finally:
            consumer.close(FLUSH_SECONDS)
            self._claims.close()
            self._pools.close(0)

    def _handlers(self) -> Iterable[Handler]:
        return [h for s in self.subscriptions.values() for h in s.handlers]

    def _declare(self) -> None:
        admin = self._bus.broker.admin()
        try:
            admin.declare(self._bus.topology(self.subscriptions))
        finally:
            admin.close()

    def _abandon_waiting(self, seconds: float) -> bool:
        """Wait for the idempotency store; True when there is no more time to."""
        return self._stop.wait(seconds)

    # -- the loop -----------------------------------------------------------------------------

    def _cycle(self) -> None:
        self._receive()
        self._conclude()
        limit = self._claim_limit() - len(self._running)
        if limit > 0 and self._waiting:
            self._begin([self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))])

    def _receive(self) -> None:
        """Take in what has come; waits only with nothing to do."""
        idle = not self._finished and (
            not self._waiting or len(self._running) >= self._claim_limit()
        )
        self._take_in(TICK_SECONDS if idle else 0.0)

    def _take_in(self, timeout: float) -> None:
        """Take in all that has come, deliveries and finished jobs; `timeout` is for the first."""
        try:
            item = self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()
            while True:
                if isinstance(item, Job):
                    self._done(item)
                elif item is not None:
                    self._waiting.extend(item)
                item = self._inbox.get_nowait()
        except Empty:
            return

    def _claim_limit(self) -> int:
        """Jobs to have claimed at a time: as many as run, and a little ahead of them."""
        ahead = int(CLAIM_AHEAD_SECONDS / max(self._mean_seconds, 1e-6))
        return self._concurrency * max(1, min(BATCH_LIMIT, ahead)) + self._coroutines

    def _begin(self, deliveries: Sequence[Delivery]) -> None:
        """Decode, validate and claim a batch, and hand its jobs to the pool."""
        works = open_works(deliveries, self.subscriptions, self._bus.settings.max_message_bytes)
        jobs = [job for work in works for job in work.jobs if job.outcome is None]
        claimable = [job for job in jobs if not job.handler.transactional]
        runnable = set(self._claims.claim(claimable))
        crash_point("worker.claimed")
        runnable.update(job for job in jobs if job.handler.transactional)
        self._claims.conclude([job for job in claimable if job not in runnable])
        for work in works:
            for job in work.jobs:
                job.concluded = job not in runnable
                if job.concluded:
                    self._count(job)
            if work.parked is not None:
                self._report.queues[work.delivery.queue].parked += 1
        self._settle([work for work in works if work.finished])
        self._running.update(runnable)
        for job in jobs:
            if job in runnable:
                self._pools.submit(job)

    def _done(self, job: Job) -> None:
        """Note a job that has ended; one that was not begun is returned."""
        if job.outcome is None:
            job.outcome = Return()
        else:
            self._mean_seconds += (job.seconds - self._mean_seconds) * 0.1
        self._finished.append(job)

    def _conclude(self) -> None:
        """Remember what was done and settle the deliveries that are finished with it."""
        if not self._finished:
            return
        jobs, self._finished = self._finished, []
        self._running.difference_update(jobs)
        self._claims.conclude(jobs)
        crash_point("worker.remembered")
        for job in jobs:
            job.concluded = True
            self._count(job)
        works = dict.fromkeys(job.work for job in jobs)
        self._settle([work for work in works if work.finished])

    def _count(self, job: Job) -> None:
        """Note a concluded job in the report."""
        counts = self._report.queues[job.work.delivery.queue].handlers[job.handler.name]
        outcome = job.outcome
        if job.seconds:
            counts.add_duration(job.seconds)
        if isinstance(outcome, Ack):
            if job.seconds:
                counts.succeeded += 1
            else:
                counts.duplicates += 1
        elif isinstance(outcome, RetryAfter):
            counts.retried += outcome.counted
        elif isinstance(outcome, DeadLetter):
            counts.dead_lettered += 1
        else:
            counts.returned += 1

    def _settle(self, works: Sequence[Work]) -> None:
        if works:
            assert self._consumer is not None
            self._consumer.settle([settlement_of(work) for work in works])
            crash_point("worker.settled")

    # -- stopping -----------------------------------------------------------------------------

    def _drain(self, consumer: Consumer) -> None:
        """Give back what was not begun, wait for what runs, settle it."""
        for job in self._pools.withdraw():
            self._done(job)
        consumer.cancel()
        self._take_in(0)
        self._give_back_waiting(consumer)
        deadline = time.monotonic() + self._shutdown_seconds
        while self._running and not self._stop_now.is_set():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            self._take_in(min(remaining, TICK_SECONDS))
            self._conclude()
        self._take_in(0)
        self._conclude()
        self._give_back_waiting(consumer)
        self._give_back_running(consumer)

    def _give_back_waiting(self, consumer: Consumer) -> None:
        """At once: another worker may have them while our handlers still run."""
        consumer.settle([Settlement(delivery, requeue=True) for delivery in self._waiting])
        self._waiting.clear()

    def _give_back_running(self, consumer: Consumer) -> None:
        if not self._running:
            return
        log.warning(
            "%d handlers did not end in time; their messages go back to the queue",
            len(self._running),
        )
        self.drained = False
        # Not released: a handler thread may still run to its end while the process exits.
        self._claims.abandon(list(self._running))
        works = dict.fromkeys(job.work for job in self._running)
        consumer.settle([Settlement(work.delivery, requeue=True) for work in works])
