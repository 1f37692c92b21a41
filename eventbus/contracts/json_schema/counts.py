"""Lower and upper bounds of a length or a number of members."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from eventbus.contracts.json_schema.formulas import Atom


class Counts(NamedTuple):
    """From `least` to `most`; None: without an end."""

    least: int
    most: int | None

    def at_least(self, least: int) -> Counts:
        return Counts(max(self.least, least), self.most)

    def at_most(self, most: int) -> Counts:
        return Counts(self.least, most if self.most is None else min(self.most, most))

    @property
    def none(self) -> bool:
        """Whether no count lies between."""
        return self.most is not None and self.least > self.most


def counts(atoms: Iterable[Atom], least: str, most: str) -> Counts:
    """What the keywords called `least` and `most` leave."""
    found = Counts(0, None)
    for atom in atoms:
        if atom.keyword == least:
            count = atom.arguments[0]
            found = found.at_least(count) if atom.positive else found.at_most(count - 1)
        elif atom.keyword == most:
            count = atom.arguments[0]
            found = found.at_most(count) if atom.positive else found.at_least(count + 1)
    return found
