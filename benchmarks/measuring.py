"""Alternating runs, medians, ratios, goals: pure but for the calls of the contestants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

#: Measure to value; the name says the unit: ``{"events/s": 18_900.0}``.
Measures = dict[str, float]


@dataclass(frozen=True)
class Contestant:
    """Something to measure.

    Parameters
    ----------
    run:
        Measure once, from a clean start.
    note:
        What a reader must know to compare it.
    """

    name: str
    run: Callable[[], Measures]
    note: str = ""


@dataclass(frozen=True)
class Spread:
    """The values of one measure, one a round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return float(median(self.values))

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest."""
        return max(self.values)

    def over(self, other: Spread) -> Spread:
        """The ratios round by round: neighbours in time, so what disturbs one disturbs both."""
        return Spread(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Goal:
    """What was aimed at, and what was reached.

    Parameters
    ----------
    limit:
        The median of `reached` is to be at least this, or with `below` less than this.
    """

    text: str
    reached: Spread
    limit: float
    unit: str = ""
    below: bool = False

    @property
    def met(self) -> bool:
        """Whether the median reaches the goal."""
        found = self.reached.median
        return found < self.limit if self.below else found >= self.limit


@dataclass
class Samples:
    """Everything that was measured of one case: contestant, then measure, then rounds."""

    rounds: dict[str, list[Measures]] = field(default_factory=dict)

    def of(self, contestant: str, measure: str) -> Spread:
        """The rounds of one measure."""
        return Spread(tuple(found[measure] for found in self.rounds[contestant]))

    def measures(self, contestant: str) -> list[str]:
        """What was measured of it."""
        return list(self.rounds[contestant][0])

    def __contains__(self, contestant: str) -> bool:
        return contestant in self.rounds


def alternate(
    contestants: Sequence[Contestant], rounds: int, began: Callable[[int, str], None]
) -> Samples:
    """Run all, round by round; each round begins with another one, so that none is always first.

    Parameters
    ----------
    began:
        Told the round and the contestant that runs now.
    """
    samples = Samples({one.name: [] for one in contestants})
    for number in range(rounds):
        first = number % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            began(number + 1, contestant.name)
            samples.rounds[contestant.name].append(contestant.run())
    return samples
