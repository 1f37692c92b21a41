"""Opens and closes the queues of a worker, and says what goes back to them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from eventbus.brokers.port import Consumer, Delivery
from eventbus.hooks import BreakerClosed, BreakerOpened

from ..monitoring.report import Report
from ..work import Job
from .breaker import HALF_OPEN, OPEN
from .scheduling import HOLD_SECONDS, Scheduler
from .valve import Valve

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.subscription import Subscription

log = logging.getLogger("eventbus.worker")

#: How often valves are looked at although nothing has happened to them.
LOOK_SECONDS = 0.5


class Intake:
    """Carries out what the valves of a worker's queues say.

    What an open breaker leaves unbegun stays here, unacknowledged, and is not delivered again; what
    an operator's pause leaves goes back to the queue, as a pause may last for days.

    Parameters
    ----------
    scheduler:
        Has what waits.
    report:
        Is told of pauses and breakers.
    """

    def __init__(
        self,
        bus: EventBus,
        subscriptions: Iterable[Subscription],
        scheduler: Scheduler,
        consumer: Consumer,
        report: Report,
    ) -> None:
        self._hooks = bus.hooks
        self._scheduler = scheduler
        self._consumer = consumer
        self._report = report
        self._valves = {one.queue: Valve(one.breaker) for one in subscriptions}
        self._paused: frozenset[str] = frozenset()
        self._look_at = 0.0

    def note(self, job: Job, now: float) -> None:
        """Note a job that is concluded."""
        if self._valves[job.queue].note(job, now):
            self._look_at = 0.0

    def is_consuming(self, queue: str) -> bool:
        """Whether the consumer of `queue` was told to deliver."""
        return self._valves[queue].consuming

    def adjust(self, paused: frozenset[str], now: float) -> tuple[list[Delivery], list[Job]]:
        """Bring consumer and scheduler in line with the valves; returns what is to be given back.

        Parameters
        ----------
        paused:
            Full names of the queues that an operator has paused.
        """
        deliveries: list[Delivery] = []
        jobs: list[Job] = []
        if now < self._look_at and paused is self._paused:
            return deliveries, jobs
        self._look_at = now + LOOK_SECONDS
        self._paused = paused
        for queue, valve in self._valves.items():
            valve.paused = queue in paused
            before = math.inf if valve.paused else now - HOLD_SECONDS
            late, waiting = self._scheduler.take_back(queue, before)
            if (late or waiting) and not valve.paused:
                valve.saturated = True
            deliveries += late
            jobs += waiting
            self._switch(queue, valve, now)
        return deliveries, jobs

    def probes(self) -> list[Delivery]:
        """Messages to try, whose jobs go to `mark`; jobs to try wait in the scheduler already."""
        found = []
        for queue, valve in self._valves.items():
            if not valve.wants_probe():
                continue
            chosen = self._scheduler.probe(queue)
            if isinstance(chosen, Job):
                valve.probe(chosen)
            elif chosen is not None:
                found.append(chosen)
        return found

    def mark(self, jobs: Iterable[Job]) -> None:
        """The outcome of `jobs` decides whether their queue is opened."""
        for job in jobs:
            self._valves[job.queue].probe(job)

    def _switch(self, queue: str, valve: Valve, now: float) -> None:
        valve.tick(now)
        if valve.begins:
            self._scheduler.closed.discard(queue)
        else:
            self._scheduler.closed.add(queue)
        consuming = valve.wants_messages(
            holding=self._scheduler.holds(queue), has_room=self._scheduler.has_room(queue)
        )
        if consuming != valve.consuming:
            valve.consuming = consuming
            (self._consumer.resume if consuming else self._consumer.pause)(queue)
        self._show(queue, valve, now)

    def _show(self, queue: str, valve: Valve, now: float) -> None:
        shown = self._report.queues[queue]
        if valve.paused != shown.paused:
            log.info("queue %s is %s by an operator", queue, _PAUSED[valve.paused])
        shown.paused = valve.paused
        before, shown.breaker = shown.breaker, valve.state
        if before == shown.breaker or valve.circuit is None:
            return
        if shown.breaker == OPEN:
            again = before == HALF_OPEN
            log.warning(
                "breaker of queue %s opens: %s; the next event is tried in %.0f s",
                queue,
                "a probe failed" if again else valve.circuit.reason,
                valve.circuit.probe_at - now,
            )
            if not again:
                self._hooks.fire(BreakerOpened(queue, valve.circuit.reason))
        elif shown.breaker == HALF_OPEN:
            log.info("breaker of queue %s: one event is tried", queue)
        else:
            log.info("breaker of queue %s closes: a probe succeeded", queue)
            self._hooks.fire(BreakerClosed(queue))


_PAUSED = {True: "paused", False: "resumed"}
