"""How long a place in the pool stays empty after its process died: pure.

The first death is an accident and the successor starts at once. Processes that die young one after
the other would use up the machine with starting; each of them makes the pause longer.
"""

from __future__ import annotations

from dataclasses import dataclass

#: A process that lived so long did not die of its start.
STABLE_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass
class CrashLoop:
    """The recent deaths at one place.

    >>> loop = CrashLoop()
    >>> [loop.died(lived_seconds=1.0) for _ in range(4)]
    [0.0, 1.0, 2.0, 4.0]
    """

    deaths: int = 0

    def died(self, lived_seconds: float) -> float:
        """A process died; the seconds to wait before the next one starts."""
        if lived_seconds >= STABLE_SECONDS:
            self.deaths = 0
        self.deaths += 1
        if self.deaths == 1:
            return 0.0
        doublings = min(self.deaths - 2, 20)
        return min(FIRST_PAUSE_SECONDS * float(2**doublings), LONGEST_PAUSE_SECONDS)
