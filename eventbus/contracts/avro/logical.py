"""Logical types: which there are, and on which underlying type (Avro 1.12, "Logical Types")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eventbus.contracts.avro.refusals import refusal, shown
from eventbus.contracts.avro.types import Logical

#: Digits of a decimal; a fixed or bytes of more is a mistake.
DECIMAL_MAX_PRECISION = 1000


def logical_type(
    given: Mapping[str, Any], kind: str, size: int | None, path: str
) -> Logical | None:
    """The logical type that a type's attributes say, with the underlying `kind`.

    One that is not known, or stands on another underlying type than it belongs to, is kept by its
    name: a reader ignores it, but a change of it is told.

    Raises
    ------
    InvalidSchema
        A decimal's precision or scale is none. The specification lets a reader ignore that and
        read bytes; a contract that says decimal means one.
    """
    name = given.get("logicalType")
    if name is None:
        return None
    if not isinstance(name, str):
        raise refusal(path, f"has the logicalType {shown(name)}, which is no string")
    if name != "decimal" or kind not in ("bytes", "fixed"):
        return Logical(name)
    precision, scale = given.get("precision"), given.get("scale", 0)
    most = DECIMAL_MAX_PRECISION if size is None else _digits_in(size)
    if type(precision) is not int or not 1 <= precision <= most:
        raise refusal(path, f"is a decimal with the precision {shown(precision)}; give 1 to {most}")
    if type(scale) is not int or not 0 <= scale <= precision:
        raise refusal(
            path,
            f"is a decimal with the scale {shown(scale)}; give 0 to {precision}, its precision",
        )
    return Logical(name, precision, scale)


def _digits_in(size_bytes: int) -> int:
    """How many decimal digits always fit into a signed number of so many bytes."""
    if size_bytes == 0:
        return 0
    return min(math.floor(math.log10(2) * (8 * size_bytes - 1)), DECIMAL_MAX_PRECISION)
