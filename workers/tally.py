"""Counts what became of messages, and tells the hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventbus.hooks import DeadLettered, Retried
from eventbus.outcome import Ack, DeadLetter, RetryAfter

from .monitoring.report import HandlerCounts, QueueReport, Report
from .work import Job, Work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventbus.bus import EventBus
    from eventbus.subscription import Subscription


class Tally:
    """The counts of one worker, in its `report`."""

    def __init__(
        self, bus: EventBus, report: Report, subscriptions: Iterable[Subscription]
    ) -> None:
        self._hooks = bus.hooks
        self._queues = report.queues
        for subscription in subscriptions:
            handlers = {handler.name: HandlerCounts() for handler in subscription.handlers}
            self._queues[subscription.queue] = QueueReport(handlers=handlers)

    def concluded(self, job: Job) -> None:
        """Note what became of one job."""
        counts = self._queues[job.queue].handlers[job.handler.name]
        outcome = job.outcome
        if job.seconds:
            counts.add_duration(job.seconds)
        if isinstance(outcome, Ack):
            if outcome.skipped is not None:
                counts.skipped += 1
            elif job.seconds:
                counts.succeeded += 1
            else:
                counts.duplicates += 1
        elif isinstance(outcome, RetryAfter):
            counts.retried += outcome.counted
        elif isinstance(outcome, DeadLetter):
            counts.dead_lettered += 1
        else:
            counts.returned += 1
        if self._hooks:
            self._tell(job)

    def parked(self, work: Work) -> None:
        """Note a message that could not be read."""
        queue = work.delivery.queue
        self._queues[queue].parked += 1
        self._hooks.fire(DeadLettered(queue, None, None, work.parked or ""))

    def _tell(self, job: Job) -> None:
        outcome, handler, event_id = job.outcome, job.handler.name, job.envelope.id
        if isinstance(outcome, RetryAfter) and outcome.counted:
            self._hooks.fire(Retried(job.queue, handler, event_id, job.attempt, outcome.delay))
        elif isinstance(outcome, DeadLetter):
            self._hooks.fire(DeadLettered(job.queue, handler, event_id, outcome.reason))
