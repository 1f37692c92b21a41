"""Why a reader cannot accept what a writer may write: the keywords of the reader that are at fault.

A reader's schema is a conjunction of its keywords, so each is asked alone whether it accepts all
that the writer may write there; keywords that hold schemas are looked into.
"""

from __future__ import annotations

from collections.abc import Iterator

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.json_schema.arrays import Arrays
from eventbus.contracts.json_schema.candidates import Candidate, GaveUp
from eventbus.contracts.json_schema.compiling import Assertion, Compiler, Scope
from eventbus.contracts.json_schema.documents import Location, escaped
from eventbus.contracts.json_schema.evaluating import holds
from eventbus.contracts.json_schema.formulas import Atom, Formula, JsonType
from eventbus.contracts.json_schema.keywords import required
from eventbus.contracts.json_schema.objects import Key, Objects
from eventbus.contracts.json_schema.satisfying import Search
from eventbus.contracts.json_schema.wording import UNDECIDED, Said, said, shown

#: Differences that are told; a person fixes the first ones first.
MAX_DIFFERENCES = 100
#: Cases of a writer's disjunction that are looked at one by one.
MAX_CASES = 8

Context = tuple[Formula, ...]


def explain(search: Search, reader: Compiler, writer: Formula) -> list[Difference]:
    """Tell what of `reader` does not accept what `writer` may write."""
    explanation = _Explanation(search, reader)
    try:
        explanation.look_into((writer,), *reader.start)
    except (GaveUp, RecursionError) as reason:
        explanation.found.setdefault(
            (UNDECIDED, "", ""), Difference(UNDECIDED, "", f"it cannot be decided: {reason}")
        )
    except _Enough:
        pass
    return list(explanation.found.values())


class _Enough(Exception):
    pass


