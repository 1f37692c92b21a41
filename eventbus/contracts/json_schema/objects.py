"""Objects that satisfy what is said of their members, names and size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count, product
from typing import TYPE_CHECKING, NamedTuple

from eventbus.contracts.json_schema.candidates import SOMETHING, Candidate
from eventbus.contracts.json_schema.counts import Counts, counts
from eventbus.contracts.json_schema.evaluating import holds
from eventbus.contracts.json_schema.formulas import (
    ANY_KEY,
    FALSE,
    Atom,
    Formula,
    JsonType,
    KeySet,
    atom,
)
from eventbus.contracts.json_schema.patterns.automata import Answer, find_text, matches

if TYPE_CHECKING:
    from eventbus.contracts.json_schema.satisfying import Search

#: Patterns that are told apart in one object; with more, none of them is relied on.
MAX_PATTERNS = 6
#: Members of an example.
MAX_EXAMPLE = 200
_STRING = atom("type", None, frozenset((JsonType.STRING,)))


class _Some(NamedTuple):
    """That a member exists: its name is in `keys` and satisfies `name`, its value `value`."""

    keys: KeySet
    name: tuple[Formula, ...]
    value: tuple[Formula, ...]


class Key(NamedTuple):
    """A name that is mentioned, or (None) any that is not; and which patterns match it."""

    name: str | None
    matched: frozenset[str]


class Objects:
    """The atoms of one branch, by what they speak of."""

    def __init__(self, search: Search, atoms: Iterable[Atom]) -> None:
        self.search = search
        self.size = Counts(0, None)
        self.present: dict[str, list[Formula]] = {}
        self.absent: set[str] = set()
        self.named: dict[str, list[Formula]] = defaultdict(list)
        self.sets: list[tuple[KeySet, Formula]] = []
        self.names: list[Formula] = []
        self.some: list[_Some] = []
        for one in atoms:
            self._take(one)
        self._patterns = {p for keys, _ in self.sets for p in keys.patterns}
        self._patterns |= {p for one in self.some for p in one.keys.patterns}
        #: Whether there are so many patterns that it counts as unknown what they match.
        self._blurred = len(self._patterns) > MAX_PATTERNS
        self._unmentioned: list[Key] | None = None

    def look_at(self, keys: KeySet) -> None:
        """Tell the names and patterns of `keys` apart as well."""
        self.some.append(_Some(keys, (), ()))
        self._patterns |= keys.patterns
        self._blurred = len(self._patterns) > MAX_PATTERNS

    def every_key(self) -> list[Key]:
        """The names that a member may have."""
        found = [key for name in self.mentioned() for key in self.keys(name)]
        return [key for key in found if self.name(key) is not None] + self.unmentioned()

    def _take(self, one: Atom) -> None:
        if one.keyword == "required":
            name = one.arguments[0]
            if one.positive:
                self.present.setdefault(name, [])
            else:
                self.absent.add(name)
        elif one.keyword == "members":
            self._take_members(one.arguments[0], one.arguments[1], one.positive)
        elif one.keyword == "names":
            each = one.arguments[0]
            if one.positive:
                self.names.append(each)
            else:
                self.some.append(_Some(ANY_KEY, (each.complement,), ()))

    def _take_members(self, keys: KeySet, each: Formula, positive: bool) -> None:
        name = keys.only
        if name is None and positive:
            self.sets.append((keys, each))
        elif name is None:
            self.some.append(_Some(keys, (), (each.complement,)))
        elif not positive:
            self.present.setdefault(name, []).append(each.complement)
        elif each is FALSE:
            self.absent.add(name)
        else:
            self.named[name].append(each)

    @property
    def full(self) -> bool:
        """Whether no other members may be there than those that have to."""
        return self.size.most is not None and len(self.present) >= self.size.most

    def keys(self, name: str) -> list[Key]:
        """The ways in which the patterns may match `name`; several where that is not known."""
        if not self._patterns:
            return [Key(name, frozenset())]
        known, open_patterns = set(), []
        for pattern in self._patterns:
            matched = None if self._blurred else matches(pattern, name)
            if matched is None and not self._blurred:
                open_patterns.append(pattern)
            elif matched:
                known.add(pattern)
        return [
            Key(
                name,
                frozenset(known | {p for p, yes in zip(open_patterns, way, strict=True) if yes}),
            )
            for way in product((False, True), repeat=len(open_patterns))
        ]

    def mentioned(self) -> list[str]:
        """Every name that something is said of, without those that have to be absent."""
        found = dict.fromkeys((*self.present, *self.named))
        for keys in (*(keys for keys, _ in self.sets), *(one.keys for one in self.some)):
            found.update(dict.fromkeys(keys.names))
        return [name for name in found if name not in self.absent]

    def unmentioned(self) -> list[Key]:
        """The kinds of all other names: which patterns match them."""
        if self._unmentioned is None:
            if self._blurred:
                self._unmentioned = [Key(None, frozenset())]
            else:
                self._unmentioned = [
                    key for key in self._combinations() if self.name(key) is not None
                ]
        return self._unmentioned

    def _combinations(self) -> Iterator[Key]:
        patterns = sorted(self._patterns)
        for way in product((False, True), repeat=len(patterns)):
            yield Key(None, frozenset(p for p, yes in zip(patterns, way, strict=True) if yes))

    def name(self, key: Key, *more: Formula) -> Candidate | None:
        """A name of this kind that may be there and satisfies `more`."""
        wanted = [*self.names, *more]
        if key.name is not None:
            possible = all(holds(each, key.name) is not False for each in wanted)
            return Candidate(key.name) if possible else None
        if wanted:
            return self._name_that_satisfies(key, wanted)
        if self._blurred:
            return SOMETHING
        if not self._patterns:
            taken = {*self.mentioned(), *self.absent}
            return Candidate(next(name for n in count(1) if (name := f"x{n}") not in taken))
        found = find_text(
            key.matched,
            frozenset(self._patterns) - key.matched,
            excluded=frozenset((*self.mentioned(), *self.absent)),
            spend=self.search.spend,
        )
        if found is Answer.NONE:
            return None
        return Candidate(found) if isinstance(found, str) else SOMETHING

    def _name_that_satisfies(self, key: Key, wanted: list[Formula]) -> Candidate | None:
        if not self._blurred:
            wanted += [
                atom("pattern", JsonType.STRING, pattern, positive=pattern in key.matched)
                for pattern in self._patterns
            ]
        taken = [*self.mentioned(), *self.absent]
        if taken:
            wanted.append(_other_than(taken))
        return self.search.satisfy(_STRING, *wanted)

    def value(self, key: Key, *more: Formula) -> Candidate | None:
        """What may stand under such a name and satisfies `more`."""
        return self.search.satisfy(*self.demands(key), *more)

    def demands(self, key: Key) -> list[Formula]:
        """What a value under such a name has to satisfy."""
        wanted: list[Formula] = []
        if key.name is not None:
            wanted += self.named.get(key.name, ())
            wanted += self.present.get(key.name, ())
        for keys, each in self.sets:
            # Where it is unknown what the patterns match, a demand on what they match is left out.
            if (
                self._blurred
                and keys.patterns
                and not (key.name in keys.names and not keys.inverted)
            ):
                continue
            if keys.has(key.name, key.matched.__contains__):
                wanted.append(each)
        return wanted

    def may_concern(self, keys: KeySet, key: Key) -> bool:
        """Whether `key` is, or may be, one of `keys`."""
        if self._blurred and keys.patterns:
            return not (key.name in keys.names and keys.inverted)
        return keys.has(key.name, key.matched.__contains__)


def _other_than(names: list[str]) -> Formula:
    from eventbus.contracts.json_schema.keywords import one_of_values

    return one_of_values(names).complement


def candidate(search: Search, atoms: list[Atom], agreed: int) -> Candidate | None:
    """An object that may satisfy `atoms`; None if there is none."""
    found = Objects(search, atoms)
    if not found.absent.isdisjoint(found.present):
        return None
    found.size = counts(atoms, "minProperties", "maxProperties").at_least(len(found.present))
    if found.size.none:
        return None
    touched = _touched(found, atoms[agreed:]) if agreed else None
    if touched is not None:
        return SOMETHING if _has_present(found, {}, touched) else None
    example: dict[str, Candidate] = {}
    if not _has_present(found, example) or not _has_some(found, example):
        return None
    if not _has_enough(found, example):
        return None
    if len(example) < found.size.least:
        return SOMETHING
    known = all(one.known for one in example.values())
    return Candidate({name: one.value for name, one in example.items()}, known)


def _touched(found: Objects, atoms: list[Atom]) -> list[str] | None:
    """The names of members that `atoms` speak of, if it is enough to look at these."""
    if found.some or found.size.least > len(found.present):
        return None
    names = []
    for one in atoms:
        name = one.arguments[0] if one.keyword == "required" else None
        if one.keyword == "members":
            name = one.arguments[0].only
        if name is None:
            return None
        names.append(name)
    return names


def _has_present(
    found: Objects, example: dict[str, Candidate], touched: list[str] | None = None
) -> bool:
    for name in found.present if touched is None else touched:
        if name not in found.present:
            continue
        for key in found.keys(name):
            value = found.value(key) if found.name(key) is not None else None
            if value is not None:
                example[name] = value
                break
        else:
            return False
    return True


def _has_some(found: Objects, example: dict[str, Candidate]) -> bool:
    return all(_has_one(found, one, example) for one in found.some)


def _has_one(found: Objects, one: _Some, example: dict[str, Candidate]) -> bool:
    for key in _keys(found):
        if not found.may_concern(one.keys, key):
            continue
        name = found.name(key, *one.name)
        value = found.value(key, *one.value) if name is not None else None
        if name is not None and value is not None:
            if name.known and isinstance(name.value, str):
                example[name.value] = value
            else:
                example[""] = SOMETHING
            return True
    return False


def _keys(found: Objects) -> Iterator[Key]:
    """Yield the names that a member may have, the ones that are there anyway first."""
    for name in found.present:
        yield from found.keys(name)
    if found.full:
        return
    yield from found.unmentioned()
    for name in found.mentioned():
        if name not in found.present:
            yield from found.keys(name)


def _has_enough(found: Objects, example: dict[str, Candidate]) -> bool:
    """Whether as many members are possible as there have to be."""
    missing = found.size.least - len(found.present)
    if missing <= 0:
        return True
    for name in found.mentioned():
        if name in found.present:
            continue
        for key in found.keys(name):
            value = found.value(key) if found.name(key) is not None else None
            if value is not None:
                missing -= 1
                if len(example) < found.size.least:
                    example.setdefault(name, value)
                break
        if missing <= 0:
            return True
    return any(_fill(found, key, example) for key in found.unmentioned())


def _fill(found: Objects, key: Key, example: dict[str, Candidate]) -> bool:
    value = found.value(key)
    if value is None:
        return False
    number = 0
    while not key.matched and len(example) < found.size.least and number < MAX_EXAMPLE:
        number += 1
        name = f"x{number}"
        if name not in found.absent and name not in found.named:
            example.setdefault(name, value)
    return True
