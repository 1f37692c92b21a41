"""What a prefork parent tells of its children, as one `Report`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eventbus.subscription import Subscription
from eventbus.workers.monitoring.report import (
    WORKER,
    HandlerCounts,
    QueueReport,
    Report,
    merged_queues,
)
from eventbus.workers.options import WorkerOptions

from .places import Child


class Summary:
    """The latest report; it is only ever replaced, so that any thread may read it."""

    def __init__(
        self,
        name: str,
        service: str,
        options: WorkerOptions,
        subscriptions: Sequence[Subscription],
    ) -> None:
        #: Children that died, and were not told to end.
        self.deaths = 0
        #: The counts of children that are gone: a sum that only grows.
        self._past = Report(WORKER, service, name)
        for subscription in subscriptions:
            handlers = {handler.name: HandlerCounts() for handler in subscription.handlers}
            self._past.queues[subscription.queue] = QueueReport(handlers=handlers)
        self.report = Report(
            WORKER,
            service,
            name,
            pool=options.pool,
            concurrency=options.concurrency,
            queues=self._past.queues,
        )

    @staticmethod
    def read(data: Mapping[str, Any]) -> Report:
        """A child's report."""
        return Report.from_dict(data)

    def update(self, state: str, children: Sequence[Child], troubles: Sequence[str]) -> None:
        """Make the report anew."""
        reports = [child.report for child in children if child.report is not None]
        troubles = [*troubles, *(report.trouble for report in reports if report.trouble)]
        self.report = replace(
            self.report,
            state=state,
            beat=time.time(),
            ready=any(report.ready for report in reports),
            trouble="; ".join(dict.fromkeys(troubles)) or None,
            running=sum(report.running for report in reports),
            waiting=sum(report.waiting for report in reports),
            queues=merged_queues([self._past, *reports]),
            children=reports,
            deaths=self.deaths,
        )

    def keep_counts_of(self, child: Child) -> None:
        """`child` is gone; what it has done stays."""
        if child.report is None:
            return
        counts = {name: _only_counts(queue) for name, queue in child.report.queues.items()}
        gone = replace(child.report, queues=counts)
        self._past = replace(self._past, queues=merged_queues([self._past, gone]))


def _only_counts(queue: QueueReport) -> QueueReport:
    return QueueReport(parked=queue.parked, handlers=queue.handlers)
