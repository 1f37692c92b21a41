"""A JSON Schema as a formula: conjunctions and disjunctions of what one keyword says of one type.

Equal formulas are one object, so that what two schemas share is recognised by identity, and a
formula together with its complement is seen to be a contradiction without looking into either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Any
from weakref import WeakValueDictionary


class JsonType(IntEnum):
    """The six types of JSON; an integer is a number without a fraction (1.0 is one)."""

    NULL = 0
    BOOLEAN = 1
    NUMBER = 2
    STRING = 3
    ARRAY = 4
    OBJECT = 5


ALL_TYPES = frozenset(JsonType)


class Formula:
    """What holds for some JSON values and not for others; `complement` holds for those others."""

    __slots__ = ("__weakref__", "_complement", "_of_type")

    def __init__(self) -> None:
        self._complement: Formula | None = None
        self._of_type: dict[JsonType, bool | None] = {}

    @property
    def complement(self) -> Formula:
        """The formula that holds exactly where this one does not."""
        if self._complement is None:
            self._complement = self._negated()
            self._complement._complement = self
        return self._complement

    def _negated(self) -> Formula:
        raise NotImplementedError

    def of_type(self, type: JsonType) -> bool | None:
        """Whether it holds for every value of `type`, for none (False), or that depends (None)."""
        if type not in self._of_type:
            self._of_type[type] = self._decided_by(type)
        return self._of_type[type]

    def _decided_by(self, type: JsonType) -> bool | None:
        return None


class Truth(Formula):
    """Holds for everything (`TRUE`) or for nothing (`FALSE`)."""

    __slots__ = ("holds",)

    def __init__(self, holds: bool) -> None:
        super().__init__()
        self.holds = holds

    def _negated(self) -> Formula:
        return FALSE if self.holds else TRUE

    def _decided_by(self, type: JsonType) -> bool | None:
        return self.holds


TRUE = Truth(True)
FALSE = Truth(False)


class And(Formula):
    """Holds where all of its parts do."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Formula, ...]) -> None:
        super().__init__()
        self.parts = parts

    def _negated(self) -> Formula:
        return any_of(part.complement for part in self.parts)

    def _decided_by(self, type: JsonType) -> bool | None:
        decided = [part.of_type(type) for part in self.parts]
        return False if False in decided else None if None in decided else True


