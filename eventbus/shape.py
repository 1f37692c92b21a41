"""The fields of an event, free of any schema language: what each of them is derived from."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

#: A field without a default.
NO_DEFAULT: Any = type("NoDefault", (), {"__repr__": lambda self: "NO_DEFAULT", "__slots__": ()})()


class Kind(enum.Enum):
    """What a single value means."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    FLOAT = "float"
    DECIMAL = "decimal"
    UUID = "uuid"
    TIMESTAMP = "timestamp"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value.

    Parameters
    ----------
    min_length, max_length:
        Characters (Unicode code points) of a string.
    pattern:
        A regular expression that is found in the string, as in JSON Schema (ECMA-262): anchored
        with ``^`` and ``$`` where the whole string must match.
    minimum, maximum, exclusive_minimum, exclusive_maximum:
        Bounds of a number.
    digits, places:
        Of a decimal: digits in all, and of these after the point.
    choices:
        The only values, in their JSON form.
    """

    kind: Kind
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    minimum: int | float | Decimal | None = None
    maximum: int | float | Decimal | None = None
    exclusive_minimum: int | float | Decimal | None = None
    exclusive_maximum: int | float | Decimal | None = None
    digits: int | None = None
    places: int | None = None
    choices: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class Enumeration:
    """One of several named values; `members` is (name, value), the value a string or an integer."""

    name: str
    members: tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, slots=True)
class Array:
    """A list."""

    items: Element
    min_items: int | None = None
    max_items: int | None = None


@dataclass(frozen=True, slots=True)
class Map:
    """An object with arbitrary keys."""

    values: Element
    min_items: int | None = None
    max_items: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """An event or a struct: named fields.

    Parameters
    ----------
    name:
        The event's name (``order.paid``), or the class's for a struct.
    """

    name: str
    fields: tuple[Field, ...]
    doc: str = ""
    deprecated: Deprecation | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """What a field, a list or a map holds."""

    type: Type
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Deprecation:
    """When something goes away, and what to use instead."""

    until: dt.date | None
    instead: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Parameters
    ----------
    name:
        On the wire.
    default:
        Its JSON form, or `NO_DEFAULT`: a reader needs a field that has none.
    aliases:
        Names that earlier writers used.
    number:
        A Protobuf field number, where one is given by hand.
    """

    name: str
    element: Element
    default: Any = NO_DEFAULT
    aliases: tuple[str, ...] = ()
    deprecated: Deprecation | None = None
    number: int | None = None
    doc: str = ""

    @property
    def required(self) -> bool:
        """Whether a reader cannot do without it."""
        return self.default is NO_DEFAULT


Type = Scalar | Enumeration | Array | Map | Record
