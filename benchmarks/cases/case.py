"""What a case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..measuring import Contestant, Goal, Samples
from ..servers import Servers


@dataclass(frozen=True)
class Size:
    """How much to run.

    Parameters
    ----------
    relay, relay_single, worker:
        Messages a run; ``relay_single`` for the contestant that waits for each confirm.
    latency_seconds:
        How long events arrive.
    storm, storm_healthy:
        Events that fail, and healthy ones beside them.
    dead_letters:
        Messages that are parked and replayed.
    look_ups:
        Requests to the schema registry.
    """

    rounds: int = 5
    relay: int = 20_000
    relay_single: int = 3_000
    worker: int = 20_000
    latency_seconds: int = 20
    storm: int = 10_000
    storm_healthy: int = 6_000
    dead_letters: int = 100_000
    look_ups: int = 10_000


#: For CI: shows a collapse, not a percentage.
SHORT = Size(
    rounds=2,
    relay=5_000,
    relay_single=500,
    worker=5_000,
    latency_seconds=5,
    storm=3_000,
    storm_healthy=1_500,
    dead_letters=20_000,
    look_ups=2_000,
)


@dataclass(frozen=True)
class Case:
    """One question, its contestants and its goals.

    Parameters
    ----------
    notes:
        What is measured, from when to when, and what is not fair about it.
    """

    name: str
    title: str
    notes: str
    contestants: Callable[[Servers, Size], list[Contestant]]
    goals: Callable[[Samples], list[Goal]]
