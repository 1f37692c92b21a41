"""An Avro schema as a graph: names are resolved, and a type that contains itself is a cycle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eventbus.shape import NO_DEFAULT

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")

#: The attribute in which a contract derived from an event says what Avro has no words for: bounds,
#: the values of an enum, deprecations. Avro's readers ignore what they do not know.
MARK = "x-eventbus"


@dataclass(frozen=True, slots=True)
class Logical:
    """What a logical type makes of an underlying one (Avro 1.12, "Logical Types")."""

    name: str
    precision: int | None = None
    scale: int | None = None


@dataclass(eq=False, slots=True, kw_only=True)
class Node:
    """One type where it is defined.

    Parameters
    ----------
    path:
        A JSON Pointer (RFC 6901) to its definition.
    attributes:
        What else stands there: ``doc``, and what the specification does not know.
    """

    path: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    logical: Logical | None = None
    _sameness: str | None = field(default=None, init=False, repr=False)

    @property
    def kind(self) -> str:
        """The type's name: ``long``, ``record``."""
        return type(self).__name__.lower()

    @property
    def mark(self) -> Mapping[str, Any]:
        """What eventbus says of it."""
        found = self.attributes.get(MARK)
        return found if isinstance(found, dict) else {}


@dataclass(eq=False, slots=True, kw_only=True)
class Primitive(Node):
    """A type without parts."""

    name: str

    @property
    def kind(self) -> str:
        return self.name


@dataclass(eq=False, slots=True, kw_only=True)
class Array(Node):
    """A list."""

    items: Node


@dataclass(eq=False, slots=True, kw_only=True)
class Map(Node):
    """String keys to values of one type."""

    values: Node


@dataclass(eq=False, slots=True, kw_only=True)
class Union(Node):
    """One of several types."""

    branches: tuple[Node, ...]


@dataclass(eq=False, slots=True, kw_only=True)
class Named(Node):
    """A type with a name; `aliases` are full names too. `referred` is from another schema."""

    name: str
    aliases: tuple[str, ...] = ()
    referred: bool = False

    @property
    def short_name(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(".")[2]


@dataclass(eq=False, slots=True, kw_only=True)
class Fixed(Named):
    """So many bytes."""

    size: int


@dataclass(eq=False, slots=True, kw_only=True)
class Enum(Named):
    """One of the symbols."""

    symbols: tuple[str, ...]
    default: str | None = None


@dataclass(eq=False, slots=True, kw_only=True)
class Record(Named):
    """Named fields, which are set once all names in them are known."""

    fields: tuple[Field, ...] = ()


@dataclass(eq=False, slots=True, kw_only=True)
class Field:
    """A field; `default` is JSON, or `NO_DEFAULT`."""

    name: str
    type: Node
    path: str
    default: Any = NO_DEFAULT
    aliases: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


def sameness(node: Node) -> str:
    """A text that is equal for two types only if one resolves the other, whatever is in them.

    Empty where that is not told at a glance: a record, or a union of more than null and a type.
    """
    if node._sameness is None:
        node._sameness = sys.intern(_sameness(node))
    return node._sameness


def _sameness(node: Node) -> str:
    # A record may contain itself.
    if isinstance(node, Record):
        return ""
    inner = parts(node)
    told = [sameness(part) for part in inner]
    if not all(told):
        return ""
    if isinstance(node, Union) and (len(inner) != 2 or all(one.kind != "null" for one in inner)):
        return ""
    own: tuple[Any, ...] = ()
    if isinstance(node, Enum):
        own = (node.name, node.symbols)
    elif isinstance(node, Fixed):
        own = (node.name, node.size)
    return repr((node.kind, own, node.logical, node.mark, told))


def parts(node: Node) -> tuple[Node, ...]:
    """The types directly inside `node`."""
    if isinstance(node, Record):
        return tuple(one.type for one in node.fields)
    if isinstance(node, Union):
        return node.branches
    if isinstance(node, Array):
        return (node.items,)
    return (node.values,) if isinstance(node, Map) else ()


def reachable(root: Node) -> list[Node]:
    """Every type in the schema once, the outer ones first."""
    found: dict[int, Node] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting.extend(reversed(parts(node)))
    return list(found.values())
