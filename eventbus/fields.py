# ruff: noqa: RUF012 - marshmallow declares default_error_messages as an instance's attribute.
"""marshmallow fields that mean the same on both sides of the wire.

marshmallow's own fields are lenient on purpose: ``Integer`` turns 3.7 into 3, ``Boolean`` takes
"yes", and ``dump`` does not validate. Events need the opposite, what is written is exactly what a
reader accepts, so these check the Python value when dumping and the JSON value when loading.

They are chosen from a class's annotations by `eventbus.event`; name one yourself, or any other
marshmallow field, with ``Annotated[str, Text(validate=Length(max=80))]``.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import re
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import marshmallow
from marshmallow import ValidationError
from marshmallow.fields import Field

if TYPE_CHECKING:
    from eventbus.event import Struct

#: Readers in other languages hold an integer in 64 bits, and so do Avro's ``long`` and SQL.
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

#: More digits than any currency needs, few enough to parse in no time.
DECIMAL_MAX_DIGITS = 100
#: The longest that is written: a sign, a zero, a point, and the digits.
DECIMAL_MAX_LENGTH = DECIMAL_MAX_DIGITS + 3
#: Enough for the longest with the most places; what would lose a digit is an error.
_EXACT = decimal.Context(prec=2 * DECIMAL_MAX_DIGITS + 1, traps=[decimal.Inexact])

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:(\.\d{1,6})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
# Python's own parsers also read week dates, underscores, braces and digits of other scripts,
# which readers in other languages refuse.
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Text(Field[str]):
    """A string without NUL and without lone surrogates, which neither UTF-8 nor PostgreSQL hold."""

    default_error_messages = {
        "invalid": "Not a valid string.",
        "unstorable": "Contains NUL or a lone surrogate, which text in a database cannot hold.",
    }

    def _check(self, value: Any) -> str:
        if type(value) is not str and not isinstance(value, str):
            raise self.make_error("invalid")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise self.make_error("unstorable") from None
        if "\0" in value:
            raise self.make_error("unstorable")
        return value

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str:
        return self._check(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        return self._check(value)


class Int(Field[int]):
    """A signed 64-bit integer; neither a float nor a boolean nor a string of digits.

    A JSON number without a fraction, ``7.0``, is read as one (JSON Schema 2020-12 core §4.2.3).
    """

    default_error_messages = {
        "invalid": "Not a valid integer.",
        "range": "Does not fit a signed 64-bit integer.",
    }

    def _check(self, value: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise self.make_error("range")
        return value

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> int:
        return self._check(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        return self._check(value if type(value) is int else _whole(value))


def _whole(value: Any) -> Any:
    """A JSON number without a fraction as an integer; anything else as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


