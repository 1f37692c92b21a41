"""How many bytes a field takes in JSON at worst, by its type and its validators."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from marshmallow import fields as plain
from marshmallow import validate

from eventbus import fields
from eventbus.thin.texts import Width, width_of

#: A control character is written as ``\u001f``; no other takes more than four bytes of UTF-8.
BYTES_PER_CHARACTER = 6

_NULL_BYTES = len("null")
_BOOLEAN_BYTES = len("false")
_UUID_BYTES = 38
_DATE_BYTES = len('"2026-01-31"')
#: With an offset, as marshmallow's own fields write it; ours write ``Z``.
_TIMESTAMP_BYTES = len('"2026-01-31T10:00:00.000000+00:00"')


class Unbounded(Exception):
    """A field that has no place in a thin event.

    Parameters
    ----------
    rule:
        What is wrong with it: "is a string without a bound".
    remedy:
        What to write instead.
    """

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(f"{rule}; {remedy}")
        self.rule = rule
        self.remedy = remedy


_ASK = "leave it out and let the consumer ask its source of truth"
_REFER = "refer to it, Ref(type, id), and let the consumer ask its source of truth"


def worst_case_bytes(declared: dict[str, plain.Field[Any]]) -> int:
    """The size of the JSON object of these fields at worst.

    Raises
    ------
    Unbounded
        One of them has no bound.
    """
    members = [
        _json_bytes(field.data_key or name) + 1 + field_bytes(field)
        for name, field in declared.items()
    ]
    return 2 + sum(members) + max(len(members) - 1, 0)


def field_bytes(field: plain.Field[Any]) -> int:
    """The size of the field's value at worst.

    Raises
    ------
    Unbounded
        It may be of any size, or is of a type that a thin event does not hold.
    """
    for kinds, measure in _MEASURES:
        if isinstance(field, kinds):
            size = measure(field)
            return max(size, _NULL_BYTES) if field.allow_none else size
    raise Unbounded(
        f"is a {type(field).__name__}, whose size in JSON is not known",
        "use an annotation such as UUID, datetime or Annotated[str, Length(max=64)]",
    )


# -- what a thin event holds ---------------------------------------------------------------------


def _text(field: plain.Field[Any]) -> int:
    choices = _choices(field)
    if choices is not None:
        return choices
    width = _plain_width(field)
    limits = [_max_length(field), width.characters if width else None]
    bounds = [limit for limit in limits if limit is not None]
    if not bounds:
        raise Unbounded(
            "is a string without a bound",
            "bound it, Annotated[str, Length(max=64)], or make it a UUID or an Enum",
        )
    return 2 + min(bounds) * (1 if width else BYTES_PER_CHARACTER)


def _integer(field: plain.Field[Any]) -> int:
    choices = _choices(field)
    if choices is not None:
        return choices
    least, most = _range(field)
    if isinstance(field, fields.Int):
        least = max(fields.INTEGER_MIN, fields.INTEGER_MIN if least is None else least)
        most = min(fields.INTEGER_MAX, fields.INTEGER_MAX if most is None else most)
    if least is None or most is None:
        raise Unbounded(
            "is an integer without a bound", "annotate it with int, or add a Range(min=…, max=…)"
        )
    quotes = 2 if getattr(field, "as_string", False) else 0
    return quotes + max(len(str(least)), len(str(most)))


def _enumeration(field: plain.Field[Any]) -> int:
    if isinstance(field, fields.EnumValue):
        written = [member.value for member in field.enum]
    else:  # marshmallow's own writes either
        assert isinstance(field, plain.Enum)
        written = [one for member in field.enum for one in (member.value, member.name)]
    return max((_json_bytes(value) for value in written), default=_NULL_BYTES)


def _list(field: Any) -> int:
    most = _max_length(field)
    if most is None:
        raise Unbounded(
            "is a list without a bound",
            "bound it, Annotated[list[UUID], Length(max=10)], or publish one event for each",
        )
    return 2 + most * (field_bytes(field.inner) + 1)


def _struct(field: Any) -> int:
    from eventbus.references import Ref

    if field.struct is not Ref:
        raise Unbounded(f"is a nested {field.struct.__name__}", _REFER)
    return worst_case_bytes(Ref.__declared__)


def _timestamp(field: Any) -> int:
    if getattr(field, "format", None) not in (None, "iso", "iso8601"):
        raise Unbounded("is a moment in a format of its own", "annotate it with datetime")
    return _TIMESTAMP_BYTES


def _fixed(size: int) -> Callable[[Any], int]:
    return lambda field: size


# -- what it does not hold -----------------------------------------------------------------------


def _refused(rule: str, remedy: str) -> Callable[[Any], int]:
    def refuse(field: Any) -> int:
        raise Unbounded(rule, remedy)

    return refuse


_MONEY = "leave it out: an amount is the source of truth's to say, and may change after the event"
_MEASURED = "leave it out, or count in whole units: an int"

#: The first row that fits counts: marshmallow's classes derive from each other.
_MEASURES: tuple[tuple[Any, Callable[[Any], int]], ...] = (
    ((fields.DecimalText, plain.Decimal), _refused("is a decimal", _MONEY)),
    ((fields.Float, plain.Float), _refused("is a floating-point number", _MEASURED)),
    ((fields.Mapping, plain.Mapping), _refused("is a dictionary", _REFER)),
    (plain.Nested, _refused("is a nested object", _REFER)),
    (plain.Email, _refused("is an e-mail address, which is personal data", _ASK)),
    (plain.IP, _refused("is an IP address, which is personal data", _ASK)),
    (fields.StructField, _struct),
    ((fields.Uuid, plain.UUID), _fixed(_UUID_BYTES)),
    ((fields.Date, plain.Date), _fixed(_DATE_BYTES)),
    (plain.Time, _refused("is a time of day, not a moment", "annotate it with datetime")),
    ((fields.Timestamp, plain.DateTime), _timestamp),
    ((fields.Bool, plain.Boolean), _fixed(_BOOLEAN_BYTES)),
    ((fields.EnumValue, plain.Enum), _enumeration),
    ((fields.Int, plain.Integer), _integer),
    (plain.List, _list),
    ((fields.Text, plain.String), _text),
)


# -- what validators say -------------------------------------------------------------------------


def _validators(field: plain.Field[Any]) -> Iterator[Any]:
    waiting = list(field.validators)
    while waiting:
        validator = waiting.pop()
        if isinstance(validator, validate.And):
            waiting += validator.validators
        else:
            yield validator


def _max_length(field: plain.Field[Any]) -> int | None:
    limits = [
        limit
        for validator in _validators(field)
        if isinstance(validator, validate.Length)
        for limit in (validator.max, validator.equal)
        if limit is not None
    ]
    return min(limits, default=None)


def _range(field: plain.Field[Any]) -> tuple[int | None, int | None]:
    ranges = [one for one in _validators(field) if isinstance(one, validate.Range)]
    least = [bound for one in ranges if (bound := _whole(one.min)) is not None]
    most = [bound for one in ranges if (bound := _whole(one.max)) is not None]
    return max(least, default=None), min(most, default=None)


def _whole(bound: Any) -> int | None:
    """A bound as an integer; None for what bounds none, such as infinity."""
    try:
        return int(bound)
    except (TypeError, ValueError, OverflowError):
        return None


def _choices(field: plain.Field[Any]) -> int | None:
    """The size of the longest of the values that are allowed by name."""
    for validator in _validators(field):
        if isinstance(validator, validate.OneOf):
            return max((_json_bytes(choice) for choice in validator.choices), default=_NULL_BYTES)
        if isinstance(validator, validate.Equal):
            return _json_bytes(validator.comparable)
    return None


def _plain_width(field: plain.Field[Any]) -> Width | None:
    for validator in _validators(field):
        if isinstance(validator, validate.Regexp):
            pattern, flags = validator.regex.pattern, validator.regex.flags
            width = width_of(pattern, flags) if isinstance(pattern, str) else None
            if width is not None:
                return width
    return None


def _json_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))
