"""What a derived schema says of a field beside its Protobuf type (see `marks`)."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

from eventbus.contracts.protobuf import marks
from eventbus.contracts.protobuf.model import Facets
from eventbus.contracts.protobuf.names import is_identifier
from eventbus.shape import Array, Enumeration, Field, Kind, Map, Scalar, Type

_KINDS = {Kind.UUID: "uuid", Kind.DATE: "date", Kind.DECIMAL: "decimal"}
_BOUNDS = (
    ("min", "min_length"),
    ("max", "max_length"),
    ("ge", "minimum"),
    ("le", "maximum"),
    ("gt", "exclusive_minimum"),
    ("lt", "exclusive_maximum"),
)


def facets_of_field(field: Field) -> Facets:
    """The facets of a field, in the order in which they are written."""
    found: dict[str, str] = {}
    if not field.required:
        found[marks.DEFAULT] = ""
    # A name that no Protobuf field can have, no Protobuf writer has used.
    aliases = " ".join(name for name in field.aliases if is_identifier(name))
    if aliases:
        found[marks.WAS] = aliases
    return {**found, **_of_type(field.element.type)}


def _of_type(type_: Type) -> dict[str, str]:
    if isinstance(type_, Scalar):
        return _of_scalar(type_)
    if isinstance(type_, Array):
        items = {"minitems": type_.min_items, "maxitems": type_.max_items}
        found = {key: str(value) for key, value in items.items() if value is not None}
        return {**found, **_of_each(type_.items.type)}
    if isinstance(type_, Map):
        return _of_each(type_.values.type)
    if isinstance(type_, Enumeration) and isinstance(type_.members[0][1], int):
        return {"choices": _digest(sorted(value for _, value in type_.members))}
    return {}


def _of_each(type_: Type) -> dict[str, str]:
    return {marks.EACH + key: value for key, value in _of_type(type_).items()}


def _of_scalar(scalar: Scalar) -> dict[str, str]:
    found: dict[str, str] = {}
    if scalar.kind in _KINDS:
        found[_KINDS[scalar.kind]] = ""
    if scalar.digits is not None and scalar.places is not None:
        found["whole"] = str(scalar.digits - scalar.places)
    if scalar.places is not None:
        found["places"] = str(scalar.places)
    for key, name in _BOUNDS:
        bound = getattr(scalar, name)
        if bound is not None:
            found[key] = marks.number_text(_exact(bound))
    if scalar.pattern is not None:
        found["pattern"] = _digest(scalar.pattern)
    if scalar.choices is not None:
        found["choices"] = _digest(sorted(scalar.choices, key=str))
    return found


def _exact(bound: int | float | Decimal) -> int | float | Decimal:
    return int(bound) if bound == int(bound) else bound


def _digest(value: Any) -> str:
    """Enough to tell one pattern or set of values from another."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:12]
