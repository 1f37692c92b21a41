"""What a contract derived from an event says beside Avro: the bounds that a reader checks.

They stand in the attribute ``x-eventbus`` of a type, under the words of JSON Schema. Avro's own
rules do not look at them, but the event's class refuses a value beyond them, so a reader with
narrower bounds than the writer cannot read everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from marshmallow import validate

from eventbus.contracts.avro.refusals import refusal, shown
from eventbus.contracts.avro.types import Node
from eventbus.regular_expressions import ending_at_the_end

#: Says what is wrong with a value in its JSON form; None if nothing is.
Check = Callable[[Any], "str | None"]

_LOWER = ("minLength", "minItems", "minimum", "exclusiveMinimum")
_UPPER = ("maxLength", "maxItems", "maximum", "exclusiveMaximum")


def narrower(reader: Node, writer: Node) -> list[tuple[str, str]]:
    """The bounds of `reader` that are not known to hold for what `writer` allows.

    Each with a sentence that says both. What is not understood counts, unless it is the same.
    """
    found = []
    for word, bound in reader.mark.items():
        if word != "values" and not _holds(word, bound, writer.mark):
            told = writer.mark.get(word)
            by = "the writer has no such bound" if told is None else f"the writer's is {told!r:.80}"
            found.append((word, f"{word} of the reader is {bound!r:.80}, but {by}"))
    return found


def _holds(word: str, bound: Any, writer: Mapping[str, Any]) -> bool:
    if word in writer and repr(writer[word]) == repr(bound):
        return True
    if word in _LOWER:
        return _within(bound, writer, _lower_limits(word), 1)
    if word in _UPPER:
        return _within(bound, writer, _upper_limits(word), -1)
    if word == "enum" and isinstance(bound, list) and isinstance(writer.get(word), list):
        return all(value in bound for value in writer[word])
    return False


def _lower_limits(word: str) -> tuple[str, ...]:
    """Which of the writer's words imply this one of the reader, if they are large enough."""
    return ("minimum", "exclusiveMinimum") if word == "minimum" else (word,)


def _upper_limits(word: str) -> tuple[str, ...]:
    return ("maximum", "exclusiveMaximum") if word == "maximum" else (word,)


def _within(bound: Any, writer: Mapping[str, Any], words: tuple[str, ...], sign: int) -> bool:
    limit = _number(bound)
    if limit is None:
        return False
    numbers = [_number(writer.get(word)) for word in words]
    return any(number is not None and sign * (number - limit) >= 0 for number in numbers)


def _number(value: Any) -> Decimal | None:
    """A bound as it is written: a number, or the text of a decimal."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() else None


def check_of(mark: Mapping[str, Any], path: str) -> Check | None:
    """What holds a value to the bounds of a contract; None where it has none.

    For an event whose class has moved away from its contract: the class has other bounds then.

    Raises
    ------
    InvalidSchema
        The pattern is none, or could take exponential time.
    """
    checks = [
        _CHECKS[word](bound, path)
        for word, bound in mark.items()
        if word in _CHECKS and _is_bound(word, bound)
    ]
    if not checks:
        return None
    return lambda value: next(filter(None, (check(value) for check in checks)), None)


def _is_bound(word: str, bound: Any) -> bool:
    if word in ("pattern", "enum"):
        return isinstance(bound, str if word == "pattern" else list)
    return _number(bound) is not None


def _size(least: bool, unit: str) -> Callable[[Any, str], Check]:
    def make(bound: Any, path: str) -> Check:
        told = f"{'Shorter' if least else 'Longer'} than the {bound} {unit} of the contract."

        def check(value: Any) -> str | None:
            return told if (len(value) < bound if least else len(value) > bound) else None

        return check

    return make


def _limit(least: bool, exclusive: bool) -> Callable[[Any, str], Check]:
    def make(bound: Any, path: str) -> Check:
        limit = _number(bound)
        assert limit is not None
        told = f"{'Less' if least else 'More'} than the contract allows, which is {bound}."

        def check(value: Any) -> str | None:
            number = _number(value)
            if number is None or (exclusive and number == limit):
                return told
            return told if (number < limit if least else number > limit) else None

        return check

    return make


def _choice(bound: Any, path: str) -> Check:
    told = f"Must be one of: {', '.join(map(str, bound))}."[:200]
    return lambda value: None if value in bound else told


def _pattern(bound: str, path: str) -> Check:
    from eventbus.contracts.json_schema.patterns.safety import check_pattern

    check_pattern(bound, path)
    try:
        regex = ending_at_the_end(validate.Regexp(bound, re.ASCII)).regex
    except re.error as error:
        raise refusal(path, f"has the pattern {shown(bound)}, which is not read: {error}") from None
    told = f"Does not match the contract's pattern {bound[:100]}."
    return lambda value: None if regex.search(value) else told


_CHECKS: dict[str, Callable[[Any, str], Check]] = {
    "minLength": _size(True, "characters"),
    "maxLength": _size(False, "characters"),
    "minItems": _size(True, "items"),
    "maxItems": _size(False, "items"),
    "minimum": _limit(True, False),
    "maximum": _limit(False, False),
    "exclusiveMinimum": _limit(True, True),
    "exclusiveMaximum": _limit(False, True),
    "enum": _choice,
    "pattern": _pattern,
}
