"""Whether a text exists that some patterns match and others do not: decided with automata.

Only what both ECMA-262 and Python say is said: a text is found missing when it is missing by the
rules of each of them.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache

from eventbus.contracts.json_schema.patterns.syntax import (
    ANY_CHARACTER,
    MAX_CODE_POINT,
    BadPattern,
    Characters,
    Choice,
    End,
    Node,
    Ranges,
    Reading,
    Repeat,
    Sequence,
    Start,
    has,
    parse,
)

#: States of one pattern; a repetition of a thousand characters is beyond it.
MAX_STATES = 1_500
#: Steps of a search before it is given up.
MAX_STEPS = 20_000
#: Steps that an automaton remembers.
MAX_KNOWN_STEPS = 2_000
#: Lengths that are counted in a search; longer texts count as of any length.
MAX_LENGTH = 600
#: Characters of the texts that are left out, together.
MAX_EXCLUDED = 3_000


class Answer(enum.Enum):
    """What a search gave where it is no text."""

    NONE = "there is no such text"
    UNKNOWN = "not decided"


class Unsupported(Exception):
    """No automaton stands for this pattern."""


class Automaton:
    """One pattern, searched for anywhere in a text, as a nondeterministic automaton."""

    def __init__(self, pattern: str, reading: Reading) -> None:
        self._reading = reading
        self.empty: list[list[int]] = []
        self.at_start: list[list[int]] = []
        self.at_end: list[list[int]] = []
        self.moves: list[list[tuple[Ranges, int]]] = []
        before, self.found = self._state(), self._state()
        self._move(before, ANY_CHARACTER.ranges, before)
        self._move(self.found, ANY_CHARACTER.ranges, self.found)
        try:
            begin, end = self._build(parse(pattern, reading), True, True)
        except (BadPattern, RecursionError):
            raise Unsupported from None
        self.empty[before].append(begin)
        self.empty[end].append(self.found)
        self._useful = self._reaching()
        self._known: dict[tuple[frozenset[int], int], frozenset[int]] = {}
        self.initial = self._closed({before}, start=True)

    def _state(self) -> int:
        if len(self.moves) > MAX_STATES:
            raise Unsupported
        for table in (self.empty, self.at_start, self.at_end, self.moves):
            table.append([])
        return len(self.moves) - 1

    def _move(self, before: int, ranges: Ranges, after: int) -> None:
        self.moves[before].append((ranges, after))

    def _build(self, node: Node, first: bool, last: bool) -> tuple[int, int]:
        """Add states for `node`; `first`, `last`: nothing but anchors is before, or after it."""
        if isinstance(node, Characters):
            begin, end = self._state(), self._state()
            self._move(begin, node.ranges, end)
            return begin, end
        if isinstance(node, Sequence):
            return self._sequence(node, first, last)
        if isinstance(node, Choice):
            return self._choice(node, first, last)
        if isinstance(node, Repeat):
            return self._repeat(node)
        if isinstance(node, Start) and first:
            begin, end = self._state(), self._state()
            self.at_start[begin].append(end)
            return begin, end
        if isinstance(node, End) and last:
            return self._end()
        raise Unsupported

    def _end(self) -> tuple[int, int]:
        begin, end = self._state(), self._state()
        self.at_end[begin].append(end)
        if self._reading is Reading.PYTHON:
            after = self._state()
            self._move(begin, ((0x0A, 0x0A),), after)
            self.at_end[after].append(end)
        return begin, end

    def _sequence(self, node: Sequence, first: bool, last: bool) -> tuple[int, int]:
        begin = end = self._state()
        parts = node.parts
        for index, part in enumerate(parts):
            leads = first and all(isinstance(one, Start) for one in parts[:index])
            ends = last and all(isinstance(one, End) for one in parts[index + 1 :])
            inner, after = self._build(part, leads, ends)
            self.empty[end].append(inner)
            end = after
        return begin, end

    def _choice(self, node: Choice, first: bool, last: bool) -> tuple[int, int]:
        begin, end = self._state(), self._state()
        for part in node.parts:
            inner, after = self._build(part, first, last)
            self.empty[begin].append(inner)
            self.empty[after].append(end)
        return begin, end

    def _repeat(self, node: Repeat) -> tuple[int, int]:
        begin = end = self._state()
        for _ in range(node.least):
            inner, after = self._build(node.inner, False, False)
            self.empty[end].append(inner)
            end = after
        if node.most is None:
            inner, after = self._build(node.inner, False, False)
            loop = self._state()
            self.empty[end].append(loop)
            self.empty[loop].append(inner)
            self.empty[after].append(loop)
            return begin, loop
        done = self._state()
        for _ in range(node.most - node.least):
            self.empty[end].append(done)
            inner, after = self._build(node.inner, False, False)
            self.empty[end].append(inner)
            end = after
        self.empty[end].append(done)
        return begin, done

    def _reaching(self) -> set[int]:
        """Return the states from which it may still be found; the start of the text is over."""
        before: list[list[int]] = [[] for _ in self.moves]
        for state in range(len(self.moves)):
            for after in (*self.empty[state], *self.at_end[state]):
                before[after].append(state)
            for _, after in self.moves[state]:
                before[after].append(state)
        found, pending = {self.found}, [self.found]
        while pending:
            for state in before[pending.pop()]:
                if state not in found:
                    found.add(state)
                    pending.append(state)
        return found

    def _closed(
        self, states: Iterable[int], start: bool = False, end: bool = False
    ) -> frozenset[int]:
        found = set(states)
        pending = list(found)
        while pending:
            state = pending.pop()
            following = self.empty[state]
            if start and self.at_start[state]:
                following = following + self.at_start[state]
            if end and self.at_end[state]:
                following = following + self.at_end[state]
            for after in following:
                if after not in found:
                    found.add(after)
                    pending.append(after)
        # Once found, it stays found: nothing else needs to be followed.
        if self.found in found:
            return frozenset((self.found,))
        return frozenset(found & self._useful)

    def after(self, states: frozenset[int], code: int) -> frozenset[int]:
        """The states after one more character."""
        known = self._known.get((states, code))
        if known is None:
            known = self._stepped(states, code)
            if len(self._known) < MAX_KNOWN_STEPS:
                self._known[states, code] = known
        return known

    def _stepped(self, states: frozenset[int], code: int) -> frozenset[int]:
        reached = {
            after for state in states for ranges, after in self.moves[state] if has(ranges, code)
        }
        return self._closed(reached)

    def accepts(self, states: frozenset[int], at_start: bool) -> bool:
        """Whether the pattern is found if the text ends here."""
        return self.found in self._closed(states, start=at_start, end=True)

    def matches(self, text: str) -> bool:
        """Whether the pattern is found in `text`."""
        states = self.initial
        for character in text:
            if self.found in states:
                return True
            states = self.after(states, ord(character))
        return self.accepts(states, at_start=not text)


@lru_cache(maxsize=256)
def automaton(pattern: str, reading: Reading) -> Automaton | None:
    """The automaton of a pattern, or None where there is none."""
    try:
        return Automaton(pattern, reading)
    except Unsupported:
        return None


@lru_cache(maxsize=10_000)
def matches(pattern: str, text: str) -> bool | None:
    """Whether a pattern is found in `text`; None where that depends on who reads the pattern."""
    if len(text) > 10_000:
        return None
    found = set()
    for reading in Reading:
        machine = automaton(pattern, reading)
        if machine is None:
            return None
        found.add(machine.matches(text))
    return found.pop() if len(found) == 1 else None


def find_text(
    matched: frozenset[str],
    unmatched: frozenset[str],
    shortest: int = 0,
    longest: int | None = None,
    excluded: frozenset[str] = frozenset(),
    spend: Callable[[int], None] = lambda steps: None,
) -> str | Answer:
    """Find a text that each of `matched` is found in and none of `unmatched`.

    Parameters
    ----------
    shortest, longest:
        Its length in code points.
    excluded:
        Texts that it may not be.
    spend:
        Told how many steps were needed; it may raise.
    """
    if matched & unmatched:
        return Answer.NONE
    answers = []
    for reading in Reading:
        answer, steps = _search(matched, unmatched, shortest, longest, excluded, reading)
        spend(steps)
        answers.append(answer)
    if all(answer is Answer.NONE for answer in answers):
        return Answer.NONE
    texts = [answer for answer in answers if isinstance(answer, str)]
    return texts[0] if texts else Answer.UNKNOWN


@lru_cache(maxsize=1_000)
def _search(
    matched: frozenset[str],
    unmatched: frozenset[str],
    shortest: int,
    longest: int | None,
    excluded: frozenset[str],
    reading: Reading,
) -> tuple[str | Answer, int]:
    """Search breadth first, all patterns in step; patterns without an automaton are left out.

    Left out, they only make more texts possible, so that "there is none" stays true.
    """
    wanted = [automaton(pattern, reading) for pattern in sorted(matched)]
    unwanted = [automaton(pattern, reading) for pattern in sorted(unmatched)]
    certain = None not in wanted and None not in unwanted
    machines = [(m, True) for m in wanted if m] + [(m, False) for m in unwanted if m]
    counted = max(shortest, 0 if longest is None else longest + 1)
    if counted > MAX_LENGTH:
        counted, shortest, longest, certain = 0, 0, None, False
    if sum(map(len, excluded)) > MAX_EXCLUDED:
        excluded, certain = frozenset(), False
    tree = _tree(excluded)
    codes = _alphabet([machine for machine, _ in machines], excluded)
    start: _State = (tuple(machine.initial for machine, _ in machines), 0, 0)
    seen: set[_State] = {start}
    pending: deque[tuple[_State, str]] = deque([(start, "")])
    steps = 0
    while pending:
        (states, node, length), text = pending.popleft()
        if (
            length >= shortest
            and (longest is None or length <= longest)
            and not (node is not None and tree[node][1])
            and all(
                machine.accepts(current, not text) is wish
                for (machine, wish), current in zip(machines, states, strict=True)
            )
        ):
            return text if certain else Answer.UNKNOWN, steps
        if longest is not None and length >= longest:
            continue
        for code in codes:
            steps += 1 + sum(map(len, states)) // 8
            if steps > MAX_STEPS:
                return Answer.UNKNOWN, steps
            after = tuple(
                machine.after(current, code)
                for (machine, _), current in zip(machines, states, strict=True)
            )
            # A pattern that is wanted and cannot be found any more, or the other way round.
            if any(
                (not current) if wish else machine.found in current
                for (machine, wish), current in zip(machines, after, strict=True)
            ):
                continue
            next_node = None if node is None else tree[node][0].get(code)
            state = (after, next_node, min(length + 1, counted))
            if state not in seen:
                seen.add(state)
                pending.append((state, text + chr(code)))
    return Answer.NONE, steps


#: The states of each automaton, the node in the tree of excluded texts, and the length so far.
_State = tuple[tuple[frozenset[int], ...], int | None, int]


def _tree(texts: Iterable[str]) -> list[tuple[dict[int, int], bool]]:
    """Return the texts as a tree of code points; the flag tells where one of them ends."""
    following: list[dict[int, int]] = [{}]
    ends: set[int] = set()
    for text in texts:
        node = 0
        for character in text:
            node = following[node].setdefault(ord(character), len(following))
            if node == len(following):
                following.append({})
        ends.add(node)
    return [(after, node in ends) for node, after in enumerate(following)]


def _alphabet(machines: list[Automaton], excluded: Iterable[str]) -> list[int]:
    """Return one code point for each kind of character that the automata can tell apart."""
    classes = {ranges for machine in machines for moves in machine.moves for ranges, _ in moves}
    classes |= {((ord(c), ord(c)),) for text in excluded for c in text}
    edges = {0, ord("a"), ord("b")}
    for ranges in classes:
        for low, high in ranges:
            edges.add(low)
            if high < MAX_CODE_POINT:
                edges.add(high + 1)
    kinds: dict[frozenset[int], int] = {}
    table = list(classes)
    # Letters first: they read best in an example.
    for code in sorted(edges, key=lambda code: (not chr(code).isalnum() or code > 0x7F, code)):
        kind = frozenset(index for index, ranges in enumerate(table) if has(ranges, code))
        kinds.setdefault(kind, code)
    return list(kinds.values())
