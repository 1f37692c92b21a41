"""A schema to formulas, keyword by keyword, so that a difference can name the keyword."""

from __future__ import annotations

from collections.abc import Iterator
from threading import RLock
from typing import NamedTuple
from urllib.parse import urldefrag

from eventbus.contracts.json_schema.documents import MAX_LEAVES, Documents, Location
from eventbus.contracts.json_schema.formulas import FALSE, TRUE, Formula, all_of, reference
from eventbus.contracts.json_schema.keywords import BUILDERS

#: Dynamic anchors by name: what a dynamic reference means on this way through the resources.
Scope = tuple[tuple[str, Location], ...]

#: Schemas inside each other that are looked into at once; what is deeper, when it is needed.
MAX_NESTED = 40
REFERENCE_KEYWORDS = ("$ref", "$dynamicRef", "$recursiveRef")


#: The formulas of the most common schemas, those of single values.
_LEAVES: dict[tuple[str, str], Formula] = {}


class Assertion(NamedTuple):
    """What one keyword at one place asserts.

    Parameters
    ----------
    keyword:
        Its name.
    steps:
        The pointer from the schema that it stands in: the keyword, and a name or an index.
    formula:
        What it means.
    """

    keyword: str
    steps: tuple[str | int, ...]
    formula: Formula


class Compiler:
    """The formulas of one document."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self._formulas: dict[tuple[Location, Scope], Formula] = {}
        #: What is kept is shared by threads; one of them must not see what another has begun.
        self._lock = RLock()
        self._running: set[tuple[Location, Scope]] = set()

    @property
    def start(self) -> tuple[Location, Scope]:
        """The document's root, and the scope there."""
        root = self.documents.root
        return root, self.entered((), root)

    def formula(self, location: Location, scope: Scope) -> Formula:
        """What the schema at `location` means."""
        if location.leaf is not None:
            return self._leaf(location)
        key = (location, scope)
        known = self._formulas.get(key)
        if known is not None:
            return known
        with self._lock:
            return self._compiled(key)

    def _compiled(self, key: tuple[Location, Scope]) -> Formula:
        if key in self._formulas:
            return self._formulas[key]
        location, scope = key
        if key in self._running or len(self._running) > MAX_NESTED:
            return reference(key, lambda: self.formula(location, scope))
        self._running.add(key)
        try:
            made = all_of(one.formula for one in self.assertions(location, scope))
        finally:
            self._running.discard(key)
        self._formulas[key] = made
        return made

    def _leaf(self, location: Location) -> Formula:
        key = (location.dialect.name, location.leaf or "")
        made = _LEAVES.get(key)
        if made is None:
            made = all_of(one.formula for one in self.assertions(location, ()))
            if len(_LEAVES) >= MAX_LEAVES:
                _LEAVES.clear()
            _LEAVES[key] = made
        return made

    def assertions(self, location: Location, scope: Scope) -> Iterator[Assertion]:
        """What each keyword of the schema at `location` asserts."""
        schema = location.value
        if isinstance(schema, bool):
            yield Assertion("", (), TRUE if schema else FALSE)
            return
        for keyword, target, inside in self.references(location, scope):
            yield Assertion(keyword, (keyword,), self.formula(target, inside))
        if "$ref" in schema and location.dialect.reference_stands_alone:
            return
        known = location.dialect.keywords
        for keyword, value in schema.items():
            if keyword in known and keyword in BUILDERS:
                for steps, formula in BUILDERS[keyword](self, location, scope, value):
                    if formula is not TRUE:
                        yield Assertion(str(steps[0]), steps, formula)

    def child(self, location: Location, scope: Scope, *steps: str | int) -> Formula:
        """The meaning of the schema `steps` below `location`."""
        return self.formula(*self.below(location, scope, *steps))

    def below(self, location: Location, scope: Scope, *steps: str | int) -> tuple[Location, Scope]:
        """The schema `steps` below `location`, and the scope there."""
        child = location.children[steps]
        if child.resource is not location.resource:
            scope = self.entered(scope, child.resource)
        return child, scope

    def entered(self, scope: Scope, resource: Location) -> Scope:
        """The scope inside `resource`: the outermost anchor of a name counts (core §8.2.3.2)."""
        if not self.documents.dynamic or not resource.dynamic_anchors:
            return scope
        return tuple(
            sorted((resource.dynamic_anchors | dict(scope)).items(), key=lambda item: item[0])
        )

    def references(self, location: Location, scope: Scope) -> Iterator[tuple[str, Location, Scope]]:
        """What the references that stand at `location` mean: keyword, schema, and its scope."""
        for keyword in REFERENCE_KEYWORDS:
            if keyword in location.value and keyword in location.dialect.keywords:
                target = self.documents.target(location, keyword)
                if keyword != "$ref":
                    target = _outermost(target, location.value[keyword], scope)
                yield keyword, target, self.entered(scope, target.resource)


def _outermost(target: Location, reference: str, scope: Scope) -> Location:
    """Return what a dynamic reference means (core §8.2.3.2, and §8.2.4.2 of 2019-09)."""
    name = urldefrag(reference)[1] or "#"
    if target.resource.dynamic_anchors.get(name) is not target:
        return target
    return dict(scope).get(name, target)
