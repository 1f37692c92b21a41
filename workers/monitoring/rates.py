"""Rates: what two looks at growing counts give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .report import QueueReport, Report, merged_queues


@dataclass(frozen=True, slots=True)
class QueueRates:
    """One subscription, per second.

    Parameters
    ----------
    handled:
        Runs that succeeded, and events that needed none because they had been handled before.
    failed:
        Runs that failed, whether they are retried or not, and messages that could not be read.
    runs, busy:
        Runs of handlers that ended, and the seconds they took: ``busy / runs`` is a run's mean.
    """

    handled: float = 0.0
    failed: float = 0.0
    runs: float = 0.0
    busy: float = 0.0

    def __add__(self, other: QueueRates) -> QueueRates:
        return QueueRates(
            self.handled + other.handled,
            self.failed + other.failed,
            self.runs + other.runs,
            self.busy + other.busy,
        )

    @property
    def mean_run_ms(self) -> float | None:
        """How long a run takes on average; None where none ended."""
        return self.busy / self.runs * 1000 if self.runs else None


@dataclass(frozen=True, slots=True)
class Rates:
    """One process, per second: `published` by a dispatcher, `queues` by a worker."""

    published: float = 0.0
    queues: dict[str, QueueRates] = field(default_factory=dict)

    def __add__(self, other: Rates) -> Rates:
        queues = dict(self.queues)
        for name, rates in other.queues.items():
            queues[name] = queues.get(name, QueueRates()) + rates
        return Rates(self.published + other.published, queues)

    @property
    def all_queues(self) -> QueueRates:
        """The queues together."""
        return sum(self.queues.values(), QueueRates())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rates:
        """Read what `dataclasses.asdict` gave."""
        names = {one.name for one in fields(QueueRates)}
        return cls(
            float(data.get("published", 0.0)),
            {
                queue: QueueRates(**{n: float(v) for n, v in rates.items() if n in names})
                for queue, rates in data.get("queues", {}).items()
            },
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """The counts of one report, and when it was made, in seconds of a clock that only grows."""

    at: float
    published: int
    queues: dict[str, QueueRates]

    def since(self, before: Sample | None) -> Rates:
        """The rates between two samples; none without a sample before."""
        if before is None or self.at <= before.at:
            return Rates()
        seconds = self.at - before.at
        return Rates(
            max(self.published - before.published, 0) / seconds,
            {
                name: _per_second(counts, before.queues.get(name, QueueRates()), seconds)
                for name, counts in self.queues.items()
            },
        )


def sample(report: Report, at: float) -> Sample:
    """The counts of `report`, made `at` that many seconds of a monotonic clock."""
    queues = report.queues or merged_queues(report.children)
    return Sample(
        at,
        report.counts.get("published", 0),
        {name: _totals(queue) for name, queue in queues.items()},
    )


def _totals(queue: QueueReport) -> QueueRates:
    handlers = queue.handlers.values()
    return QueueRates(
        handled=sum(c.succeeded + c.duplicates + c.skipped for c in handlers),
        failed=queue.parked + sum(counts.retried + counts.dead_lettered for counts in handlers),
        runs=sum(sum(counts.durations) for counts in handlers),
        busy=sum(counts.seconds for counts in handlers),
    )


def _per_second(now: QueueRates, before: QueueRates, seconds: float) -> QueueRates:
    # A process that was replaced begins to count anew; what it did before must not count as less.
    return QueueRates(
        *(
            max(getattr(now, one.name) - getattr(before, one.name), 0) / seconds
            for one in fields(QueueRates)
        )
    )
