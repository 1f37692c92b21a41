"""Numbers that satisfy bounds and ``multipleOf``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from eventbus.contracts.json_schema.candidates import SOMETHING, Candidate
from eventbus.contracts.json_schema.evaluating import multiple_holds
from eventbus.contracts.json_schema.formulas import Atom, JsonType, is_multiple, number

if TYPE_CHECKING:
    from eventbus.contracts.json_schema.satisfying import Search

Number = int | float

#: Values of a lattice that are tried one by one.
MAX_TRIED = 2_000
#: Bits of a least common multiple; above, a multiple is left out.
MAX_BITS = 4_096


@dataclass
class _Numbers:
    low: Number | None = None
    low_open: bool = False
    high: Number | None = None
    high_open: bool = False
    #: All are whole multiples of it; None where fractions are allowed.
    whole: int | None = None
    fractions: list[float] = field(default_factory=list)
    not_multiples: list[Number] = field(default_factory=list)
    excluded: set[Number] = field(default_factory=set)

    def take(self, atom: Atom) -> None:
        if atom.keyword == "enum":
            self.excluded.update(atom.arguments[0].by_type.get(JsonType.NUMBER, ()))
        elif atom.keyword == "multipleOf":
            self._take_multiple(atom.arguments[0], atom.positive)
        else:
            value, exclusive = atom.arguments
            if (atom.keyword == "minimum") is atom.positive:
                self._raise(value, exclusive is atom.positive)
            else:
                self._lower(value, exclusive is atom.positive)

    def _take_multiple(self, of: Number, positive: bool) -> None:
        if not positive:
            self.not_multiples.append(of)
        elif isinstance(of, float):
            self.fractions.append(of)
        else:
            common = math.lcm(self.whole or 1, of)
            if common.bit_length() <= MAX_BITS:
                self.whole = common

    def _raise(self, value: Number, exclusive: bool) -> None:
        if self.low is None or value > self.low:
            self.low, self.low_open = value, exclusive
        elif value == self.low:
            self.low_open = self.low_open or exclusive

    def _lower(self, value: Number, exclusive: bool) -> None:
        if self.high is None or value < self.high:
            self.high, self.high_open = value, exclusive
        elif value == self.high:
            self.high_open = self.high_open or exclusive

    @property
    def contradictory(self) -> bool:
        if any(self._implies(of) for of in self.not_multiples):
            return True
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def _implies(self, of: Number) -> bool:
        """Whether every validator finds that all of them are multiples of `of`."""
        if self.whole is not None and is_multiple(self.whole, of):
            return True
        # Division by a fraction rounds; only by a power of two it rounds alike.
        return any(
            is_multiple(one, of) and _is_power_of_two(one / of)
            for one in self.fractions
            if isinstance(of, float)
        )

    def allows(self, value: Number) -> bool:
        """Whether it may be one of them."""
        return (
            value not in self.excluded
            and self._within(value)
            and not any(multiple_holds(value, of) for of in self.not_multiples)
            and not any(multiple_holds(value, of) is False for of in self.fractions)
            and (self.whole is None or bool(is_multiple(value, self.whole)))
        )

    def surely(self, value: Number) -> bool:
        """Whether every validator finds that it is one of them."""
        return (
            self.allows(value)
            and all(multiple_holds(value, of) is False for of in self.not_multiples)
            and all(multiple_holds(value, of) for of in self.fractions)
        )

    def _within(self, value: Number) -> bool:
        if self.low is not None and (value < self.low or (value == self.low and self.low_open)):
            return False
        return not (
            self.high is not None and (value > self.high or (value == self.high and self.high_open))
        )

    def lattice(self, step: int) -> tuple[int | None, int | None]:
        """The first and the last multiple of `step` between the bounds, as factors."""
        first = None if self.low is None else math.ceil(Fraction(self.low) / step)
        if first is not None and self.low_open and first * step == self.low:
            first += 1
        last = None if self.high is None else math.floor(Fraction(self.high) / step)
        if last is not None and self.high_open and last * step == self.high:
            last -= 1
        return first, last

    def samples(self) -> Iterator[Number]:
        """A few values that may be allowed, the simple ones first."""
        low, high = self.low, self.high
        ends = [end for end in (low, high) if end is not None]
        yield from (0, 1, -1, 0.5, 0.25, 0.125)
        if low is not None and high is not None:
            yield number(float((Fraction(low) + Fraction(high)) / 2))
        for end in ends:
            nearest = math.floor(end)
            yield from (number(end), nearest, nearest + 1, nearest - 1, nearest + 0.5)
        yield from (
            factor * one for one in (*self.fractions, 1, 0.25, 0.1) for factor in range(-40, 40)
        )
        for end in ends:
            yield from (end + 1e-9, end - 1e-9)


def candidate(_: Search, atoms: list[Atom], __: int) -> Candidate | None:
    """A number that may satisfy `atoms`; None if there is none."""
    found = _Numbers()
    for atom in atoms:
        found.take(atom)
    if found.contradictory:
        return None
    try:
        return _chosen(found)
    except OverflowError:
        return SOMETHING


def _chosen(found: _Numbers) -> Candidate | None:
    if found.low is not None and found.low == found.high:
        return Candidate(number(found.low)) if found.allows(found.low) else None
    if found.whole is None:
        return _first(found.samples(), found) or SOMETHING
    first, last = found.lattice(found.whole)
    if first is not None and last is not None and first > last:
        return None
    factors, complete = _factors(first, last, max(MAX_TRIED, len(found.excluded) + 1))
    chosen = _first((factor * found.whole for factor in factors), found)
    return chosen or (None if complete else SOMETHING)


def _factors(first: int | None, last: int | None, most: int) -> tuple[range, bool]:
    """The factors to try, `most` of them, and whether these are all."""
    if first is None:
        end = 1 if last is None else last + 1
        return range(end - 1, end - most, -1), False
    if last is None:
        return range(first, first + most), False
    return range(first, min(last + 1, first + most)), last - first < most


def _first(values: Iterable[Number], found: _Numbers) -> Candidate | None:
    """The first that is surely one of them, or else the first that may be."""
    possible = None
    for value in values:
        if found.surely(value):
            return Candidate(value)
        if possible is None and found.allows(value):
            possible = Candidate(value)
    return possible


def _is_power_of_two(value: float) -> bool:
    return value > 0 and math.frexp(value)[0] == 0.5
