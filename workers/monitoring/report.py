"""What a running process tells of itself, for `status`, ``/metrics`` and a prefork parent.

Each service makes its own with ``report()``; counts only grow, so that a reader can take the
difference of two for a rate. It goes through JSON unchanged (`Report.as_dict`).
"""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Upper bounds, in seconds, of the buckets in which `HandlerCounts` sorts run times; the last
#: bucket has none.
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

WORKER = "worker"
DISPATCHER = "dispatcher"


@dataclass(slots=True)
class HandlerCounts:
    """What became of the runs of one handler at one queue.

    Parameters
    ----------
    succeeded:
        Runs whose effect is remembered.
    duplicates:
        Events that needed no run, as they had been handled before.
    skipped:
        Runs that ended with `eventbus.Skip`: remembered, without an effect.
    retried, dead_lettered:
        Failed runs that go on, and those that were the last.
    returned:
        Events that went back to their queue unhandled, as at a stop.
    seconds:
        Sum of the run times.
    durations:
        Runs by bucket of `DURATION_BOUNDS`, each run in one bucket.
    """

    succeeded: int = 0
    duplicates: int = 0
    skipped: int = 0
    retried: int = 0
    dead_lettered: int = 0
    returned: int = 0
    seconds: float = 0.0
    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BOUNDS) + 1))

    def add_duration(self, seconds: float) -> None:
        """Count one run that took so long."""
        self.seconds += seconds
        self.durations[bisect_left(DURATION_BOUNDS, seconds)] += 1

    def __add__(self, other: HandlerCounts) -> HandlerCounts:
        return HandlerCounts(
            self.succeeded + other.succeeded,
            self.duplicates + other.duplicates,
            self.skipped + other.skipped,
            self.retried + other.retried,
            self.dead_lettered + other.dead_lettered,
            self.returned + other.returned,
            self.seconds + other.seconds,
            [a + b for a, b in zip(self.durations, other.durations, strict=True)],
        )


@dataclass(slots=True)
class QueueReport:
    """One subscription as one worker has it.

    Parameters
    ----------
    consuming:
        The broker sends its messages here.
    paused:
        Why it is not consumed on purpose: an operator's pause.
    breaker:
        ``closed``, ``open`` or ``half-open``.
    parked:
        Messages that could not be read and were parked.
    handlers:
        Handler name to counts.
    """

    consuming: bool = False
    paused: bool = False
    breaker: str = "closed"
    parked: int = 0
    handlers: dict[str, HandlerCounts] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """One process.

    Parameters
    ----------
    kind:
        `WORKER` or `DISPATCHER`.
    state:
        ``starting``, ``running``, ``replacing`` (a prefork pool its children) or ``draining``.
    ready:
        It does its work: a worker consumes all queues that are not paused, a dispatcher has a
        broker that takes messages.
    trouble:
        Why it does not, in words for an operator, without a password.
    beat:
        Seconds since the epoch at which its loop last moved.
    running, waiting:
        Handlers that run now; messages delivered and not begun.
    counts:
        A dispatcher's: ``published``, ``unrouted``, ``refused``, ``failed``.
    held:
        A dispatcher's: names of events that wait because a queue is full.
    children:
        The reports of a prefork pool's children; what they have done is in the other fields too.
    deaths:
        How many of them died and were replaced.
    """

    kind: str
    service: str
    name: str
    state: str = "starting"
    ready: bool = False
    trouble: str | None = None
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    started_at: float = field(default_factory=time.time)
    beat: float = field(default_factory=time.time)
    pool: str | None = None
    concurrency: int | None = None
    running: int = 0
    waiting: int = 0
    queues: dict[str, QueueReport] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    children: list[Report] = field(default_factory=list)
    deaths: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Read what `as_dict` gave; what this version does not know is left out."""
        values = _known(cls, data)
        values["queues"] = {
            name: _queue_report(queue) for name, queue in data.get("queues", {}).items()
        }
        values["children"] = [cls.from_dict(child) for child in data.get("children", ())]
        return cls(**values)


def merged_queues(reports: Iterable[Report]) -> dict[str, QueueReport]:
    """The queues of several workers as one: consuming where one is, open where one is open."""
    merged: dict[str, QueueReport] = {}
    for report in reports:
        for name, queue in report.queues.items():
            known = merged.setdefault(name, QueueReport())
            known.consuming |= queue.consuming
            known.paused |= queue.paused
            known.parked += queue.parked
            if queue.breaker != "closed":
                known.breaker = queue.breaker
            for handler, counts in queue.handlers.items():
                known.handlers[handler] = known.handlers.get(handler, HandlerCounts()) + counts
    return merged


def _queue_report(data: Mapping[str, Any]) -> QueueReport:
    values = _known(QueueReport, data)
    values["handlers"] = {
        name: HandlerCounts(**_known(HandlerCounts, counts))
        for name, counts in data.get("handlers", {}).items()
    }
    return QueueReport(**values)


def _known(cls: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in dataclasses.fields(cls)}
    return {name: value for name, value in data.items() if name in names}
