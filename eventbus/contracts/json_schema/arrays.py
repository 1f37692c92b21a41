"""Arrays that satisfy what is said of their items and their length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

from eventbus.contracts.json_schema.candidates import SOMETHING, Candidate
from eventbus.contracts.json_schema.counts import Counts, counts
from eventbus.contracts.json_schema.formulas import Atom, Formula

if TYPE_CHECKING:
    from eventbus.contracts.json_schema.satisfying import Search

#: Items that are compared with each other.
MAX_PAIRED = 12
#: Items of an example.
MAX_EXAMPLE = 200


class Arrays:
    """The atoms of one branch, by what they speak of."""

    def __init__(self, search: Search, atoms: Iterable[Atom]) -> None:
        self.search = search
        self.length = Counts(0, None)
        #: What each item at an index satisfies, if there is one; and each from an index on.
        self.at: dict[int, list[Formula]] = defaultdict(list)
        self.since: list[tuple[int, Formula]] = []
        #: The item at this index exists and satisfies these; so does one from an index on.
        self.some_at: dict[int, list[Formula]] = defaultdict(list)
        self.some_since: list[tuple[int, Formula]] = []
        self.at_least: list[tuple[Formula, int]] = []
        self.fewer_than: list[tuple[Formula, int]] = []
        self.unique: set[bool] = set()
        for atom in atoms:
            self._take(atom)
        self._extend()

    def _take(self, atom: Atom) -> None:
        if atom.keyword in ("item", "items"):
            index, each = atom.arguments
            if atom.positive and atom.keyword == "item":
                self.at[index].append(each)
            elif atom.positive:
                self.since.append((index, each))
            elif atom.keyword == "item":
                self.some_at[index].append(each.complement)
            else:
                self.some_since.append((index, each.complement))
        elif atom.keyword == "contains":
            (self.at_least if atom.positive else self.fewer_than).append(atom.arguments)
        elif atom.keyword == "uniqueItems":
            self.unique.add(atom.positive)

    def _extend(self) -> None:
        for each, limit in self.fewer_than:
            if limit == 1:
                self.since.append((0, each.complement))
        self.some_since += [(0, each) for each, _ in self.at_least]
        #: From this index on, all items are alike.
        self.alike = max(
            [
                0,
                *(index + 1 for index in (*self.at, *self.some_at)),
                *(index for index, _ in (*self.since, *self.some_since)),
            ]
        )

    def bound(self, length: Counts) -> None:
        """Take in what the number of items has to be."""
        least = [index + 1 for index in (*self.some_at, *(index for index, _ in self.some_since))]
        least += [count for _, count in self.at_least]
        if False in self.unique:
            least.append(2)
        self.length = length.at_least(max(least, default=0))

    def item(self, index: int, *more: Formula) -> Candidate | None:
        """What may stand at `index`; at `alike` and beyond, anywhere from there on."""
        return self.search.satisfy(*self.demands(index), *more)

    def demands(self, index: int) -> list[Formula]:
        """What an item at `index` has to satisfy."""
        wanted = [each for start, each in self.since if start <= index]
        wanted += self.at.get(index, ())
        wanted += self.some_at.get(index, ())
        return wanted

    def indices(self) -> range:
        """The indices to look at; the last of them stands for all that are alike."""
        end = self.alike + 1
        return range(end if self.length.most is None else min(end, self.length.most))

    def places(self, each: Formula, start: int = 0) -> int | None:
        """How many items from `start` on may satisfy `each`; None: any number."""
        found = 0
        for index in self.indices():
            if index < start or self.item(index, each) is None:
                continue
            if index < self.alike:
                found += 1
            elif self.length.most is None:
                return None
            else:
                found += self.length.most - self.alike
        return found


def candidate(search: Search, atoms: list[Atom], _: int) -> Candidate | None:
    """An array that may satisfy `atoms`; None if there is none."""
    found = Arrays(search, atoms)
    if len(found.unique) > 1:
        return None
    found.bound(counts(atoms, "minItems", "maxItems"))
    if found.length.none:
        return None
    chosen = _filled(found)
    if found.length.none or not _places_suffice(found) or not _counts_agree(found):
        return None
    if False in found.unique and not _may_repeat(found):
        return None
    return chosen if chosen is not None else SOMETHING


def _filled(found: Arrays) -> Candidate | None:
    """An example; shortens `found.length` to the items that are possible."""
    possible: list[Candidate] = []
    for index in found.indices():
        one = found.item(index)
        if one is None:
            found.length = found.length.at_most(index)
            break
        possible.append(one)
    length = found.length.least
    if length > MAX_EXAMPLE or length > len(possible) + MAX_EXAMPLE or not possible:
        return Candidate([]) if length == 0 else None
    items = [possible[min(index, len(possible) - 1)] for index in range(length)]
    _place(found, items)
    return Candidate([one.value for one in items], all(one.known for one in items))


def _place(found: Arrays, items: list[Candidate]) -> None:
    """Put in what has to be somewhere: each at an index of its own, if there is one."""
    taken = set(found.some_at)
    wanted = [one for one in found.some_since if one[1] not in [f for f, _ in found.at_least]]
    wanted += [(0, each) for each, count in found.at_least for _ in range(min(count, MAX_EXAMPLE))]
    for start, each in wanted:
        for index in range(start, len(items)):
            one = found.item(min(index, found.alike), each) if index not in taken else None
            if one is not None:
                items[index] = one
                taken.add(index)
                break


def _places_suffice(found: Arrays) -> bool:
    """Whether what has to be somewhere may be there, often enough."""
    wanted: list[tuple[Formula, int, int]] = [(each, start, 1) for start, each in found.some_since]
    wanted += [(each, 0, count) for each, count in found.at_least]
    for each, start, count in wanted:
        places = found.places(each, start)
        if places is not None and places < count:
            return False
    return True


def _counts_agree(found: Arrays) -> bool:
    """Whether no more items satisfy something than may."""
    for each, limit in found.fewer_than:
        if limit > 1 and _certain(found, each) >= limit:
            return False
        for other, count in found.at_least:
            # What satisfies `other` satisfies `each` as well.
            if count >= limit and found.search.satisfy(other, each.complement) is None:
                return False
    return not _too_many_to_differ(found)


def _certain(found: Arrays, each: Formula) -> int:
    """How many items satisfy `each` in any case."""
    certain = 0
    for index in found.indices():
        if index < found.length.least and found.item(index, each.complement) is None:
            certain += 1 if index < found.alike else found.length.least - found.alike
    return certain


def _may_repeat(found: Arrays) -> bool:
    """Whether two of the items may be equal: one value then satisfies what both have to."""
    indices = found.indices()
    if len(indices) > MAX_PAIRED:
        return True
    most = found.length.most
    for one, other in combinations_with_replacement(indices, 2):
        if one == other and (one < found.alike or (most is not None and most < one + 2)):
            continue
        if found.search.satisfy(*found.demands(one), *found.demands(other)) is not None:
            return True
    return False


def _too_many_to_differ(found: Arrays) -> bool:
    """Whether the items have to differ, and there are fewer values than items."""
    if True not in found.unique or found.at or found.length.least < 2:
        return False
    sizes = [_size(each) for start, each in found.since if start == 0]
    known: list[Any] = [size for size in sizes if size is not None]
    return bool(known) and min(known) < found.length.least


def _size(each: Formula) -> int | None:
    """How many values satisfy it at most, where that is easily told."""
    if isinstance(each, Atom) and each.keyword == "enum" and each.positive:
        return len(each.arguments[0].keys)
    if isinstance(each, Atom) and each.keyword == "type" and each.positive:
        sizes = {0: 1, 1: 2}
        found = [sizes.get(int(type)) for type in each.arguments[0]]
        return None if None in found else sum(size or 0 for size in found)
    return None
