"""Values of Avro types and their JSON form in an event.

    Avro                                JSON form
    long timestamp-micros               "2026-01-31T09:30:00.000000Z"
    int date                            "2026-01-31"
    string uuid, fixed(16) uuid         "0194a5f2-…"
    bytes decimal, fixed decimal        "12.50"
    enum                                the value of its symbol
    bytes, fixed                        the characters with their numbers, as in Avro's own JSON

The types that an event's class is derived to, and those that other producers use.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from eventbus.contracts.avro.binary import INT_MAX, INT_MIN
from eventbus.contracts.avro.logical import DECIMAL_MAX_PRECISION
from eventbus.contracts.avro.types import Fixed, Logical, Node
from eventbus.fields import INTEGER_MAX, INTEGER_MIN, format_timestamp, parse_timestamp

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_LOCAL_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a local time has no zone
EPOCH_DAY = EPOCH.toordinal()
MICROSECOND = dt.timedelta(microseconds=1)

#: Exact for every decimal that a schema allows.
_EXACT = Context(prec=2 * DECIMAL_MAX_PRECISION, traps=[Inexact, InvalidOperation])

#: Units of a logical type in a second.
_PER_SECOND = {"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}

Convert = Callable[[Any], Any]


class Unwritable(ValueError):
    """A value of an event has no form in the schema."""


def to_json(node: Node) -> Convert | None:
    """What turns a value read as `node`, which has no parts, into its JSON form; None: nothing."""
    logical = node.logical
    if logical is not None:
        if logical.precision is not None:
            return lambda raw: format(decimal_of(raw, logical), "f")
        found = _TO_JSON.get((node.kind, logical.name))
        if found is not None:
            return found
        if isinstance(node, Fixed) and logical.name == "uuid" and node.size == 16:
            return lambda raw: str(uuid.UUID(bytes=raw))
        if node.kind == "long" and _unit(logical) is not None:
            return _moment_to_json(logical)
    if node.kind in ("bytes", "fixed"):
        return lambda raw: raw.decode("latin-1")
    return _finite if node.kind in ("float", "double") else None


def from_json(node: Node) -> Convert:
    """What turns the JSON form of a value into what is written as `node`, which has no parts.

    It raises `Unwritable`.
    """
    logical = node.logical
    size = node.size if isinstance(node, Fixed) else None
    if logical is not None:
        if logical.precision is not None:
            return lambda value: decimal_bytes(value, logical, size)
        found = _FROM_JSON.get((node.kind, logical.name))
        if found is not None:
            return found
        if size == 16 and logical.name == "uuid":
            return lambda value: _uuid(value).bytes
        if node.kind == "long" and _unit(logical) is not None:
            return lambda value: _units_of(value, logical)
    if size is not None:
        return lambda value: _bytes(value, size)
    return _PLAIN[node.kind]


def decimal_of(raw: bytes, logical: Logical) -> Decimal:
    """The decimal in the two's complement `raw`; ValueError where it has too many digits."""
    assert logical.precision is not None
    assert logical.scale is not None
    # A byte holds more than two digits, and a writer may extend the sign by some.
    if len(raw) > logical.precision + 16:
        raise ValueError(f"a decimal of {len(raw)} bytes has more than {logical.precision} digits")
    unscaled = int.from_bytes(raw, "big", signed=True)
    if abs(unscaled) >= 10**logical.precision:
        raise ValueError(f"a decimal has more than {logical.precision} digits")
    return Decimal(unscaled).scaleb(-logical.scale, _EXACT)


def moment_of(micros: int) -> dt.datetime:
    """So many microseconds since 1970; OverflowError outside the years 1 to 9999."""
    return EPOCH + dt.timedelta(0, 0, micros)


def date_of(days: int) -> dt.date:
    """So many days since 1970-01-01; ValueError outside the years 1 to 9999."""
    return dt.date.fromordinal(EPOCH_DAY + days)


# -- to JSON -------------------------------------------------------------------------------------


def _finite(raw: float) -> float:
    if not math.isfinite(raw):
        raise ValueError(f"{raw} has no form in JSON")
    return raw


