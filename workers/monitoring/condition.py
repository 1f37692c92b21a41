"""Whether a process is alive and ready, from what its services report.

- **Live**: the loop moves. A process that is not live is hung, and only a new one helps. Waiting
  for a server, draining, or a handler that takes its time is no reason to be killed: no pool runs
  handlers on the loop.
- **Ready**: every queue is consumed that nobody paused; a dispatcher has a broker that takes
  messages. A pause by an operator and an open circuit breaker leave a worker ready: both are
  states that it was built for, and a deployment must not be rolled back over them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from .report import Report

#: A loop that has not moved for so long hangs. Longer than every time-out that it can wait for:
#: a connection is given 10 s, a confirm 30 s, a lock in a database 50 s (MariaDB's default).
STILL_SECONDS = 60.0

#: Processes of a pool come and go; beyond so many the old ones are forgotten, with all others.
MOST_SIGHTS = 5_000


class Reporting(Protocol):
    """What reports: a service."""

    def report(self) -> Report:
        """What it does now."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One service as it is now.

    Parameters
    ----------
    still_seconds:
        How long its loop has not moved, as far as anybody looked.
    reasons:
        Why it is not ready, in words for an operator.
    """

    report: Report
    live: bool
    still_seconds: float
    reasons: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return not self.reasons


@dataclass(slots=True)
class _Sight:
    beat: float
    seen_at: float


class Pulse:
    """How long ago loops last moved, by the steady clock of whoever looks.

    A beat itself is a wall clock's time, which may be set: only that it changes is used.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sights: dict[tuple[str, int], _Sight] = {}

    def still_seconds(self, report: Report) -> float:
        """Seconds since this beat of `report` was first seen here."""
        now = self._clock()
        key = (report.name, report.pid)
        sight = self._sights.get(key)
        if sight is None or sight.beat != report.beat:
            if len(self._sights) >= MOST_SIGHTS:
                self._sights.clear()
            self._sights[key] = sight = _Sight(report.beat, now)
        return now - sight.seen_at


def is_live(report: Report, still_seconds: float) -> bool:
    """Whether a process with that `report` works, or waits for something that it knows of."""
    return report.state in ("starting", "draining") or still_seconds <= STILL_SECONDS


def reasons(report: Report, startup_trouble: str | None = None) -> Iterator[str]:
    """Why `report` is not ready; nothing where it is."""
    if report.state == "starting":
        trouble = startup_trouble or report.trouble
        yield f"starting: {trouble}" if trouble else "starting"
    elif report.state == "draining":
        yield "draining"
    elif not report.ready:
        idle = sorted(name for name, q in report.queues.items() if not (q.consuming or q.paused))
        if report.trouble:
            yield report.trouble
        elif idle:
            yield f"not consuming {', '.join(idle)}"
        else:
            yield "not ready"


class Observer:
    """Looks at the services of this process.

    Parameters
    ----------
    startup_trouble:
        Why the service of that name has not started yet.
    """

    def __init__(
        self,
        services: Mapping[str, Reporting],
        startup_trouble: Callable[[str], str | None] = lambda name: None,
    ) -> None:
        self._services = services
        self._startup_trouble = startup_trouble
        self._pulse = Pulse()

    def look(self) -> dict[str, Condition]:
        """Service name to condition."""
        return {name: self._condition(name, s.report()) for name, s in self._services.items()}

    def _condition(self, name: str, report: Report) -> Condition:
        still_seconds = self._pulse.still_seconds(report)
        live = is_live(report, still_seconds) and self._has_live_child(report)
        why = tuple(reasons(report, self._startup_trouble(name)))
        return Condition(report, live, still_seconds, why)

    def _has_live_child(self, report: Report) -> bool:
        """A pool hangs when all of its processes do; a single one is the pool's own care."""
        children = [is_live(c, self._pulse.still_seconds(c)) for c in report.children]
        return any(children) or not children