class _Explanation:
    def __init__(self, search: Search, reader: Compiler) -> None:
        self._search = search
        self._reader = reader
        self._visited: set[tuple[Location, Scope, Context]] = set()
        self._proven: dict[tuple[Context, Formula], bool] = {}
        self.found: dict[tuple[str, str, str], Difference] = {}

    def look_into(self, context: Context, location: Location, scope: Scope) -> bool:
        """Tell about the schema at `location`, given what a value there satisfies.

        Whether there was anything to tell, now or on the way here.
        """
        if (location, scope, context) in self._visited:
            return True
        self._visited.add((location, scope, context))
        told = False
        for assertion in self._reader.assertions(location, scope):
            found = self._search.satisfy(*context, assertion.formula.complement)
            if found is None:
                continue
            told = True
            if not self._descend(context, location, scope, assertion):
                self._tell(context, location, assertion, found)
        return told

    def _tell(
        self,
        context: Context,
        location: Location,
        assertion: Assertion,
        found: Candidate,
        key: Key | None = None,
    ) -> None:
        one = said(self._search, context, location, assertion, key)
        self._add(one, location, assertion, context, found)

    def _add(
        self,
        one: Said,
        location: Location,
        assertion: Assertion,
        context: Context,
        found: Candidate,
    ) -> None:
        path = location.json_pointer + "".join(f"/{escaped(step)}" for step in assertion.steps)
        kind, message = one.kind, one.message
        key = (context, assertion.formula)
        if key not in self._proven:
            self._proven[key] = _proven(context, assertion.formula, found)
        if not self._proven[key]:
            kind, message = (
                UNDECIDED,
                f"it cannot be decided whether this is a difference: {message}",
            )
        elif one.example:
            message += f"; {shown(found.value)} would be refused"
        self.found.setdefault((kind, path, message), Difference(kind, path, message))
        if len(self.found) >= MAX_DIFFERENCES:
            raise _Enough

    def _descend(
        self, context: Context, location: Location, scope: Scope, assertion: Assertion
    ) -> bool:
        """Tell about the schemas in the keyword; False if the keyword itself is at fault."""
        keyword, steps, formula = assertion
        if keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            return any(
                self.look_into(context, target, inside)
                for name, target, inside in self._reader.references(location, scope)
                if name == keyword
            )
        if keyword == "allOf":
            return self._below(context, location, scope, *steps)
        if keyword in ("then", "else"):
            condition = self._reader.child(location, scope, "if")
            given = condition if keyword == "then" else condition.complement
            return self._below((*context, given), location, scope, keyword)
        if keyword == "dependentSchemas":
            return self._below((*context, required(str(steps[1]))), location, scope, *steps)
        if keyword in ("anyOf", "oneOf"):
            return self._only_branch(context, location, scope, keyword)
        if isinstance(formula, Atom) and formula.keyword == "members":
            return self._members(context, location, scope, assertion, formula)
        if isinstance(formula, Atom) and formula.keyword in ("item", "items"):
            return self._items(context, location, scope, assertion, formula)
        return False

    def _below(self, context: Context, location: Location, scope: Scope, *steps: str | int) -> bool:
        if steps not in location.children:
            return False
        return self.look_into(context, *self._reader.below(location, scope, *steps))

    def _only_branch(
        self, context: Context, location: Location, scope: Scope, keyword: str
    ) -> bool:
        """Look into the one branch that accepts values of the types that no branch accepts."""
        branches = [
            (steps, self._reader.child(location, scope, *steps))
            for steps in location.children
            if steps[0] == keyword
        ]
        refused = (*context, *(formula.complement for _, formula in branches))
        types = self._search.types(*refused)
        chosen = [
            (steps, formula)
            for steps, formula in branches
            if types and all(formula.of_type(type) is not False for type in types)
        ]
        if len(chosen) != 1:
            return False
        steps, formula = chosen[0]
        others = (other.complement for _, other in branches if other is not formula)
        return self._below((*context, *others), location, scope, *steps)

    def _members(
        self,
        context: Context,
        location: Location,
        scope: Scope,
        assertion: Assertion,
        formula: Atom,
    ) -> bool:
        keys, each = formula.arguments
        told = False
        for case in self._search.cases(JsonType.OBJECT, context, MAX_CASES):
            objects = Objects(self._search, case.atoms)
            objects.look_at(keys)
            for key in objects.every_key():
                demands = tuple(objects.demands(key))
                if not objects.may_concern(keys, key):
                    continue
                found = self._search.satisfy(*demands, each.complement)
                if found is None:
                    continue
                if _is_false(location, assertion) or not self._below(
                    demands, location, scope, *assertion.steps
                ):
                    whole = self._search.satisfy(*context, formula.complement)
                    if whole is not None:
                        self._tell(context, location, assertion, whole, key)
                told = True
        return told

    def _items(
        self,
        context: Context,
        location: Location,
        scope: Scope,
        assertion: Assertion,
        formula: Atom,
    ) -> bool:
        start, each = formula.arguments
        if _is_false(location, assertion):
            return False
        told = False
        for case in self._search.cases(JsonType.ARRAY, context, MAX_CASES):
            for demands in _demands_on_items(Arrays(self._search, case.atoms), formula, start):
                if self._search.satisfy(*demands, each.complement) is not None:
                    told |= self._below(demands, location, scope, *assertion.steps)
        return told


def _is_false(location: Location, assertion: Assertion) -> bool:
    child = location.children.get(assertion.steps)
    return child is not None and child.value is False


def _demands_on_items(arrays: Arrays, formula: Atom, start: int) -> Iterator[Context]:
    """Yield what the writer's items satisfy at the indices that the keyword speaks of."""
    indices = [start]
    if formula.keyword == "items":
        indices = list(range(start, max(start, arrays.alike) + 1))
    yield from dict.fromkeys(tuple(arrays.demands(index)) for index in indices)


def _proven(context: Context, formula: Formula, found: Candidate) -> bool:
    """Whether the value that was found is accepted by the writer and refused by the reader."""
    return (
        found.known
        and holds(formula, found.value) is False
        and all(holds(each, found.value) is True for each in context)
    )
