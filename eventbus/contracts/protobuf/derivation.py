"""From the fields of an event to the text of a proto3 file.

    str, UUID, Decimal, date    string, as the event's JSON has it
    int                         int64, also for an Enum of integers
    bool, float                 bool, double
    datetime                    google.protobuf.Timestamp
    Enum of strings             enum, with UNSPECIFIED for 0; a constant is a prefix and the value
    Struct                      a message in the event's
    list, dict                  repeated, map<string, ...>
    None                        optional: null is absence

The event's message is the only one at the top. A field keeps the number that it had in an earlier
version under its name or an alias; numbers and names that are used no more stay reserved. What
Protobuf does not say stands in reserved names (`marks`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence

from eventbus.contracts.protobuf import marks
from eventbus.contracts.protobuf.facets import facets_of_field
from eventbus.contracts.protobuf.model import (
    MARK,
    TIMESTAMP,
    Contract,
    EnumType,
    Message,
    Range,
)
from eventbus.contracts.protobuf.names import (
    UNSPECIFIED,
    constant_of,
    is_identifier,
    message_of,
    package_of,
)
from eventbus.contracts.protobuf.numbers import Numbers, number_constants, number_fields
from eventbus.errors import DeclarationError
from eventbus.shape import Array, Element, Enumeration, Field, Kind, Map, Record, Scalar, Type

_SCALARS = {
    Kind.STRING: "string",
    Kind.INTEGER: "int64",
    Kind.BOOLEAN: "bool",
    Kind.FLOAT: "double",
    Kind.DECIMAL: "string",
    Kind.UUID: "string",
    Kind.DATE: "string",
    # A leading dot: an event may be called google.something.
    Kind.TIMESTAMP: f".{TIMESTAMP}",
}

_INDENT = "  "
_LINE_MAX = 96


def derived_text(record: Record, previous: Sequence[Contract]) -> str:
    """The proto3 file of an event.

    Parameters
    ----------
    previous:
        Its earlier versions, the oldest first.

    Raises
    ------
    DeclarationError
        A field has no form in Protobuf; the text says what to use.
    """
    writer = _Writer(previous)
    body = writer.event(record)
    head = ['syntax = "proto3";', "", f"package {package_of(record.name)};", ""]
    if writer.uses_timestamp:
        head += ['import "google/protobuf/timestamp.proto";', ""]
    return "\n".join([*head, *body, ""])


class _Writer:
    """Writes one file: a message, and in it the messages and enums of its fields."""

    def __init__(self, previous: Sequence[Contract]) -> None:
        self.uses_timestamp = False
        self._previous = [(contract, contract.event) for contract in previous]
        self._nested: dict[str, list[str]] = {}

    def event(self, record: Record) -> list[str]:
        history = [message for _, message in self._previous if message is not None]
        *lines, end = self._message(record, message_of(record.name), history, record.name)
        for nested in self._nested.values():
            lines += ["", *_indented(nested)]
        return [*lines, end]

    def _message(
        self, record: Record, name: str, history: Sequence[Message], owner: str
    ) -> list[str]:
        numbers = number_fields(owner, record.fields, history)
        lines = [*_comment(record.doc), f"message {name} {{"]
        lines += _indented(_reserved(numbers))
        for field in record.fields:
            lines += _indented(self._field(field, numbers, f"{owner}.{field.name}"))
        return [*lines, "", *_indented(_marks(record)), "}"]

    def _field(self, field: Field, numbers: Numbers, where: str) -> list[str]:
        if not is_identifier(field.name) or marks.JOINT in field.name:
            raise DeclarationError(
                f"{where} cannot be the name of a Protobuf field; use letters, digits and single "
                f"underscores"
            )
        options = " [deprecated = true]" if field.deprecated is not None else ""
        declared = f"{self._labelled(field.element, where)} {field.name}"
        return [*_comment(field.doc), f"{declared} = {numbers.of[field.name]}{options};"]

    def _labelled(self, element: Element, where: str) -> str:
        if isinstance(element.type, Array):
            return f"repeated {self._item(element, element.type.items, where)}"
        if isinstance(element.type, Map):
            return f"map<string, {self._item(element, element.type.values, where)}>"
        named = self._type(element.type, where)
        return f"optional {named}" if element.nullable else named

    def _item(self, whole: Element, item: Element, where: str) -> str:
        if whole.nullable:
            raise DeclarationError(
                f"{where} is a list or dict that may be None, which Protobuf cannot tell from an "
                f"empty one; give it the default [] or {{}}, or put it into a Struct that may be "
                f"None"
            )
        if item.nullable:
            raise DeclarationError(
                f"{where} holds values that may be None, which a Protobuf list or map cannot; "
                f"leave them out, or put the value into a Struct"
            )
        if isinstance(item.type, (Array, Map)):
            raise DeclarationError(
                f"{where} holds lists or dicts in another, for which Protobuf has no type; declare "
                f"a Struct with the inner one as its field"
            )
        return self._type(item.type, where)

    def _type(self, type_: Type, where: str) -> str:
        if isinstance(type_, Scalar):
            self.uses_timestamp |= type_.kind is Kind.TIMESTAMP
            return _SCALARS[type_.kind]
        if isinstance(type_, Enumeration):
            if all(isinstance(value, int) for _, value in type_.members):
                return _SCALARS[Kind.INTEGER]
            return self._nest(type_.name, lambda: self._enum(type_, where))
        assert isinstance(type_, Record)
        history = [
            contract.messages[full_name]
            for contract, full_name in self._nested_before(type_.name)
            if full_name in contract.messages
        ]
        return self._nest(type_.name, lambda: self._message(type_, type_.name, history, type_.name))

    def _nest(self, name: str, write: Callable[[], list[str]]) -> str:
        if name not in self._nested:
            # Its place first: what it needs itself comes behind it.
            self._nested[name] = []
            self._nested[name] = write()
        return name

    def _nested_before(self, name: str) -> list[tuple[Contract, str]]:
        """Where earlier versions had a type of this name."""
        return [
            (contract, f"{message.full_name}.{name}")
            for contract, message in self._previous
            if message is not None
        ]

    def _enum(self, enum: Enumeration, where: str) -> list[str]:
        values = [str(value) for _, value in enum.members]
        if UNSPECIFIED in values or any(not isinstance(value, str) for _, value in enum.members):
            raise DeclarationError(
                f"{where}: the values of {enum.name} cannot be those of a Protobuf enum; use "
                f"strings alone or integers alone, and none that is {UNSPECIFIED!r}, which says "
                f"in Protobuf that there is no value"
            )
        history: list[EnumType] = [
            contract.enums[full_name]
            for contract, full_name in self._nested_before(enum.name)
            if full_name in contract.enums
        ]
        constants = [constant_of(enum.name, value) for value in (UNSPECIFIED, *values)]
        numbers = number_constants(where, constants, history)
        declared = sorted((number, name) for name, number in numbers.of.items())
        lines = [f"{name} = {number};" for number, name in declared]
        return [f"enum {enum.name} {{", *_indented([*_reserved(numbers), *lines]), "}"]


def _marks(record: Record) -> list[str]:
    """What Protobuf does not say: one reserved name for the message, one for each field."""
    found = [(field.name, facets_of_field(field)) for field in record.fields]
    names = [marks.mark_of(name, facets) for name, facets in found if facets]
    return [
        "// Not names that were used: what Protobuf has no words for, read by eventbus.",
        *_reserved_statement([f'"{name}"' for name in (MARK, *names)]),
    ]


def _reserved(numbers: Numbers) -> list[str]:
    return [
        *_reserved_statement([_range(found) for found in numbers.reserved_ranges]),
        *_reserved_statement([f'"{name}"' for name in numbers.reserved_names]),
    ]


def _reserved_statement(items: Sequence[str]) -> list[str]:
    """One statement, on as many lines as it takes."""
    if not items:
        return []
    text = f"reserved {', '.join(items)};"
    return textwrap.wrap(
        text,
        _LINE_MAX,
        subsequent_indent=_INDENT * 2,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _range(found: Range) -> str:
    first, last = found
    return str(first) if first == last else f"{first} to {last}"


def _comment(text: str) -> list[str]:
    printable = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
    return [f"// {line}".rstrip() for line in printable.splitlines()]


def _indented(lines: Iterable[str]) -> list[str]:
    return [_INDENT + line if line else line for line in lines]
