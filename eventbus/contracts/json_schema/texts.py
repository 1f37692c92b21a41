"""Texts that satisfy lengths and patterns."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from eventbus.contracts.json_schema.candidates import SOMETHING, Candidate
from eventbus.contracts.json_schema.counts import Counts, counts
from eventbus.contracts.json_schema.formulas import Atom, JsonType
from eventbus.contracts.json_schema.patterns.automata import Answer, find_text

if TYPE_CHECKING:
    from eventbus.contracts.json_schema.satisfying import Search

#: Characters of an example.
MAX_EXAMPLE = 5_000


def candidate(search: Search, atoms: list[Atom], _: int) -> Candidate | None:
    """A text that may satisfy `atoms`; None if there is none."""
    length = counts(atoms, "minLength", "maxLength")
    if length.none:
        return None
    excluded = frozenset(
        text
        for atom in atoms
        if atom.keyword == "enum"
        for text in atom.arguments[0].by_type.get(JsonType.STRING, ())
    )
    patterns = [atom for atom in atoms if atom.keyword == "pattern"]
    if not patterns:
        return _plain(length, excluded)
    found = find_text(
        frozenset(atom.arguments[0] for atom in patterns if atom.positive),
        frozenset(atom.arguments[0] for atom in patterns if not atom.positive),
        length.least,
        length.most,
        excluded,
        search.spend,
    )
    if found is Answer.NONE:
        return None
    return Candidate(found) if isinstance(found, str) else SOMETHING


def _plain(length: Counts, excluded: frozenset[str]) -> Candidate | None:
    if length.most == 0:
        return None if "" in excluded else Candidate("")
    if length.least > MAX_EXAMPLE:
        return SOMETHING
    if length.least == 0 and "" not in excluded:
        return Candidate("")
    rest = "x" * (max(length.least, 1) - 1)
    # There are a million characters, and fewer values in an enumeration.
    return Candidate(next(t for n in count(ord("a")) if (t := chr(n) + rest) not in excluded))
