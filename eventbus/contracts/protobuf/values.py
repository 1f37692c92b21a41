"""Single values of Protobuf as JSON has them, and back."""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any

from eventbus.contracts.protobuf.model import TIMESTAMP, Contract, Field
from eventbus.contracts.protobuf.names import value_of_constant
from eventbus.contracts.protobuf.runtime import attribute

Convert = Callable[[Any], Any]

#: Messages that stand for one value that may be absent.
WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_SECONDS, _NANOS, _VALUE = attribute(1), attribute(2), attribute(1)
_NANOS_MAX = 999_999_999


def moment_of(timestamp: Any) -> dt.datetime:
    """A Timestamp as a moment; finer than microseconds is cut off, as in RFC 3339 texts.

    Raises
    ------
    ValueError
        It is not between the years 1 and 9999.
    """
    nanos = getattr(timestamp, _NANOS)
    if not 0 <= nanos <= _NANOS_MAX:
        raise ValueError(f"{nanos} nanoseconds are no part of a second")
    try:
        return _EPOCH + dt.timedelta(0, getattr(timestamp, _SECONDS), nanos // 1000)
    except OverflowError:
        raise ValueError(f"second {getattr(timestamp, _SECONDS)} is no date") from None


def timestamp_of(moment: dt.datetime) -> dict[str, int]:
    """The fields of a Timestamp."""
    passed = moment.astimezone(dt.timezone.utc) - _EPOCH
    return {_SECONDS: passed.days * 86_400 + passed.seconds, _NANOS: passed.microseconds * 1000}


def _timestamp_text(timestamp: Any) -> str:
    return moment_of(timestamp).isoformat(timespec="microseconds")[:-6] + "Z"


def finite(value: float) -> float:
    """`value`, which JSON can hold; ValueError for NaN and the infinities."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def enum_values(contract: Contract, field: Field, derived: bool) -> dict[int, str]:
    """Number to value of an enum; of aliases the first."""
    enum = contract.enums[field.type_name]
    found: dict[int, str] = {}
    for name, number in enum.values.items():
        found.setdefault(number, value_of_constant(enum, name) if derived else name)
    return found


def to_json(contract: Contract, field: Field, derived: bool) -> Convert | None:
    """What makes the JSON form of a single value; None where it is the value itself.

    Messages are the caller's, but for those that stand for a value.
    """
    if field.type_name == TIMESTAMP:
        return _timestamp_text
    if field.type_name in WRAPPERS:
        return _unwrap(to_json(contract, contract.messages[field.type_name].fields[1], derived))
    if field.type == "enum":
        return _named(enum_values(contract, field, derived))
    return _CONVERSIONS.get(field.type)


_CONVERSIONS: dict[str, Convert] = {"double": finite, "float": finite, "bytes": _base64}


def _unwrap(convert: Convert | None) -> Convert:
    if convert is None:
        return lambda wrapper: getattr(wrapper, _VALUE)
    return lambda wrapper: convert(getattr(wrapper, _VALUE))


def _named(values: Mapping[int, str]) -> Convert:
    # A number without a name stays one: the event's class refuses it by its value.
    return lambda number: values.get(number, number)
