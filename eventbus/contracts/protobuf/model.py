"""What a Protobuf schema says, in the terms in which two of them are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

#: The reserved name of the messages that are derived from an event class; see `marks`.
MARK = "x_eventbus"

#: In the order of FieldDescriptorProto.Type, so that a type's number is its index.
TYPES = (
    "",
    "double",
    "float",
    "int64",
    "uint64",
    "int32",
    "fixed64",
    "fixed32",
    "bool",
    "string",
    "group",
    "message",
    "bytes",
    "uint32",
    "enum",
    "sfixed32",
    "sfixed64",
    "sint32",
    "sint64",
)

TIMESTAMP = "google.protobuf.Timestamp"

#: What is said of a field beside its type: see `marks`.
Facets = Mapping[str, str]

#: The first and last number of what `reserved` and `extensions` name, both included.
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message, or an extension of it.

    Parameters
    ----------
    type:
        A scalar's name, ``enum``, ``message``, or ``group`` for the delimited encoding.
    type_name:
        The full name of the enum or message.
    has_presence:
        Whether a reader can tell that it is absent.
    nullable:
        In a singular field: whether a writer may leave it out.
    optional_keyword:
        Whether it says ``optional`` in proto3.
    oneof:
        The oneof that it stands in, one of the schema's text.
    default:
        What a reader takes where it is absent; an enum's is a number. None for messages and lists.
    """

    name: str
    number: int
    type: str
    type_name: str = ""
    repeated: bool = False
    required: bool = False
    has_presence: bool = False
    nullable: bool = False
    optional_keyword: bool = False
    oneof: str | None = None
    default: Any = None

    @property
    def composite(self) -> bool:
        """Whether its values are messages."""
        return self.type in ("message", "group")


@dataclass(frozen=True)
class Message:
    """A message.

    Parameters
    ----------
    full_name:
        With its package, without a leading dot.
    name:
        Without the package.
    fields:
        By number, known extensions included.
    reserved_ranges, reserved_names:
        What no field may be numbered or called any more.
    derived:
        Whether it was derived from an event class, or is a map's entry in such a message.
    facets:
        In a derived message: what is said of fields, by their names.
    """

    full_name: str
    name: str
    fields: Mapping[int, Field]
    reserved_ranges: tuple[Range, ...] = ()
    reserved_names: frozenset[str] = frozenset()
    is_map_entry: bool = False
    derived: bool = False
    facets: Mapping[str, Facets] = field(default_factory=dict)

    @cached_property
    def oneofs(self) -> Mapping[str, Sequence[Field]]:
        """The members of each oneof."""
        found: dict[str, list[Field]] = {}
        for member in self.fields.values():
            if member.oneof is not None:
                found.setdefault(member.oneof, []).append(member)
        return found

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name."""
        return {found.name: found for found in self.fields.values()}


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum.

    Parameters
    ----------
    values:
        Name to number, in the order of the text; with aliases, several names have one number.
    closed:
        Whether a reader drops a number that it does not know (proto2), instead of keeping it.
    """

    full_name: str
    name: str
    values: Mapping[str, int]
    closed: bool = False
    reserved_ranges: tuple[Range, ...] = ()
    reserved_names: frozenset[str] = frozenset()

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers that have a name."""
        return frozenset(self.values.values())


@dataclass(frozen=True)
class Contract:
    """A schema with what it imports.

    Parameters
    ----------
    roots:
        The full names of the messages at the top of the schema's own file, in its order.
    descriptors:
        The serialised FileDescriptorSet that it was read from.
    """

    package: str
    roots: tuple[str, ...]
    messages: Mapping[str, Message]
    enums: Mapping[str, EnumType]
    descriptors: bytes = field(repr=False)

    @cached_property
    def helpers(self) -> frozenset[str]:
        """The messages that others hold: they are parts of events, not events."""
        held = {
            field.type_name
            for message in self.messages.values()
            for field in message.fields.values()
            # Holding oneself makes nobody a helper.
            if field.composite
            and message.full_name != field.type_name
            and not message.full_name.startswith(f"{field.type_name}.")
        }
        return frozenset(held.difference(self.roots[:1]))

    @property
    def event(self) -> Message | None:
        """The event's message: the first one, as the frame's message index 0 says."""
        return self.messages[self.roots[0]] if self.roots else None
