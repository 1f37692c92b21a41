"""A writer's schema compiled into what reads its bodies: into JSON form, or past them."""

from __future__ import annotations

from collections.abc import Sequence

from eventbus.contracts.avro import binary
from eventbus.contracts.avro.binary import Read
from eventbus.contracts.avro.resolution import enum_values
from eventbus.contracts.avro.types import (
    Array,
    Enum,
    Fixed,
    Map,
    Node,
    Primitive,
    Record,
    Union,
    parts,
    reachable,
)
from eventbus.contracts.avro.values import to_json
from eventbus.errors import InvalidSchema


class Reading:
    """Compiles readers for the types of one schema.

    Raises
    ------
    InvalidSchema
        A value of it is more than is read, although it takes no bytes.
    """

    def __init__(self, root: Node) -> None:
        self._free = FreeValues()
        if self._free.of(root) > binary.FREE_VALUES_MAX:
            raise InvalidSchema(
                f"the Avro schema has more than {binary.FREE_VALUES_MAX:,} values that take no "
                f"bytes; no body of it is read"
            )
        self._recursive = _recursive(root)
        self._records: dict[tuple[int, bool], Read] = {}
        #: Whether bytes alone do not bound what is read.
        self.metered = bool(self._recursive) or any(map(self._has_free_parts, reachable(root)))

    def json(self, node: Node) -> Read:
        """What reads `node` into its JSON form."""
        return self._read(node, True)

    def skip(self, node: Node) -> Read:
        """What reads `node` where its value is not wanted: only the encoding is checked."""
        return self._read(node, False)

    def _read(self, node: Node, wanted: bool) -> Read:
        if isinstance(node, Record):
            return self._record(node, wanted)
        if isinstance(node, Union):
            return self.union(node, [self._read(branch, wanted) for branch in node.branches])
        if isinstance(node, Array):
            return self.array(node, self._read(node.items, wanted))
        if isinstance(node, Map):
            return self.mapping(node, binary.read_string, self._read(node.values, wanted))
        if isinstance(node, Enum):
            return binary.one_of(list(enum_values(node).values()))
        return binary.converted(plain(node), to_json(node) if wanted else None)

    def _record(self, node: Record, wanted: bool) -> Read:
        key = id(node), wanted
        if key not in self._records:
            # A record inside itself is found by what stands here until it is compiled.
            self._records[key] = lambda body, at: self._records[key](body, at)
            fields = [(one.name, one.name, self._read(one.type, wanted)) for one in node.fields]
            self._records[key] = self.record(node, binary.record(fields))
        return self._records[key]

    def union(self, node: Union, branches: Sequence[Read]) -> Read:
        """One of what `branches` read."""
        free = [self._free.of(branch) for branch in node.branches]
        return binary.metered_union(branches, free) if sum(free) > 1 else binary.union(branches)

    def array(self, node: Array, item: Read) -> Read:
        """A list of what `item` reads."""
        return binary.array(item, self._free.of(node.items))

    def mapping(self, node: Map, key: Read, value: Read) -> Read:
        """A map to what `value` reads."""
        return binary.mapping(key, value, self._free.of(node.values))

    def record(self, node: Record, read: Read) -> Read:
        """`read`, bounded in depth where the record contains itself."""
        return binary.nested(read) if id(node) in self._recursive else read

    def _has_free_parts(self, node: Node) -> bool:
        if isinstance(node, Union):
            # A branch that is chosen has taken a byte.
            return sum(map(self._free.of, node.branches)) > 1
        return not isinstance(node, Record) and any(map(self._free.of, parts(node)))


class FreeValues:
    """How many values a type has that take no bytes, before a byte of a union or a block.

    Between two such bytes no record comes back to itself: it would have no end.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def of(self, node: Node) -> int:
        """The count, which grows with each level where a record has the same type twice."""
        if id(node) not in self._counts:
            self._counts[id(node)] = self._count(node)
        return self._counts[id(node)]

    def _count(self, node: Node) -> int:
        if isinstance(node, Primitive):
            return int(node.name == "null")
        if isinstance(node, Fixed):
            return int(node.size == 0)
        if isinstance(node, Record):
            return sum(map(self.of, parts(node))) if node.fields else 1
        return 0


def plain(node: Node) -> Read:
    """What reads a type without parts, whatever it means."""
    if isinstance(node, Fixed):
        return binary.fixed(node.size)
    return binary.PRIMITIVE_READERS[node.kind]


def _recursive(root: Node) -> set[int]:
    """The records that a walk through the schema meets while it is inside them; each circle of
    types has one."""
    found: set[int] = set()
    inside: set[int] = set()
    left: set[int] = set()
    waiting: list[tuple[Node, bool]] = [(root, False)]
    while waiting:
        node, leaving = waiting.pop()
        if leaving:
            inside.discard(id(node))
            left.add(id(node))
        elif id(node) in inside:
            found.add(id(node))
        elif id(node) not in left:
            inside.add(id(node))
            waiting.append((node, True))
            waiting.extend((part, False) for part in parts(node))
    return found
