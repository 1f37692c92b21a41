"""Patterns that could take a backtracking matcher exponential time are refused.

A pattern is dangerous where one text can lead it round a loop in two ways (exponential ambiguity;
Weideman et al., "Analyzing Matching Time Behavior of Backtracking Regular Expression Matchers",
2016). Searched for in the automaton of positions: which character may follow which, and in how many
ways.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

from eventbus.contracts.json_schema.patterns.syntax import (
    BadPattern,
    Characters,
    Choice,
    Node,
    Other,
    Ranges,
    Reading,
    Repeat,
    Sequence,
    parse,
)
from eventbus.errors import InvalidSchema

#: Repetitions that count as any number: each of them doubles what a matcher may have to try.
MANY = 8
#: Steps of the search for an ambiguity; a pattern that needs more is refused.
MAX_STEPS = 100_000


def check_pattern(pattern: str, where: str) -> None:
    """Refuse what is no regular expression, or could take exponential time: InvalidSchema."""
    problem = _problem(pattern)
    if problem:
        raise InvalidSchema(f"the pattern {pattern[:80]!r} at {where[:200]} {problem}")


@lru_cache(maxsize=10_000)
def _problem(pattern: str) -> str:
    try:
        tree = parse(pattern, Reading.ECMA)
        positions = _Positions()
        positions.add(tree)
        if positions.ambiguous():
            return "could take exponential time; write it without a repetition inside another"
    except BadPattern as error:
        return f"is no regular expression that is read here: {error}"
    except RecursionError:
        return "is nested too deep"
    return ""


@dataclass
class _Ends:
    """Where a part of a pattern may begin and end, in how many ways, and if it may be empty."""

    first: Counter[int] = field(default_factory=Counter)
    last: Counter[int] = field(default_factory=Counter)
    empty: bool = True
    loops: bool = False


class _Positions:
    def __init__(self) -> None:
        self.characters: list[Ranges] = []
        self.following: dict[int, Counter[int]] = {}
        self._steps = 0

    def _step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps > MAX_STEPS:
            raise BadPattern("it is too complex to tell how long it may take")

    def add(self, node: Node) -> _Ends:
        if isinstance(node, Characters):
            return self._character(node)
        if isinstance(node, Sequence):
            return self._sequence(node)
        if isinstance(node, Choice):
            return self._choice(node)
        if isinstance(node, Repeat):
            return self._repeat(node)
        if isinstance(node, Other) and node.inner is not None:
            return self.add(node.inner)
        return _Ends()

    def _character(self, node: Characters) -> _Ends:
        self._step()
        position = len(self.characters)
        self.characters.append(node.ranges)
        return _Ends(Counter({position: 1}), Counter({position: 1}), empty=False)

    def _sequence(self, node: Sequence) -> _Ends:
        whole = _Ends()
        for part in node.parts:
            ends = self.add(part)
            self._follow(whole.last, ends.first)
            whole.first = whole.first + ends.first if whole.empty else whole.first
            whole.last = whole.last + ends.last if ends.empty else ends.last
            whole.empty = whole.empty and ends.empty
            whole.loops = whole.loops or ends.loops
            self._step(len(whole.first) + len(whole.last))
        return whole

    def _choice(self, node: Choice) -> _Ends:
        whole = _Ends(empty=False)
        for part in node.parts:
            ends = self.add(part)
            whole.first += ends.first
            whole.last += ends.last
            whole.empty = whole.empty or ends.empty
            whole.loops = whole.loops or ends.loops
        return whole

    def _repeat(self, node: Repeat) -> _Ends:
        ends = self.add(node.inner)
        most = node.most
        if most is None or most > MANY or (most > 2 and ends.loops):
            self._follow(ends.last, ends.first)
            ends.loops = True
        ends.empty = ends.empty or node.least == 0
        return ends

    def _follow(self, last: Counter[int], first: Counter[int]) -> None:
        self._step(len(last) * len(first))
        for before, ways in last.items():
            following = self.following.setdefault(before, Counter())
            for after, times in first.items():
                following[after] += ways * times

    def ambiguous(self) -> bool:
        """Whether some text leads from a position back to it in two ways."""
        singles = {p: list(following) for p, following in self.following.items()}
        loops = _components(singles)
        inside = {p: loops.get(p) for p in singles}
        pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
        pending = [(p, p) for p, loop in inside.items() if loop is not None]
        while pending:
            pair = pending.pop()
            if pair not in pairs:
                pairs[pair] = self._pairs_after(pair, inside)
                pending += pairs[pair]
        components = _components(pairs)
        diagonal = {components[p, q] for p, q in pairs if p == q and (p, q) in components}
        if any(p != q and components.get((p, q)) in diagonal for p, q in pairs):
            return True
        return any(
            ways > 1 and inside.get(p) is not None and inside.get(p) == inside.get(q)
            for p, following in self.following.items()
            for q, ways in following.items()
        )

    def _pairs_after(
        self, pair: tuple[int, int], inside: dict[int, int | None]
    ) -> list[tuple[int, int]]:
        one, other = pair
        loop = inside[one]
        found = []
        for p in self.following[one]:
            if inside.get(p) != loop:
                continue
            for q in self.following[other]:
                self._step()
                if inside.get(q) == loop and _overlap(self.characters[p], self.characters[q]):
                    found.append((min(p, q), max(p, q)))
        return found


@lru_cache(maxsize=20_000)
def _overlap(one: Ranges, other: Ranges) -> bool:
    return any(low <= end and start <= high for low, high in one for start, end in other)


def _components(graph: dict) -> dict:  # type: ignore[type-arg]
    """Return the strongly connected component of each node that lies on a circle (Tarjan 1972)."""
    index: dict = {}  # type: ignore[type-arg]
    lowest: dict = {}  # type: ignore[type-arg]
    stack: list = []  # type: ignore[type-arg]
    found: dict = {}  # type: ignore[type-arg]
    for start in graph:
        if start in index:
            continue
        work = [(start, iter(graph[start]))]
        index[start] = lowest[start] = len(index)
        stack.append(start)
        on_stack = {start}
        while work:
            node, following = work[-1]
            for after in following:
                if after not in graph:
                    continue
                if after not in index:
                    index[after] = lowest[after] = len(index)
                    stack.append(after)
                    on_stack.add(after)
                    work.append((after, iter(graph[after])))
                    break
                if after in on_stack:
                    lowest[node] = min(lowest[node], index[after])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == index[node]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == node:
                            break
                    if len(component) > 1 or node in graph[node]:
                        found.update(dict.fromkeys(component, index[node]))
    return found
