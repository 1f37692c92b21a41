"""The worker: consumes subscriptions and runs their handlers.

One thread of the broker adapter brings deliveries, the worker's own thread takes them through the
pipeline in batches, and the pool runs the handlers. A message is acknowledged only after its
effect is remembered, or after the copy that is retried or parked is confirmed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from eventbus import database
from eventbus.brokers.port import Consumer, Delivery, Settlement
from eventbus.contracts.receiving import Receiving
from eventbus.hooks import WorkerReady, WorkerShutdown, WorkerStarting
from eventbus.outcome import Return
from eventbus.subscription import Handler, Subscription

from .admission.intake import Intake
from .admission.overflow import OverflowFeeder
from .admission.scheduling import Room, Scheduler, prefetch_of
from .claims import Claims
from .crash_points import crash_point
from .execution.running import start_pools
from .idempotency import make_store
from .monitoring.report import WORKER, Report
from .options import WorkerOptions
from .pipeline import open_works
from .tally import Tally
from .work import Job, Work, settlement_of

if TYPE_CHECKING:
    from eventbus.bus import EventBus

    from .execution.host import Host
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

    def __init__(
        self, bus: EventBus, options: WorkerOptions | None = None, *, host: Host | None = None
    ) -> None:
        options = options or WorkerOptions()
        self._host = host
        chosen = bus.subscriptions if options.queues is None else options.queues
        found = [bus.subscription(queue) for queue in chosen]
        self.subscriptions: dict[str, Subscription] = {s.queue: s for s in found}
        self._bus = bus
        self._receiving = Receiving(bus)
        self._options = options
        self._concurrency = options.handlers_at_once
        self._name = options.name or f"{bus.service}.worker"
        self._shutdown_seconds = options.shutdown_timeout.total_seconds()
        #: Until when a stop waits for running handlers.
        self._stop_by = math.inf
        self._report = Report(
            WORKER, bus.service, self._name, pool=options.pool, concurrency=self._concurrency
        )
        self._tally = Tally(bus, self._report, found)
        self._plain = Room(self._concurrency)
        self._scheduler = Scheduler(
            self.subscriptions,
            self._plain,
            Room(options.coroutines),
            options.prefetch_count,
            time.monotonic(),
        )
        self._paused: frozenset[str] = frozenset()
        self._consumer: Consumer | None = None
        self._inbox: SimpleQueue[list[Delivery] | Job | None] = SimpleQueue()
        self._finished: list[Job] = []
        self._running: set[Job] = set()
        #: Whether every handler had ended when `run` returned.
        self.drained = True
        self._stop = threading.Event()
        self._stop_now = threading.Event()
        self._mean_seconds = CLAIM_AHEAD_SECONDS
        #: Something was begun just now, so that there may be more.
        self._busy = False

    # -- control ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Take nothing new, finish the running handlers, return from `run`; from any thread."""
        self._stop_by = min(self._stop_by, time.monotonic() + self._shutdown_seconds)
        self.retire()

    def retire(self) -> None:
        """As `stop`, however long the running handlers take."""
        self._stop.set()
        self._inbox.put(None)

    def stop_now(self) -> None:
        """Give unfinished messages back and return from `run` at once; from any thread."""
        self._stop_now.set()
        self.stop()

    def set_paused(self, queues: frozenset[str]) -> None:
        """Consume all queues but `queues`, full names; from any thread, also before `run`.

        What was delivered of them and not begun goes back; handlers that run go on to their end.
        """
        self._paused = queues
        self._inbox.put(None)

    def report(self) -> Report:
        """What this worker does now; from any thread. The counts in it go on growing."""
        report = self._report
        report.running = len(self._running)
        report.waiting = self._scheduler.waiting
        if self._stop.is_set():
            report.state = "draining"
        consumer = self._consumer
        if consumer is not None:
            report.trouble = self._claims.trouble or consumer.trouble
            consuming = not self._stop.is_set() and consumer.wait_consuming(0)
            for name, queue in report.queues.items():
                queue.consuming = consuming and self._intake.is_consuming(name)
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
        self._bus.hooks.fire(WorkerStarting(self._name, tuple(self.subscriptions)))
        store = make_store(self._bus)
        try:
            self._check(store)
            if self._host is None:
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
        self._claims = Claims(self._bus, store, self._abandon_waiting)
        self._pools = start_pools(self._bus, self._options, self._inbox.put, self._host)
        consumer = self._bus.broker.consumer(self._name)
        self._intake = Intake(
            self._bus, self.subscriptions.values(), self._scheduler, consumer, self._report
        )
        self._consumer = consumer
        self._adjust(time.monotonic())
        self._claims.start()
        self._overflow = OverflowFeeder(self._bus.broker, self.subscriptions.values())
        self._overflow.start(consumer)
        prefetch = {
            queue: prefetch_of(subscription, self._options.prefetch_count)
            for queue, subscription in self.subscriptions.items()
        }
        consumer.start({**prefetch, **self._overflow.queues}, self._on_deliveries)
        self._report.state = "running"
        try:
            ready = False
            while not self._stop.is_set():
                self._cycle()
                self._report.beat = time.time()
                if not ready and consumer.wait_consuming(0):
                    ready = True
                    self._bus.hooks.fire(WorkerReady(self._name, tuple(self.subscriptions)))
            self._drain(consumer)
        finally:
            self._overflow.close()
            consumer.close(FLUSH_SECONDS)
            self._claims.close()
            self._pools.close(0)
            self._bus.hooks.fire(WorkerShutdown(self._name, self.drained))

    def _on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Take what the broker brings, on its thread."""
        own = self._overflow.divert(deliveries)
        if own:
            self._inbox.put(own)

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
        self._report.beat = time.time()
        return self._stop.wait(seconds)

    # -- the loop -----------------------------------------------------------------------------

    def _cycle(self) -> None:
        self._take_in(0.0 if self._busy or self._finished else self._idle_seconds())
        self._conclude()
        now = time.monotonic()
        self._adjust(now)
        self._busy = self._begin_next(now)

    def _idle_seconds(self) -> float:
        """How long there is nothing to do unless something comes."""
        return min(TICK_SECONDS, self._scheduler.wait_seconds(time.monotonic()))

    def _take_in(self, timeout: float) -> None:
        """Take in all that has come, deliveries and finished jobs; `timeout` is for the first."""
        try:
            item = self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()
            while True:
                if isinstance(item, Job):
                    self._done(item)
                elif item is not None:
                    self._scheduler.add(item, time.monotonic())
                item = self._inbox.get_nowait()
        except Empty:
            return

    def _adjust(self, now: float) -> None:
        """Follow pauses and breakers, and give back what waits because of them."""
        closed = set(self._scheduler.closed)
        deliveries, jobs = self._intake.adjust(self._paused, now)
        if not self._scheduler.closed <= closed:
            self._put_back(now)
        if deliveries:
            self._requeue(deliveries)
        if jobs:
            self._return(jobs)

    def _put_back(self, now: float) -> None:
        """Take the jobs of closed queues that are claimed and not begun out of the pools."""
        unclaimed = []
        for job in self._pools.withdraw():
            if job.queue in self._scheduler.closed:
                unclaimed.append(job)
            else:
                self._pools.submit(job)
        self._running.difference_update(unclaimed)
        self._claims.unclaim(unclaimed)
        self._scheduler.put_back(unclaimed, now)

    def _begin_next(self, now: float) -> bool:
        """Begin what the scheduler says; whether that was something."""
        self._plain.ahead = self._claims_ahead()
        scheduler = self._scheduler
        jobs = scheduler.next_jobs(now)
        deliveries = scheduler.next_deliveries(now)
        probes = self._intake.probes()
        if deliveries or probes:
            jobs += self._open(deliveries, probes, now)
        if jobs:
            self._begin(jobs, now)
        suspect = scheduler.next_suspect(now)
        if suspect is not None:
            self._begin([suspect], now, alone=True)
        return bool(jobs or deliveries or probes or suspect)

    def _claims_ahead(self) -> int:
        """How many times as many jobs to have claimed as run: a little work ahead of them."""
        ahead = int(CLAIM_AHEAD_SECONDS / max(self._mean_seconds, 1e-6))
        return max(1, min(BATCH_LIMIT, ahead))

    def _open(
        self, deliveries: Sequence[Delivery], probes: Sequence[Delivery], now: float
    ) -> list[Job]:
        """Decode and validate messages; returns the jobs of theirs that may begin."""
        works = open_works([*deliveries, *probes], self.subscriptions, self._receiving)
        for work in works[len(deliveries) :]:
            self._intake.mark(work.jobs)
        jobs = [job for work in works for job in work.jobs]
        admitted = self._scheduler.admit([job for job in jobs if job.outcome is None], now)
        for work in works:
            if work.parked is not None:
                self._tally.parked(work)
        self._settle([work for work in works if not work.jobs])
        self._end([job for job in jobs if job.outcome is not None])
        return admitted

    def _begin(self, jobs: Sequence[Job], now: float, *, alone: bool = False) -> None:
        """Claim jobs, and hand those that are ours to the pools."""
        counted = [job for job in jobs if job.starts_are_counted]
        runnable = self._claims.claim(counted, alone=alone)
        crash_point("worker.claimed")
        if len(runnable) == len(counted):
            refused: set[Job] = set()
        else:
            refused = set(counted).difference(runnable)
            self._refuse(refused, now)
        for job in jobs:
            if job not in refused:
                self._running.add(job)
                self._pools.submit(job)

    def _refuse(self, jobs: Iterable[Job], now: float) -> None:
        """Put aside what may run only alone; the others have their outcome."""
        ended = []
        for job in jobs:
            if job.outcome is None:
                self._scheduler.suspect(job, now)
            else:
                self._scheduler.leave(job, begun=False)
                ended.append(job)
        self._claims.conclude(ended)
        self._end(ended)

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
        for job in jobs:
            self._scheduler.leave(job, begun=bool(job.seconds))
        self._claims.conclude(jobs)
        crash_point("worker.remembered")
        self._end(jobs)

    def _return(self, jobs: Sequence[Job]) -> None:
        """End jobs that were not begun: their messages go back."""
        for job in jobs:
            job.outcome = Return()
        self._end(jobs)

    def _end(self, jobs: Sequence[Job]) -> None:
        """Count jobs whose outcome is remembered; settle the messages that are finished with it."""
        if not jobs:
            return
        now = time.monotonic()
        for job in jobs:
            job.concluded = True
            self._tally.concluded(job)
            self._intake.note(job, now)
        works = dict.fromkeys(job.work for job in jobs)
        self._settle([work for work in works if work.finished])

    def _settle(self, works: Sequence[Work]) -> None:
        if works:
            assert self._consumer is not None
            self._consumer.settle([settlement_of(work) for work in works])
            crash_point("worker.settled")

    def _requeue(self, deliveries: Iterable[Delivery]) -> None:
        assert self._consumer is not None
        self._consumer.settle([Settlement(delivery, requeue=True) for delivery in deliveries])

    # -- stopping -----------------------------------------------------------------------------

    def _drain(self, consumer: Consumer) -> None:
        """Give back what was not begun, wait for what runs, settle it."""
        for job in self._pools.withdraw():
            self._done(job)
        consumer.cancel()
        self._take_in(0)
        self._give_back_waiting()
        while self._running and not self._stop_now.is_set():
            remaining = self._stop_by - time.monotonic()
            if remaining <= 0:
                break
            self._take_in(min(remaining, TICK_SECONDS))
            self._conclude()
        self._take_in(0)
        self._conclude()
        self._give_back_waiting()
        self._give_back_running()

    def _give_back_waiting(self) -> None:
        """At once: another worker may have them while our handlers still run."""
        for queue in self.subscriptions:
            deliveries, jobs = self._scheduler.take_back(queue)
            self._requeue(deliveries)
            self._return(jobs)

    def _give_back_running(self) -> None:
        if not self._running:
            return
        log.warning(
            "%d handlers did not end in time; their messages go back to the queue",
            len(self._running),
        )
        self.drained = False
        self._claims.abandon(list(self._running))
        self._requeue(work.delivery for work in dict.fromkeys(job.work for job in self._running))
