"""What a contract derived from an event says beside Avro: the bounds that a reader checks.

They stand in the attribute ``x-eventbus`` of a type, under the words of JSON Schema. Avro's own
rules do not look at them, but the event's class refuses a value beyond them, so a reader with
narrower bounds than the writer cannot read everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from eventbus.contracts.avro.types import Node

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
    if word in _LOWER:
        return _within(bound, writer, _lower_limits(word), 1)
    if word in _UPPER:
        return _within(bound, writer, _upper_limits(word), -1)
    if word == "enum" and isinstance(bound, list) and isinstance(writer.get(word), list):
        return all(value in bound for value in writer[word])
    return word in writer and writer[word] == bound


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
