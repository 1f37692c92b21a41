"""``unevaluatedProperties`` and ``unevaluatedItems``: what no keyword beside them has looked at.

Which members were looked at depends on the branches that hold (core §11). So the meaning is a case
distinction over the branches: in each case the rest is a set of names, or of indices, known before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from eventbus.contracts.json_schema.formulas import (
    TRUE,
    Formula,
    JsonType,
    KeySet,
    all_of,
    any_of,
    atom,
    uncertain,
)

if TYPE_CHECKING:
    from eventbus.contracts.json_schema.compiling import Compiler, Scope
    from eventbus.contracts.json_schema.documents import Location

#: Cases of one distinction; beyond them the keyword counts as undecidable.
MAX_CASES = 256


@dataclass(frozen=True)
class Names:
    """Members that were looked at: these, those that a pattern matches, or all."""

    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    everything: bool = False

    def __or__(self, other: Names) -> Names:
        return Names(
            self.names | other.names,
            self.patterns | other.patterns,
            self.everything or other.everything,
        )


@dataclass(frozen=True)
class Indices:
    """Items that were looked at: the first ones, those that `containing` holds for, or all."""

    first: int = 0
    containing: frozenset[Formula] = frozenset()
    everything: bool = False

    def __or__(self, other: Indices) -> Indices:
        return Indices(
            max(self.first, other.first),
            self.containing | other.containing,
            self.everything or other.everything,
        )


Seen = TypeVar("Seen", Names, Indices)
#: Cases of which one holds: the formula that says so, and where to look then.
Switch = list[tuple[Formula, list[tuple["Location", "Scope"]]]]
Own = Callable[["Compiler", "Location", "Scope"], Seen]


class _TooManyCases(Exception):
    pass


def unevaluated_members(compiler: Compiler, location: Location, scope: Scope) -> Formula:
    """What ``unevaluatedProperties`` of the schema at `location` means."""
    inner = compiler.child(location, scope, "unevaluatedProperties")

    def rest(seen: Names) -> Formula:
        if seen.everything or inner is TRUE:
            return TRUE
        keys = KeySet(seen.names, seen.patterns, inverted=True)
        return atom("members", JsonType.OBJECT, keys, inner)

    return _distinguished(compiler, location, scope, _own_names, Names(), rest)


def unevaluated_items(compiler: Compiler, location: Location, scope: Scope) -> Formula:
    """What ``unevaluatedItems`` of the schema at `location` means."""
    inner = compiler.child(location, scope, "unevaluatedItems")

    def rest(seen: Indices) -> Formula:
        if seen.everything or inner is TRUE:
            return TRUE
        strict = atom("items", JsonType.ARRAY, seen.first, inner)
        if not seen.containing:
            return strict
        each = any_of((inner, *seen.containing))
        lenient = TRUE if each is TRUE else atom("items", JsonType.ARRAY, seen.first, each)
        if location.dialect.contains_evaluates:
            return lenient
        # 2019-09 does not say so, and validators differ.
        return all_of((lenient, uncertain(strict)))

    return _distinguished(compiler, location, scope, _own_indices, Indices(), rest)


def _distinguished(
    compiler: Compiler,
    location: Location,
    scope: Scope,
    own: Own[Seen],
    nothing: Seen,
    rest: Callable[[Seen], Formula],
) -> Formula:
    cases = 0

    def gathered(
        seen: Seen, places: list[tuple[Location, Scope]], switches: list[Switch]
    ) -> tuple[Seen, list[Switch]]:
        pending = list(places)
        while pending:
            place: tuple[Location, Scope] = pending.pop()
            if isinstance(place[0].value, dict):
                seen = seen | own(compiler, *place)
                pending += _always(compiler, *place)
                switches = [*switches, *_switches(compiler, *place)]
        return seen, switches

    def distinguish(seen: Seen, switches: list[Switch]) -> Formula:
        nonlocal cases
        cases += 1
        if cases > MAX_CASES:
            raise _TooManyCases
        if seen.everything or not switches:
            return rest(seen)
        first, *others = switches
        return any_of(
            all_of((condition, distinguish(*gathered(seen, places, others))))
            for condition, places in first
        )

    seen, switches = nothing, _switches(compiler, location, scope)
    seen = seen | own(compiler, location, scope, itself=True)  # type: ignore[call-arg]
    seen, switches = gathered(seen, _always(compiler, location, scope), switches)
    try:
        return distinguish(seen, switches)
    except _TooManyCases:
        return atom("opaque", None, f"more than {MAX_CASES} cases", location, scope)


def _own_names(compiler: Compiler, location: Location, scope: Scope, itself: bool = False) -> Names:
    schema = location.value
    if _stands_alone(location):
        return Names()
    everything = "additionalProperties" in schema or (
        "unevaluatedProperties" in schema and not itself
    )
    return Names(
        frozenset(schema.get("properties", ())),
        frozenset(schema.get("patternProperties", ())),
        everything,
    )


def _own_indices(
    compiler: Compiler, location: Location, scope: Scope, itself: bool = False
) -> Indices:
    schema = location.value
    if _stands_alone(location):
        return Indices()
    everything = "unevaluatedItems" in schema and not itself
    first = len(schema.get("prefixItems", ())) if "prefixItems" in location.dialect.keywords else 0
    given = schema.get("items")
    if isinstance(given, list):
        first = len(given)
        everything = everything or "additionalItems" in schema
    elif given is not None:
        everything = True
    containing: frozenset[Formula] = frozenset()
    if "contains" in schema:
        containing = frozenset((compiler.child(location, scope, "contains"),))
    return Indices(first, containing, everything)


def _stands_alone(location: Location) -> bool:
    return location.dialect.reference_stands_alone and "$ref" in location.value


def _always(compiler: Compiler, location: Location, scope: Scope) -> list[tuple[Location, Scope]]:
    found = [(target, inside) for _, target, inside in compiler.references(location, scope)]
    if not _stands_alone(location):
        found += _below(compiler, location, scope, "allOf")
    return found


def _below(
    compiler: Compiler, location: Location, scope: Scope, keyword: str
) -> list[tuple[Location, Scope]]:
    return [
        compiler.below(location, scope, *steps)
        for steps in location.children
        if steps[0] == keyword
    ]


def _switches(compiler: Compiler, location: Location, scope: Scope) -> list[Switch]:
    return [] if _stands_alone(location) else list(_each_switch(compiler, location, scope))


def _each_switch(compiler: Compiler, location: Location, scope: Scope) -> Iterator[Switch]:
    for place in _below(compiler, location, scope, "anyOf"):
        holds = compiler.formula(*place)
        yield [(holds, [place]), (holds.complement, [])]
    branches = _below(compiler, location, scope, "oneOf")
    if branches:
        yield [(compiler.formula(*place), [place]) for place in branches]
    if ("if",) in location.children:
        yield _if_switch(compiler, location, scope)
    for steps in location.children:
        if steps[0] == "dependentSchemas":
            present = all_of(
                (
                    atom("type", None, frozenset((JsonType.OBJECT,))),
                    atom("required", JsonType.OBJECT, steps[1]),
                )
            )
            yield [
                (present, [compiler.below(location, scope, *steps)]),
                (present.complement, []),
            ]


def _if_switch(compiler: Compiler, location: Location, scope: Scope) -> Switch:
    holds = compiler.child(location, scope, "if")
    yes = _below(compiler, location, scope, "if") + _below(compiler, location, scope, "then")
    return [(holds, yes), (holds.complement, _below(compiler, location, scope, "else"))]
