"""Whether any value satisfies a set of formulas: the question behind every comparison.

"The reader accepts all that the writer writes" means that no value satisfies both the writer's
formula and the complement of the reader's. So one search answers it: type by type, disjunctions
are split, and the atoms that remain are handed to what knows numbers, texts, arrays or objects.
It may take something for satisfiable that is not, never the other way round.

Recursion ends because a finite value is nested finitely deep: a question that comes up again inside
itself, about a part of the value, may be answered with "no" (the smallest value that satisfied it
would contain a smaller one).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from eventbus.contracts.json_schema import arrays, numbers, objects, texts
from eventbus.contracts.json_schema.candidates import Candidate, GaveUp
from eventbus.contracts.json_schema.evaluating import holds
from eventbus.contracts.json_schema.formulas import (
    FALSE,
    And,
    Atom,
    Formula,
    JsonType,
    OneOf,
    Or,
    Reference,
    Uncertain,
    all_of,
    any_of,
)

#: Steps of one comparison: about a second.
MAX_STEPS = 60_000
#: Atoms that are looked through in one step.
ATOMS_OF_A_STEP = 20
#: Steps of a search for a text that count as one.
STEPS_OF_A_TEXT = 10
#: Levels of a value.
MAX_LEVELS = 40

#: Called with the atoms, and how many of these, the first ones, are known to agree.
Theory = Callable[["Search", list[Atom], int], "Candidate | None"]

_FINITE: dict[JsonType, tuple[Any, ...]] = {
    JsonType.NULL: (None,),
    JsonType.BOOLEAN: (False, True),
}
_THEORIES: dict[JsonType, Theory] = {
    JsonType.NUMBER: numbers.candidate,
    JsonType.STRING: texts.candidate,
    JsonType.ARRAY: arrays.candidate,
    JsonType.OBJECT: objects.candidate,
}
#: The types with the simplest values first: they make the best examples.
_ORDER = (
    JsonType.NULL,
    JsonType.BOOLEAN,
    JsonType.NUMBER,
    JsonType.STRING,
    JsonType.OBJECT,
    JsonType.ARRAY,
)


class Branch:
    """What has been decided on one way through the disjunctions, for values of one type."""

    __slots__ = ("atoms", "choices", "seen", "type")

    def __init__(self, type: JsonType) -> None:
        self.type = type
        self.atoms: list[Atom] = []
        self.choices: list[Or | OneOf] = []
        self.seen: set[Formula] = set()

    def copy(self) -> Branch:
        other = Branch(self.type)
        other.atoms = self.atoms.copy()
        other.choices = self.choices.copy()
        other.seen = self.seen.copy()
        return other

    def add(self, formulas: Iterable[Formula]) -> bool:
        """Take them in; False if they contradict what is there."""
        pending = list(formulas)[::-1]
        while pending:
            formula = pending.pop()
            decided = formula.of_type(self.type)
            if decided is False or formula.complement in self.seen:
                return False
            if decided or formula in self.seen:
                continue
            self.seen.add(formula)
            if isinstance(formula, Atom):
                if formula.keyword != "opaque":
                    self.atoms.append(formula)
            elif isinstance(formula, And):
                pending += formula.parts[::-1]
            elif isinstance(formula, (Or, OneOf)):
                self.choices.append(formula)
            elif isinstance(formula, Reference):
                pending.append(formula.target())
            elif isinstance(formula, Uncertain) and not formula.positive:
                pending.append(formula.inner.complement)
        return True

    def decided(self, formula: Formula) -> bool | None:
        """Whether it is known to hold, or not to, from what has been taken in."""
        if formula in self.seen:
            return True
        if formula.complement in self.seen:
            return False
        return formula.of_type(self.type)


class Search:
    """One comparison: its memory, and its bounds."""

    def __init__(self, max_steps: int = MAX_STEPS) -> None:
        self._steps_left = max_steps
        self._open: dict[frozenset[Formula], int] = {}
        #: The outermost open question that an answer rests on.
        self._rests_on: float = math.inf

    def step(self, count: int = 1) -> None:
        """Count what was done; GaveUp if it is too much."""
        self._steps_left -= count
        if self._steps_left < 0:
            raise GaveUp("the schemas are too complex to be compared in bounded time")

    def spend(self, steps: int) -> None:
        """Count the steps of a search for a text, which are shorter."""
        self.step(1 + steps // STEPS_OF_A_TEXT)

    def satisfy(self, *formulas: Formula) -> Candidate | None:
        """A value that may satisfy all of them; None if there certainly is none."""
        self.step()
        question = frozenset(formulas)
        if FALSE in question:
            return None
        known = _KNOWN.get(question, _NOT_YET)
        if known is not _NOT_YET:
            return known
        if question in self._open:
            self._rests_on = min(self._rests_on, self._open[question])
            return None
        level = len(self._open)
        if level > MAX_LEVELS:
            raise GaveUp(
                f"values nested more than {MAX_LEVELS} levels deep would have to be compared"
            )
        outside, self._rests_on = self._rests_on, math.inf
        self._open[question] = level
        try:
            found = self._of_any_type(formulas)
        finally:
            del self._open[question]
        if found is not None or self._rests_on >= level:
            _remember(question, found)
            self._rests_on = math.inf
        self._rests_on = min(self._rests_on, outside)
        return found

    def types(self, *formulas: Formula) -> list[JsonType]:
        """The types that a value which satisfies all of them may have."""
        return [type for type in JsonType if self._of_type(type, formulas) is not None]

    def cases(self, type: JsonType, formulas: Iterable[Formula], limit: int) -> list[Branch]:
        """The cases that a value of `type` which satisfies all of them may be, without choices.

        With more than `limit` of them: one, with what holds in every case.
        """
        whole = Branch(type)
        if not whole.add(formulas):
            return []
        found: list[Branch] = []
        pending = [whole.copy()]
        while pending:
            branch = pending.pop()
            if self._explore(branch, pending) is not None:
                found.append(branch)
            if len(found) + len(pending) > limit:
                return [whole]
        return found

    def _of_any_type(self, formulas: tuple[Formula, ...]) -> Candidate | None:
        for type in _ORDER:
            found = self._of_type(type, formulas)
            if found is not None:
                return found
        return None

    def _of_type(self, type: JsonType, formulas: tuple[Formula, ...]) -> Candidate | None:
        self.step()
        if type in _FINITE:
            return _first_that_holds(_FINITE[type], formulas, type)
        branch = Branch(type)
        if not branch.add(formulas):
            return None
        pending = [branch]
        while pending:
            found = self._explore(pending.pop(), pending)
            if found is not None:
                return found
        return None

    def _explore(self, branch: Branch, pending: list[Branch]) -> Candidate | None:
        """Go on from `branch`: a candidate, or more branches in `pending`."""
        while True:
            found = self._consistent(branch)
            if found is None or not branch.choices:
                return found
            narrowed = self._narrow(branch)
            if narrowed is None:
                return None
            if narrowed:
                break
        pending += reversed(self._split(branch))
        return None

    def _consistent(self, branch: Branch, agreed: int = 0) -> Candidate | None:
        """A candidate for the branch's atoms alone; for an enumeration, with the choices too."""
        self.step(1 + len(branch.atoms) // ATOMS_OF_A_STEP)
        for atom in branch.atoms:
            if atom.keyword == "enum" and atom.positive:
                values = atom.arguments[0].by_type.get(branch.type, ())
                return _first_that_holds(values, (*branch.atoms, *branch.choices), branch.type)
        return _THEORIES[branch.type](self, branch.atoms, agreed)

    def _narrow(self, branch: Branch) -> bool | None:
        """Take in what only one option is left of.

        None for a contradiction, True where nothing was left to take in.
        """
        choices, branch.choices = branch.choices, []
        quiet = True
        for choice in choices:
            options = _options(branch, choice)
            if options is None:
                continue
            if len(options) < 2:
                quiet = False
                if not options or not branch.add(options):
                    return None
            else:
                branch.choices.append(choice)
        return quiet

    def _split(self, branch: Branch) -> list[Branch]:
        """The branches of the first choice that is left, the writer's being before the reader's.

        Once it is known which of its cases the writer writes, most of the reader's are decided.
        """
        tried: list[tuple[Or | OneOf, list[Formula], list[Branch]]] = []
        for choice in branch.choices:
            options = _options(branch, choice) or []
            branches = [b for option in options if (b := self._tried(branch, option, choice))]
            if len(branches) < 2:
                return branches
            tried.append((choice, options, branches))
        dropped: list[Or | OneOf] = []
        for choice, options, branches in tried:
            if not self._certain(branch, options):
                for one in branches:
                    one.choices = [other for other in one.choices if other not in dropped]
                return branches
            dropped.append(choice)
        branch.choices = []
        return [branch]

    def _tried(
        self, branch: Branch, option: Formula, choice: Or | OneOf | None = None
    ) -> Branch | None:
        """The branch in which `option` is taken, of `choice`, if it is not contradictory."""
        other = branch.copy()
        if choice is not None:
            other.choices.remove(choice)
        if other.add((option,)) and self._consistent(other, len(branch.atoms)) is not None:
            return other
        return None

    def _certain(self, branch: Branch, options: list[Formula]) -> bool:
        """Whether one of the options holds anyway."""
        return any(self._tried(branch, option.complement) is None for option in options)


#: What has been found out, in all comparisons: versions of one schema have most in common.
_KNOWN: dict[frozenset[Formula], Candidate | None] = {}
_NOT_YET = Candidate(None, known=False)
#: Some ten megabytes. Several threads may share it: what one of them clears, others find out anew.
MAX_KNOWN = 10_000


def _remember(question: frozenset[Formula], found: Candidate | None) -> None:
    if len(_KNOWN) >= MAX_KNOWN:
        _KNOWN.clear()
    _KNOWN[question] = found


def _first_that_holds(
    values: Iterable[Any], formulas: Iterable[Formula], type: JsonType
) -> Candidate | None:
    wanted = []
    for formula in formulas:
        decided = formula.of_type(type)
        if decided is False:
            return None
        if decided is None:
            wanted.append(formula)
    for value in values:
        if all(holds(formula, value) is not False for formula in wanted):
            return Candidate(value)
    return None


def _options(branch: Branch, choice: Or | OneOf) -> list[Formula] | None:
    """The ways in which `choice` may still hold; None if it holds."""
    decided = [(part, branch.decided(part)) for part in choice.parts]
    true = [part for part, value in decided if value]
    unsure = [part for part, value in decided if value is None]
    if isinstance(choice, Or):
        return None if true else unsure
    if choice.positive:
        return list(_exactly_one(true, unsure))
    return None if len(true) > 1 else list(_not_one(true, unsure))


def _exactly_one(true: list[Formula], unsure: list[Formula]) -> Iterator[Formula]:
    if len(true) > 1:
        return
    none = [part.complement for part in unsure]
    if true:
        yield all_of(none)
        return
    for index, part in enumerate(unsure):
        yield all_of((part, *none[:index], *none[index + 1 :]))


def _not_one(true: list[Formula], unsure: list[Formula]) -> Iterator[Formula]:
    if true:
        yield any_of(unsure)
        return
    yield all_of(part.complement for part in unsure)
    for index, part in enumerate(unsure[:-1]):
        yield all_of((part, any_of(unsure[index + 1 :])))
