"""Whether a formula holds for one value: yes, no, or not decided (None)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from eventbus.contracts.json_schema.formulas import (
    And,
    Atom,
    Formula,
    KeySet,
    OneOf,
    Or,
    Reference,
    Truth,
    Uncertain,
    is_multiple,
    type_of,
    value_key,
)
from eventbus.contracts.json_schema.patterns.automata import matches


def holds(formula: Formula, value: Any) -> bool | None:
    """Whether `formula` holds for `value`."""
    return _Evaluation().holds(formula, value)


class _Evaluation:
    """One value, and what is known of its parts: formulas share parts, so each is asked once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Formula, int], bool | None] = {}

    def holds(self, formula: Formula, value: Any) -> bool | None:
        if isinstance(formula, Truth):
            return formula.holds
        key = (formula, id(value))
        if key not in self._known:
            self._known[key] = self._decide(formula, value)
        return self._known[key]

    def _decide(self, formula: Formula, value: Any) -> bool | None:
        if isinstance(formula, Atom):
            return self._atom_holds(formula, value)
        if isinstance(formula, And):
            return _conjunction(self.holds(part, value) for part in formula.parts)
        if isinstance(formula, Or):
            return _disjunction(self.holds(part, value) for part in formula.parts)
        if isinstance(formula, OneOf):
            return self._one_holds(formula, value)
        if isinstance(formula, Reference):
            return self.holds(formula.target(), value)
        assert isinstance(formula, Uncertain)
        # Where the inner one holds, it does not matter whether it is checked.
        return formula.positive if self.holds(formula.inner, value) else None

    def _one_holds(self, formula: OneOf, value: Any) -> bool | None:
        decided = [self.holds(part, value) for part in formula.parts]
        if decided.count(True) > 1:
            return not formula.positive
        if None in decided:
            return None
        return (decided.count(True) == 1) is formula.positive

    def _atom_holds(self, atom: Atom, value: Any) -> bool | None:
        decided = atom.of_type(type_of(value))
        if decided is not None:
            return decided
        if atom.keyword in _TESTS:
            found = _TESTS[atom.keyword](value, *atom.arguments)
        else:
            found = getattr(self, f"_{atom.keyword}")(value, *atom.arguments)
        return found if atom.positive else _negation(found)

    def _item(self, value: list[Any], index: int, each: Formula) -> bool | None:
        return self.holds(each, value[index]) if index < len(value) else True

    def _items(self, value: list[Any], start: int, each: Formula) -> bool | None:
        return _conjunction(self.holds(each, item) for item in value[start:])

    def _contains(self, value: list[Any], inner: Formula, least: int) -> bool | None:
        decided = [self.holds(inner, item) for item in value]
        if decided.count(True) >= least:
            return True
        return None if decided.count(True) + decided.count(None) >= least else False

    def _names(self, value: dict[str, Any], each: Formula) -> bool | None:
        return _conjunction(self.holds(each, name) for name in value)

    def _members(self, value: dict[str, Any], keys: KeySet, each: Formula) -> bool | None:
        name = keys.only
        if name is not None:
            return self.holds(each, value[name]) if name in value else True
        return _conjunction(
            _disjunction((_negation(_belongs(keys, name)), self.holds(each, one)))
            for name, one in value.items()
        )


def _belongs(keys: KeySet, name: str) -> bool | None:
    listed: bool | None = True
    if name not in keys.names:
        listed = _disjunction(matches(pattern, name) for pattern in keys.patterns)
    return _negation(listed) if keys.inverted else listed


def _negation(decided: bool | None) -> bool | None:
    return None if decided is None else not decided


def _conjunction(decided: Iterable[bool | None]) -> bool | None:
    result: bool | None = True
    for one in decided:
        if one is False:
            return False
        if one is None:
            result = None
    return result


def _disjunction(decided: Iterable[bool | None]) -> bool | None:
    return _negation(_conjunction(_negation(one) for one in decided))


def multiple_holds(value: int | float, of: int | float) -> bool | None:
    """Whether every validator finds that `value` is a multiple, or none does.

    With fractions some divide and look whether the quotient is whole, others calculate exactly.
    """
    exact = is_multiple(value, of)
    if exact is None or isinstance(of, int):
        return exact
    try:
        divided = float(value / of).is_integer()
    except OverflowError:
        return None
    return exact if exact is divided else None


def _at_least(value: Any, bound: int | float, exclusive: bool) -> bool:
    return bool(value > bound) if exclusive else bool(value >= bound)


def _at_most(value: Any, bound: int | float, exclusive: bool) -> bool:
    return bool(value < bound) if exclusive else bool(value <= bound)


_TESTS: dict[str, Callable[..., bool | None]] = {
    "opaque": lambda value, *_: None,
    "enum": lambda value, values: value in values,
    "minimum": _at_least,
    "maximum": _at_most,
    "multipleOf": multiple_holds,
    "minLength": lambda value, count: len(value) >= count,
    "maxLength": lambda value, count: len(value) <= count,
    "pattern": lambda value, pattern: matches(pattern, value),
    "minItems": lambda value, count: len(value) >= count,
    "maxItems": lambda value, count: len(value) <= count,
    "uniqueItems": lambda value: len({value_key(item) for item in value}) == len(value),
    "minProperties": lambda value, count: len(value) >= count,
    "maxProperties": lambda value, count: len(value) <= count,
    "required": lambda value, name: name in value,
}
