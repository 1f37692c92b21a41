"""An event class as the record that every contract is derived from (`eventbus.shape`).

What has no exact form in a contract is refused here, with what to use instead: what a schema
promises is what the class writes and reads, no more and no less. A field's type is told by
marshmallow's fields, its bounds by marshmallow's validators (`eventbus.bounds`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import marshmallow
from marshmallow import missing

from eventbus import fields
from eventbus.bounds import bounds_of
from eventbus.errors import DeclarationError
from eventbus.event import Event, Struct
from eventbus.shape import (
    NO_DEFAULT,
    Array,
    Element,
    Enumeration,
    Field,
    Kind,
    Map,
    Record,
    Scalar,
    Type,
)

_KINDS: dict[type, Kind] = {
    fields.Text: Kind.STRING,
    fields.Int: Kind.INTEGER,
    fields.Bool: Kind.BOOLEAN,
    fields.Float: Kind.FLOAT,
    fields.DecimalText: Kind.DECIMAL,
    fields.Uuid: Kind.UUID,
    fields.Timestamp: Kind.TIMESTAMP,
    fields.Date: Kind.DATE,
}


def record_of(cls: type[Struct]) -> Record:
    """What `cls` writes and reads, as a value.

    Parameters
    ----------
    cls:
        An event class, or a struct.

    Raises
    ------
    DeclarationError
        A field has no exact form in a contract; the text names it and the remedy.
    """
    return _Reading().record(cls)


class _Reading:
    """Reads one class; remembers which types have which names, as a contract names each once."""

    def __init__(self) -> None:
        self._named: dict[str, type] = {}

    def record(self, cls: type[Struct]) -> Record:
        """The record of `cls` and of the structs in it."""
        event = issubclass(cls, Event)
        name = (cls.__event_name__ if issubclass(cls, Event) else "") or cls.__name__
        if not event:
            self._name(cls, cls.__qualname__)
        return Record(
            name,
            tuple(self._field(cls, name, field) for name, field in cls.__declared__.items()),
            _doc(cls),
            cls.__deprecated__ if issubclass(cls, Event) else None,
        )

    def _field(
        self, cls: type[Struct], name: str, declared: marshmallow.fields.Field[Any]
    ) -> Field:
        where = f"{cls.__qualname__}.{name}"
        marks = cls.__marks__[name]
        return Field(
            declared.data_key or name,
            self._element(declared, where),
            _default(declared, name, where),
            marks.aliases,
            marks.deprecated,
            marks.number,
            str(declared.metadata.get("description", "")),
        )

    def _element(self, declared: marshmallow.fields.Field[Any], where: str) -> Element:
        return Element(self._type(declared, where), bool(declared.allow_none))

    def _type(self, declared: marshmallow.fields.Field[Any], where: str) -> Type:
        make = self._makers().get(type(declared))
        if make is None:
            raise DeclarationError(
                f"{where} is a {type(declared).__name__}, which has no form in a contract; use an "
                f"annotation such as str, with bounds in Annotated[str, Length(max=64)], or a "
                f"field of eventbus.fields"
            )
        return make(declared, where, bounds_of(declared, where))

    def _makers(self) -> dict[type, Callable[[Any, str, dict[str, Any]], Type]]:
        """By the exact type of the field: what a subclass writes otherwise, nobody knows."""
        return {
            **dict.fromkeys(_KINDS, _scalar),
            fields.List: lambda declared, where, bounds: Array(
                self._element(declared.inner, f"{where}[]"), **bounds
            ),
            fields.Mapping: lambda declared, where, bounds: Map(
                self._element(declared.values, f"{where}{{}}"), **bounds
            ),
            fields.EnumValue: lambda declared, where, bounds: self._enumeration(
                declared.enum, where
            ),
            fields.StructField: lambda declared, where, bounds: self.record(declared.struct),
        }

    def _enumeration(self, cls: type[enum.Enum], where: str) -> Enumeration:
        if issubclass(cls, enum.Flag):
            raise DeclarationError(
                f"{where} is the flags {cls.__name__}, whose combinations have no form in a "
                f"contract; use a list of an Enum, or an int"
            )
        self._name(cls, where)
        members = tuple((member.name, member.value) for member in cls)
        if not members:
            raise DeclarationError(f"{where}: {cls.__name__} has no members")
        return Enumeration(cls.__name__, members)

    def _name(self, cls: type, where: str) -> None:
        if self._named.setdefault(cls.__name__, cls) is not cls:
            raise DeclarationError(
                f"{where} has a second type called {cls.__name__}; a contract names its types, so "
                f"call one of them otherwise"
            )


def _scalar(declared: marshmallow.fields.Field[Any], where: str, bounds: dict[str, Any]) -> Type:
    if isinstance(declared, fields.DecimalText) and declared.places is not None:
        bounds = {**bounds, "digits": declared.digits, "places": declared.places}
    return Scalar(_KINDS[type(declared)], **bounds)


def _default(declared: marshmallow.fields.Field[Any], name: str, where: str) -> Any:
    default = declared.load_default
    if default is missing:
        return NO_DEFAULT
    if callable(default):
        default = _settled(default, where)
    return None if default is None else declared._serialize(default, name, None)


def _settled(make: Callable[[], Any], where: str) -> Any:
    first, second = make(), make()
    if first != second:
        raise DeclarationError(
            f"{where} has a default that is another one each time ({first!r:.60}); a contract "
            f"needs a fixed one, so make it optional, | None = None, and set it where you publish"
        )
    return first


def _doc(cls: type) -> str:
    """The docstring of the class itself, not of a base."""
    return "\n".join(line.strip() for line in (cls.__doc__ or "").strip().splitlines())