class Or(Formula):
    """Holds where one of its parts does."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Formula, ...]) -> None:
        super().__init__()
        self.parts = parts

    def _negated(self) -> Formula:
        return all_of(part.complement for part in self.parts)

    def _decided_by(self, type: JsonType) -> bool | None:
        decided = [part.of_type(type) for part in self.parts]
        return True if True in decided else None if None in decided else False


class OneOf(Formula):
    """Holds where exactly one of its parts does; not `positive`: where none or several do."""

    __slots__ = ("parts", "positive")

    def __init__(self, parts: tuple[Formula, ...], positive: bool) -> None:
        super().__init__()
        self.parts = parts
        self.positive = positive

    def _negated(self) -> Formula:
        return _interned(
            (OneOf, self.parts, not self.positive), OneOf, self.parts, not self.positive
        )

    def _decided_by(self, type: JsonType) -> bool | None:
        decided = [part.of_type(type) for part in self.parts]
        if None in decided:
            return None if decided.count(True) < 2 else not self.positive
        return (decided.count(True) == 1) is self.positive


class Atom(Formula):
    """What one keyword says.

    A positive atom says nothing of the values of other types than its own; a negative one holds
    only for values of that type.
    """

    __slots__ = ("arguments", "keyword", "positive", "type")

    def __init__(
        self, keyword: str, type: JsonType | None, arguments: tuple[Any, ...], positive: bool
    ) -> None:
        super().__init__()
        self.keyword = keyword
        self.type = type
        self.arguments = arguments
        self.positive = positive

    def _negated(self) -> Formula:
        return atom(self.keyword, self.type, *self.arguments, positive=not self.positive)

    def _decided_by(self, type: JsonType) -> bool | None:
        if self.type is not None:
            return None if type is self.type else self.positive
        if self.keyword == "type":
            return (type in self.arguments[0]) is self.positive
        if self.keyword == "enum" and type not in self.arguments[0].by_type:
            return not self.positive
        return None


class Reference(Formula):
    """What is looked up when it is needed, because it contains itself."""

    __slots__ = ("_look_up", "key", "positive")

    def __init__(self, key: Any, look_up: Callable[[], Formula], positive: bool = True) -> None:
        super().__init__()
        self.key = key
        self._look_up = look_up
        self.positive = positive

    def target(self) -> Formula:
        """The formula that is meant."""
        found = self._look_up()
        return found if self.positive else found.complement

    def _negated(self) -> Formula:
        return reference(self.key, self._look_up, not self.positive)


class Uncertain(Formula):
    """What some validators check and others do not.

    A writer's side may not rely on it, and a reader's side has to reckon with it.
    """

    __slots__ = ("inner", "positive")

    def __init__(self, inner: Formula, positive: bool) -> None:
        super().__init__()
        self.inner = inner
        self.positive = positive

    def _negated(self) -> Formula:
        return _interned(
            (Uncertain, self.inner, not self.positive), Uncertain, self.inner, not self.positive
        )


_table: WeakValueDictionary[Any, Formula] = WeakValueDictionary()


def _interned(key: Any, build: Callable[..., Formula], *arguments: Any) -> Formula:
    found = _table.get(key)
    if found is None:
        found = _table[key] = build(*arguments)
    return found


def all_of(given: Iterable[Formula]) -> Formula:
    """The formula that holds where all of `given` do."""
    return _joined(given, And, TRUE, FALSE)


def any_of(given: Iterable[Formula]) -> Formula:
    """The formula that holds where one of `given` does."""
    return _joined(given, Or, FALSE, TRUE)


def _joined(
    given: Iterable[Formula], joint: type[And] | type[Or], neutral: Formula, absorbing: Formula
) -> Formula:
    parts: dict[Formula, None] = {}
    for part in given:
        if part is absorbing:
            return absorbing
        if part is neutral:
            continue
        for inner in part.parts if isinstance(part, joint) else (part,):
            if inner._complement is not None and inner._complement in parts:
                return absorbing
            parts[inner] = None
    if len(parts) < 2:
        return next(iter(parts), neutral)
    return _interned((joint, frozenset(parts)), joint, tuple(parts))


def exactly_one_of(given: Iterable[Formula]) -> Formula:
    """The formula that holds where exactly one of `given` does."""
    parts = tuple(part for part in given if part is not FALSE)
    if parts.count(TRUE) > 1:
        return FALSE
    if TRUE in parts:
        return all_of(part.complement for part in parts if part is not TRUE)
    if len(parts) < 2:
        return next(iter(parts), FALSE)
    return _interned((OneOf, parts, True), OneOf, parts, True)


def reference(key: Any, look_up: Callable[[], Formula], positive: bool = True) -> Formula:
    """What `look_up` finds; equal keys mean the same."""
    return _interned((Reference, key, positive), Reference, key, look_up, positive)


def uncertain(inner: Formula) -> Formula:
    """What may or may not be checked."""
    return inner if inner is TRUE else _interned((Uncertain, inner, True), Uncertain, inner, True)


def atom(keyword: str, type: JsonType | None, *arguments: Any, positive: bool = True) -> Formula:
    """What one keyword says of values of `type` (None: of every type)."""
    return _interned(
        (Atom, keyword, type, arguments, positive), Atom, keyword, type, arguments, positive
    )


@dataclass(frozen=True)
class KeySet:
    """Names of members: those listed and those that patterns match, or all others (`inverted`)."""

    names: frozenset[str]
    patterns: frozenset[str] = frozenset()
    inverted: bool = False

    def has(self, name: str | None, matched: Callable[[str], bool]) -> bool:
        """Whether `name` belongs to it (None: a name that is listed nowhere).

        `matched` tells of each pattern whether it matches.
        """
        listed = name in self.names or any(matched(pattern) for pattern in self.patterns)
        return listed is not self.inverted

    @property
    def only(self) -> str | None:
        """The one name that it consists of, if it does."""
        if self.inverted or self.patterns or len(self.names) != 1:
            return None
        return next(iter(self.names))


#: Every name.
ANY_KEY = KeySet(frozenset(), inverted=True)


class Values:
    """The values of an `enum`, each once, by JSON's equality: 1 is 1.0, and false is not 0."""

    __slots__ = ("by_type", "keys")

    def __init__(self, values: Iterable[Any]) -> None:
        found = {value_key(value): value for value in values}
        self.keys = frozenset(found)
        self.by_type: dict[JsonType, list[Any]] = {}
        for value in found.values():
            self.by_type.setdefault(type_of(value), []).append(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and self.keys == other.keys

    def __hash__(self) -> int:
        return hash(self.keys)

    def __contains__(self, value: Any) -> bool:
        return value_key(value) in self.keys

    def __iter__(self) -> Any:
        for values in self.by_type.values():
            yield from values


def type_of(value: Any) -> JsonType:
    """The JSON type of a value as Python's `json` reads it."""
    if value is None:
        return JsonType.NULL
    if isinstance(value, bool):
        return JsonType.BOOLEAN
    if isinstance(value, (int, float)):
        return JsonType.NUMBER
    if isinstance(value, str):
        return JsonType.STRING
    return JsonType.ARRAY if isinstance(value, list) else JsonType.OBJECT


def value_key(value: Any) -> Any:
    """What is equal for values that are equal in JSON (core specification §4.2.2)."""
    if isinstance(value, bool) or value is None:
        return (type_of(value), value)
    if isinstance(value, list):
        return (JsonType.ARRAY, tuple(value_key(item) for item in value))
    if isinstance(value, dict):
        return (JsonType.OBJECT, frozenset((k, value_key(v)) for k, v in value.items()))
    return (type_of(value), value)


def number(value: int | float) -> int | float:
    """The number in its one spelling: 1.0 is 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_multiple(value: int | float, of: int | float) -> bool | None:
    """Whether `value` is a multiple; None where that depends on how fractions are calculated.

    Some validators take the double's exact value, some the decimal that was written.
    """
    if isinstance(value, int) and isinstance(of, int):
        return value % of == 0
    exact = (Fraction(value) / Fraction(of)).denominator == 1
    written = (Fraction(repr(value)) / Fraction(repr(of))).denominator == 1
    return exact if exact is written else None
