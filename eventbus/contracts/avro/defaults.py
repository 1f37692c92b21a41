"""Whether a default is a value of its field's type (Avro 1.12, "Complex Types: Records")."""

from __future__ import annotations

import math
from typing import Any

import marshmallow

from eventbus.contracts.avro.types import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Node,
    Primitive,
    Record,
    Union,
)
from eventbus.fields import Uuid
from eventbus.shape import NO_DEFAULT

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1
_FLOAT_MAX = 3.4028234663852886e38


def fits(value: Any, node: Node) -> bool:
    """Whether the JSON value `value` is a default for `node`.

    The default of a union is one of its first branch: so do all versions of the specification read
    it. From 1.12 on any branch may have it, which earlier readers take for another value or refuse.
    """
    if isinstance(node, Primitive):
        return _fits_primitive(value, node)
    if isinstance(node, Union):
        return bool(node.branches) and fits(value, node.branches[0])
    if isinstance(node, Enum):
        return isinstance(value, str) and value in node.symbols
    if isinstance(node, Fixed):
        return _is_bytes(value) and len(value) == node.size and _fits_decimal(value, node)
    if isinstance(node, Array):
        return isinstance(value, list) and all(fits(item, node.items) for item in value)
    if isinstance(node, Map):
        return isinstance(value, dict) and all(fits(item, node.values) for item in value.values())
    assert isinstance(node, Record)
    return isinstance(value, dict) and all(_fits_field(value, field) for field in node.fields)


def _fits_field(value: dict[str, Any], field: Field) -> bool:
    if field.name in value:
        return fits(value[field.name], field.type)
    return field.default is not NO_DEFAULT


def _fits_primitive(value: Any, node: Primitive) -> bool:
    name = node.name
    if name == "null":
        return value is None
    if name == "boolean":
        return isinstance(value, bool)
    if name == "string":
        return isinstance(value, str) and _is_text(value) and _fits_uuid(value, node)
    if name == "bytes":
        return _is_bytes(value) and _fits_decimal(value, node)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if name == "int":
        return isinstance(value, int) and INT_MIN <= value <= INT_MAX
    if name == "long":
        return isinstance(value, int) and LONG_MIN <= value <= LONG_MAX
    return _fits_real(value, name)


def _fits_real(value: int | float, name: str) -> bool:
    try:
        real = float(value)
    except OverflowError:
        return False
    return math.isfinite(real) and (name == "double" or abs(real) <= _FLOAT_MAX)


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _is_bytes(value: Any) -> bool:
    """Bytes are written as the characters with their numbers."""
    return isinstance(value, str) and all(character <= "\xff" for character in value)


def _fits_uuid(value: str, node: Node) -> bool:
    if node.logical is None or node.logical.name != "uuid":
        return True
    try:
        Uuid().deserialize(value)
    except marshmallow.ValidationError:
        return False
    return True


def _fits_decimal(value: str, node: Node) -> bool:
    if node.logical is None or node.logical.name != "decimal" or node.logical.precision is None:
        return True
    unscaled = int.from_bytes(value.encode("latin-1"), "big", signed=True)
    return abs(unscaled) < int(10**node.logical.precision)