class Bool(Field[bool]):
    """``true`` or ``false``."""

    default_error_messages = {"invalid": "Not a valid boolean."}

    def _check(self, value: Any) -> bool:
        if type(value) is not bool:
            raise self.make_error("invalid")
        return value

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> bool:
        return self._check(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        return self._check(value)


class Float(Field[float]):
    """A finite number (RFC 8259 has no NaN and no infinity)."""

    default_error_messages = {"invalid": "Not a valid number.", "special": "Not a finite number."}

    def _check(self, value: Any) -> float:
        if type(value) not in (float, int):
            raise self.make_error("invalid")
        try:
            number = float(value)
        except OverflowError:
            raise self.make_error("special") from None
        if not math.isfinite(number):
            raise self.make_error("special")
        return number

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> float:
        return self._check(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> float:
        return self._check(value)


class DecimalText(Field[decimal.Decimal]):
    """A finite decimal written as a string: a JSON number would pass through binary floats.

    Parameters
    ----------
    places, digits:
        Digits after the point, and in all: it is written with exactly so many places, and one that
        has more is refused. Without them it has up to 100 digits.
    """

    default_error_messages = {
        "invalid": "Not a valid decimal; a string such as '12.50' is expected.",
        "special": "Not a finite number.",
        "places": "Has more than {places} places, or more than {digits} digits.",
    }

    def __init__(
        self, *, places: int | None = None, digits: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.places = places
        self.digits = DECIMAL_MAX_DIGITS if digits is None else digits

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str:
        if not isinstance(value, decimal.Decimal):
            raise ValidationError("Not a decimal.Decimal.")
        if not value.is_finite():
            raise self.make_error("special")
        if not self._fits(value):
            raise ValidationError(f"Has more than {DECIMAL_MAX_DIGITS} digits.")
        # No reader makes anything of a negative zero.
        return format(self._placed(value) if value else self._placed(value).copy_abs(), "f")

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> decimal.Decimal:
        if not isinstance(value, str) or len(value) > DECIMAL_MAX_LENGTH:
            raise self.make_error("invalid")
        if _DECIMAL.fullmatch(value) is None:
            raise self.make_error("invalid")
        number = decimal.Decimal(value)
        if not self._fits(number):
            raise self.make_error("invalid")
        return self._placed(number)

    def _placed(self, number: decimal.Decimal) -> decimal.Decimal:
        """`number` with the declared places; refused where a digit would be lost."""
        if self.places is None:
            return number
        try:
            placed = number.quantize(decimal.Decimal((0, (1,), -self.places)), context=_EXACT)
        except decimal.Inexact:
            placed = None
        # Of zero whole digits, as of 0.50, none counts.
        if placed is None or len(placed.as_tuple().digits) > self.digits:
            raise self.make_error("places", places=self.places, digits=self.digits)
        return placed

    @staticmethod
    def _fits(number: decimal.Decimal) -> bool:
        """Whether it stays short without an exponent, in which ``1E+999999`` does not."""
        sign, digits, exponent = number.as_tuple()
        assert isinstance(exponent, int)
        whole, places = max(len(digits) + exponent, 1), max(-exponent, 0)
        return sign + whole + (1 + places if places else 0) <= DECIMAL_MAX_LENGTH


class Uuid(Field[uuid.UUID]):
    """A UUID in its canonical form (RFC 9562 §4)."""

    default_error_messages = {"invalid": "Not a valid UUID."}

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str:
        if not isinstance(value, uuid.UUID):
            raise ValidationError("Not a uuid.UUID.")
        return str(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> uuid.UUID:
        if not isinstance(value, str) or _UUID.fullmatch(value) is None:
            raise self.make_error("invalid")
        return uuid.UUID(value)


class Timestamp(Field[dt.datetime]):
    """A moment: written in UTC as RFC 3339, read with any offset, never without one."""

    default_error_messages = {
        "invalid": "Not a valid RFC 3339 date and time.",
        "naive": "Has no time zone.",
    }

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str:
        if not isinstance(value, dt.datetime):
            raise ValidationError("Not a datetime.datetime.")
        if value.utcoffset() is None:
            raise ValidationError("Has no time zone; use datetime.now(timezone.utc).")
        return format_timestamp(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dt.datetime:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        try:
            return parse_timestamp(value)
        except ValueError:
            raise self.make_error("invalid") from None


class Date(Field[dt.date]):
    """A calendar day, ``2026-01-31``."""

    default_error_messages = {"invalid": "Not a valid date."}

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str:
        if type(value) is not dt.date:
            raise ValidationError("Not a datetime.date.")
        return value.isoformat()

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dt.date:
        if not isinstance(value, str) or _ISO_DATE.fullmatch(value) is None:
            raise self.make_error("invalid")
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise self.make_error("invalid") from None


class EnumValue(Field[enum.Enum]):
    """An enumeration member by its value, which is a string or an integer."""

    default_error_messages = {"unknown": "Must be one of: {choices}."}

    def __init__(self, enumeration: type[enum.Enum], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.enum = enumeration

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        if not isinstance(value, self.enum):
            raise ValidationError(f"Not a {self.enum.__name__}.")
        return value.value

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> enum.Enum:
        value = _whole(value)
        # A boolean equals an integer: True would be read as the member with value 1.
        if type(value) in (str, int):
            try:
                return self.enum(value)
            except ValueError:
                pass
        raise self.make_error(
            "unknown", choices=", ".join(str(member.value) for member in self.enum)
        )


def _serialize_item(field: Field[Any], value: Any) -> Any:
    """Serialize one value inside a list or a mapping, which may be null if its field says so."""
    if value is None and field.allow_none:
        return None
    return field._serialize(value, None, None)


class List(marshmallow.fields.List[Any]):
    """A JSON array of values of one type; only a Python list is written as one."""

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        result = []
        errors: dict[int, Any] = {}
        for index, item in enumerate(value):
            try:
                result.append(_serialize_item(self.inner, item))
            except ValidationError as error:
                errors[index] = error.messages
        if errors:
            raise ValidationError(errors)
        return result


class Mapping(Field[dict[str, Any]]):
    """A JSON object with arbitrary keys and values of one type."""

    default_error_messages = {"invalid": "Not a valid mapping with string keys."}

    def __init__(self, values: Field[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keys = Text()
        self.values = values

    def _each(self, value: Any, convert: Callable[..., Any]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        result = {}
        errors = {}
        for key, item in value.items():
            try:
                result[self._keys._check(key)] = convert(item)
            except ValidationError as error:
                errors[str(key)] = error.messages
        if errors:
            raise ValidationError(errors)
        return result

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> dict[str, Any]:
        return self._each(value, lambda item: _serialize_item(self.values, item))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        return self._each(value, self.values.deserialize)


class StructField(Field[Any]):
    """An object of a declared `Struct`."""

    def __init__(self, struct: type[Struct], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.struct = struct

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, self.struct):
            raise ValidationError(f"Not a {self.struct.__name__}.")
        dumped: dict[str, Any] = self.struct.__schema__.dump(value)
        return dumped

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        return self.struct.__schema__.load(value)


def format_timestamp(moment: dt.datetime) -> str:
    """Write an aware `moment` as RFC 3339 in UTC with microseconds."""
    return moment.astimezone(dt.timezone.utc).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_timestamp(text: str) -> dt.datetime:
    """Read an RFC 3339 date and time with any offset; finer than microseconds is cut off.

    Raises
    ------
    ValueError
        The text is not RFC 3339, has no offset, or is no possible date.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 date and time: {text[:64]!r}")
    fraction = (match[1] or "").ljust(7, "0") if match[1] else ""
    offset = "+00:00" if match[2] in "Zz" else match[2]
    moment = dt.datetime.fromisoformat(text[:10] + "T" + text[11:19] + fraction + offset)
    # Near year 1 and 9999 a move to UTC would leave the calendar; keep such a moment as it is.
    try:
        return moment.astimezone(dt.timezone.utc)
    except OverflowError:
        return moment
