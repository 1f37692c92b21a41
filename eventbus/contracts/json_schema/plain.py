"""The short way: keyword by keyword, as most versions of a schema follow each other.

It answers yes or does not know; `satisfying` then decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from eventbus.contracts.json_schema.formulas import FALSE, And, Atom, Formula
from eventbus.contracts.json_schema.satisfying import Search


def is_plainly_included(search: Search, writer: Formula, reader: Formula) -> bool:
    """Whether each keyword of the reader is one of the writer's, or says less of a property."""
    if not isinstance(writer, And) or not isinstance(reader, And):
        return writer is reader
    said = _said(writer)
    return all(part in said.parts or said.covers(search, part) for part in reader.parts)


@dataclass
class _Said:
    """What a writer's formula says in any case."""

    parts: frozenset[Formula]
    #: What it says of members and items, by the keyword and the names or the index.
    inside: dict[tuple[str, Any], list[Formula]] = field(default_factory=dict)
    #: The properties besides which it has none, where it is closed.
    only: frozenset[str] | None = None
    types: frozenset[int] | None = None

    def covers(self, search: Search, part: Formula) -> bool:
        """Whether `part`, of a reader, follows from it."""
        if not isinstance(part, Atom) or not part.positive:
            return False
        if part.keyword == "type":
            return self.types is not None and self.types <= part.arguments[0]
        if part.keyword not in _INSIDE:
            return False
        where, each = part.arguments
        if part.keyword == "members" and self._never_has(where.only):
            return True
        said = self.inside.get((part.keyword, where))
        return said is not None and search.satisfy(*said, each.complement) is None

    def _never_has(self, name: str | None) -> bool:
        return name is not None and self.only is not None and name not in self.only


#: What speaks of values inside: of which ones, and what holds for each.
_INSIDE = frozenset(("members", "item", "items"))
#: Kept as long as the formula is.
_KNOWN: WeakKeyDictionary[Formula, _Said] = WeakKeyDictionary()


def _said(writer: And) -> _Said:
    known = _KNOWN.get(writer)
    if known is None:
        known = _KNOWN[writer] = _gathered(writer)
    return known


def _gathered(writer: And) -> _Said:
    said = _Said(frozenset(writer.parts))
    for part in writer.parts:
        if not isinstance(part, Atom) or not part.positive:
            continue
        if part.keyword == "type":
            said.types = part.arguments[0]
        elif part.keyword in _INSIDE:
            where, each = part.arguments
            said.inside.setdefault((part.keyword, where), []).append(each)
            if each is FALSE and part.keyword == "members":
                said.only = where.names if where.inverted and not where.patterns else said.only
    return said