def _moment_to_json(logical: Logical) -> Convert:
    divide = _PER_SECOND[str(_unit(logical))]

    def convert(raw: int) -> str:
        since = dt.timedelta(0, raw // divide, raw % divide * 1_000_000 // divide)
        if logical.name.startswith("local-"):
            return (_LOCAL_EPOCH + since).isoformat(timespec="microseconds")
        return format_timestamp(EPOCH + since)

    return convert


def _time_to_json(units_per_second: int) -> Convert:
    def convert(raw: int) -> str:
        if not 0 <= raw < 86_400 * units_per_second:
            raise ValueError(f"{raw} is no time of a day")
        since = dt.timedelta(0, 0, raw * (1_000_000 // units_per_second))
        return (_LOCAL_EPOCH + since).time().isoformat(timespec="microseconds")

    return convert


_TO_JSON: dict[tuple[str, str], Convert] = {
    ("long", "timestamp-micros"): lambda raw: format_timestamp(moment_of(raw)),
    ("int", "date"): lambda raw: date_of(raw).isoformat(),
    ("int", "time-millis"): _time_to_json(_PER_SECOND["millis"]),
    ("long", "time-micros"): _time_to_json(_PER_SECOND["micros"]),
}


def _unit(logical: Logical) -> str | None:
    """``micros`` of ``timestamp-micros``; None where it is no moment."""
    name = logical.name.removeprefix("local-")
    unit = name.removeprefix("timestamp-")
    return unit if unit != name and unit in _PER_SECOND else None


# -- from JSON -----------------------------------------------------------------------------------


def _integer(low: int, high: int, kind: str) -> Convert:
    def convert(value: Any) -> int:
        if type(value) is not int:
            raise Unwritable(f"Not a valid {kind}.")
        if not low <= value <= high:
            raise Unwritable(f"Does not fit the contract's {kind}.")
        return value

    return convert


def _typed(wanted: type, kind: str) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is not wanted and not (wanted is str and isinstance(value, str)):
            raise Unwritable(f"Not a valid {kind}.")
        return value

    return convert


def _real(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise Unwritable("Not a valid number.")
    return float(value)


def _real_of_32_bits(value: Any) -> float:
    real = _real(value)
    if abs(real) > 3.4028234663852886e38:
        raise Unwritable("Does not fit the contract's float.")
    return real


def _null(value: Any) -> None:
    if value is not None:
        raise Unwritable("Must be null.")


def _bytes(value: Any, size: int | None = None) -> bytes:
    try:
        raw = value.encode("latin-1") if isinstance(value, str) else None
    except UnicodeEncodeError:
        raw = None
    if raw is None or (size is not None and len(raw) != size):
        raise Unwritable("Not valid bytes.")
    return raw


def _uuid(value: Any) -> uuid.UUID:
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise Unwritable("Not a valid UUID.") from None


def _micros(value: Any) -> int:
    try:
        return (parse_timestamp(value) - EPOCH) // MICROSECOND
    except (ValueError, TypeError):
        raise Unwritable("Not a valid RFC 3339 date and time.") from None


def _units_of(value: Any, logical: Logical) -> int:
    if logical.name.startswith("local-"):
        raise Unwritable(f"An event has no {logical.name}; use timestamp-micros in the contract.")
    units = _PER_SECOND[str(_unit(logical))]
    found, rest = divmod(_micros(value) * units, 1_000_000)
    if rest:
        raise Unwritable(f"Is finer than the contract's {logical.name}.")
    if not INTEGER_MIN <= found <= INTEGER_MAX:
        raise Unwritable(f"Does not fit the contract's {logical.name}.")
    return found


def _days(value: Any) -> int:
    try:
        return dt.date.fromisoformat(value).toordinal() - EPOCH_DAY
    except (ValueError, TypeError):
        raise Unwritable("Not a valid date.") from None


def decimal_bytes(value: Any, logical: Logical, size: int | None = None) -> bytes:
    """The two's complement of a decimal's text, in `size` bytes or as few as it takes.

    Raises
    ------
    Unwritable
        It is no decimal, or has more digits or places.
    """
    assert logical.precision is not None
    assert logical.scale is not None
    try:
        scaled = Decimal(value).scaleb(logical.scale, _EXACT) if isinstance(value, str) else None
        unscaled = None if scaled is None else int(scaled.to_integral_exact(context=_EXACT))
    except (InvalidOperation, Inexact, ValueError, OverflowError):
        unscaled = None
    if unscaled is None or abs(unscaled) >= 10**logical.precision:
        raise Unwritable(
            f"Not a decimal of {logical.precision} digits with {logical.scale} places."
        )
    length = (unscaled.bit_length() // 8) + 1 if size is None else size
    return unscaled.to_bytes(length, "big", signed=True)


_PLAIN: dict[str, Convert] = {
    "null": _null,
    "boolean": _typed(bool, "boolean"),
    "string": _typed(str, "string"),
    "int": _integer(INT_MIN, INT_MAX, "int"),
    "long": _integer(INTEGER_MIN, INTEGER_MAX, "long"),
    "float": _real_of_32_bits,
    "double": _real,
    "bytes": _bytes,
}
_FROM_JSON: dict[tuple[str, str], Convert] = {
    ("long", "timestamp-micros"): _micros,
    ("int", "date"): _days,
}
