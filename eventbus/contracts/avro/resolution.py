"""Whether a reader's schema resolves everything written with another (Avro 1.12, "Schema
Resolution"), and more strictly than its rules where they lose what a value means.

The kinds of difference have the names of Avro's own ``SchemaIncompatibilityType``, and where the
rules here go further, names of their own:

``LOGICAL_TYPE_CHANGED``, ``DECIMAL_PRECISION_CHANGED``, ``DECIMAL_SCALE_CHANGED``
    Avro would read the underlying number as something else.
``ENUM_VALUE_CHANGED``, ``BOUND_NARROWED``
    The event's class would read another value, or refuse it (`eventbus.contracts.avro.bounds`).
``AMBIGUOUS_ALIAS``
    The writer has two fields for one of the reader; libraries differ, or fail.
``TOO_COMPLEX``
    The comparison was given up.
"""

from __future__ import annotations

from eventbus.contracts.avro.bounds import narrower
from eventbus.contracts.avro.types import (
    MARK,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Node,
    Record,
    Union,
    sameness,
)
from eventbus.contracts.compatibility import Difference
from eventbus.contracts.limits import COMPARISON_MAX_STEPS
from eventbus.shape import NO_DEFAULT

#: Writer's type to the reader's that its values are promoted to.
_PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}

#: Of one comparison; nobody reads more, and the first hundred say what is wrong.
DIFFERENCES_MAX = 1000


def resolve(reader: Node, writer: Node) -> list[Difference]:
    """Why `reader` cannot read everything that `writer` may write; empty if it can."""
    return _Resolution().differences(reader, writer)


class _Resolution:
    """One comparison.

    There is no "or" in it: which branch of a union reads a value is settled by its type alone,
    before its parts are looked at, as readers do it. So each pair of types is looked at once, a
    recursive schema ends, and every difference found counts.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._waiting: list[tuple[Node, Node, str]] = []
        self._found: list[Difference] = []
        self._steps = 0

    def differences(self, reader: Node, writer: Node) -> list[Difference]:
        self._later(reader, writer, "")
        while self._waiting and len(self._found) < DIFFERENCES_MAX:
            reader, writer, path = self._waiting.pop()
            self._steps += _cost(reader, writer)
            if self._steps > COMPARISON_MAX_STEPS:
                self._tell("TOO_COMPLEX", path, f"gave up after {COMPARISON_MAX_STEPS:,} steps")
                break
            self._pair(reader, writer, path)
        return sorted(self._found, key=lambda one: _order(one.path))

    def _later(self, reader: Node, writer: Node, path: str) -> None:
        same = sameness(reader)
        if same and same is sameness(writer):
            return
        pair = id(reader), id(writer)
        if pair not in self._seen:
            self._seen.add(pair)
            self._waiting.append((reader, writer, path))

    def _tell(self, kind: str, path: str, message: str) -> None:
        self._found.append(Difference(kind, path, message))

    def _pair(self, reader: Node, writer: Node, path: str) -> None:
        """`path` is where the reader uses the type, which may be defined elsewhere."""
        if isinstance(writer, Union):
            for branch in writer.branches:
                self._later(reader, branch, path)
        elif isinstance(reader, Union):
            self._union(reader, writer, path)
        elif _promotes(writer, reader):
            self._annotations(reader, writer, path)
        elif reader.kind != writer.kind:
            self._tell(
                "TYPE_MISMATCH",
                path,
                f"the reader has {_named(reader)} where the writer has {_named(writer)}",
            )
        elif isinstance(reader, Named) and isinstance(writer, Named):
            self._named(reader, writer, path)
        else:
            self._annotations(reader, writer, path)
            self._parts(reader, writer)

    def _named(self, reader: Named, writer: Named, path: str) -> None:
        if not _same_name(reader, writer):
            self._tell(
                "NAME_MISMATCH",
                f"{reader.path}/name",
                f"the reader's {reader.kind} is called {reader.name}, the writer's {writer.name}; "
                f"an alias {writer.name!r} makes them the same",
            )
            return
        self._annotations(reader, writer, path)
        if isinstance(reader, Enum) and isinstance(writer, Enum):
            self._enum(reader, writer)
        elif isinstance(reader, Fixed) and isinstance(writer, Fixed):
            if reader.size != writer.size:
                self._tell(
                    "FIXED_SIZE_MISMATCH",
                    f"{reader.path}/size",
                    f"the reader has {reader.size} bytes, the writer {writer.size}",
                )
        else:
            self._parts(reader, writer)

    def _parts(self, reader: Node, writer: Node) -> None:
        if isinstance(reader, Array) and isinstance(writer, Array):
            self._later(reader.items, writer.items, f"{reader.path}/items")
        elif isinstance(reader, Map) and isinstance(writer, Map):
            self._later(reader.values, writer.values, f"{reader.path}/values")
        elif isinstance(reader, Record) and isinstance(writer, Record):
            written = {field.name: field for field in writer.fields}
            for field in reader.fields:
                self._field(field, written)

    def _field(self, field: Field, written: dict[str, Field]) -> None:
        names = [name for name in (field.name, *field.aliases) if name in written]
        if len(names) > 1:
            self._tell(
                "AMBIGUOUS_ALIAS",
                field.path,
                f"the writer has both {names[0]} and {names[1]}, which are one field to the reader",
            )
        elif names:
            self._later(field.type, written[names[0]].type, f"{field.path}/type")
        elif field.default is NO_DEFAULT:
            self._tell(
                "READER_FIELD_MISSING_DEFAULT_VALUE",
                field.path,
                f"the reader needs the field {field.name}, which the writer does not have; a "
                f"default in the reader makes it optional",
            )

    def _enum(self, reader: Enum, writer: Enum) -> None:
        known = set(reader.symbols)
        missing = [symbol for symbol in writer.symbols if symbol not in known]
        if missing and reader.default is None:
            self._tell(
                "MISSING_ENUM_SYMBOLS",
                f"{reader.path}/symbols",
                f"the reader has not the writer's {_listed(missing)}, and no default for them",
            )
        values, written = enum_values(reader), enum_values(writer)
        for index, symbol in enumerate(reader.symbols):
            if symbol in written and values[symbol] != written[symbol]:
                self._tell(
                    "ENUM_VALUE_CHANGED",
                    f"{reader.path}/symbols/{index}",
                    f"{symbol} means {values[symbol]!r:.80} to the reader and "
                    f"{written[symbol]!r:.80} to the writer",
                )

    def _union(self, reader: Union, writer: Node, path: str) -> None:
        """The branch that reads it is the first that matches; some libraries prefer the very same
        type, so both must be able to."""
        matching = [branch for branch in reader.branches if _matches(branch, writer)]
        if not matching:
            self._tell(
                "MISSING_UNION_BRANCH",
                path,
                f"the reader's union has no branch for the writer's {_named(writer)}",
            )
        same = [branch for branch in matching if _is_same(branch, writer)]
        for branch in {id(one): one for one in (*matching[:1], *same[:1])}.values():
            self._later(branch, writer, f"{path}/{reader.branches.index(branch)}")

    def _annotations(self, reader: Node, writer: Node, path: str) -> None:
        mine, theirs = reader.logical, writer.logical
        if (mine and mine.name) != (theirs and theirs.name):
            self._tell(
                "LOGICAL_TYPE_CHANGED",
                path,
                f"the {writer.kind} is {_meaning(reader)} to the reader and {_meaning(writer)} to "
                f"the writer",
            )
        elif mine and theirs:
            self._decimal("precision", mine.precision, theirs.precision, path)
            self._decimal("scale", mine.scale, theirs.scale, path)
        for word, told in narrower(reader, writer):
            self._tell("BOUND_NARROWED", f"{path}/{MARK}/{_escaped(word)}", told)

    def _decimal(self, what: str, mine: int | None, theirs: int | None, path: str) -> None:
        if mine != theirs:
            self._tell(
                f"DECIMAL_{what.upper()}_CHANGED",
                path,
                f"the decimal's {what} is {mine} to the reader and {theirs} to the writer",
            )


def enum_values(node: Enum) -> dict[str, str | int]:
    """Symbol to the value that it stands for in the event's JSON form."""
    values = node.mark.get("values")
    if not isinstance(values, list) or len(values) != len(node.symbols):
        return {symbol: symbol for symbol in node.symbols}
    return dict(zip(node.symbols, values, strict=True))


def _promotes(writer: Node, reader: Node) -> bool:
    return reader.kind in _PROMOTIONS.get(writer.kind, ())


def _matches(reader: Node, writer: Node) -> bool:
    """Whether the reader's branch is chosen for it: parts are not looked at."""
    if _promotes(writer, reader):
        return True
    if isinstance(reader, Named) and isinstance(writer, Named):
        return (
            reader.kind == writer.kind and _same_name(reader, writer) and _same_size(reader, writer)
        )
    return reader.kind == writer.kind


def _is_same(reader: Node, writer: Node) -> bool:
    if isinstance(reader, Named) and isinstance(writer, Named):
        return reader.name == writer.name
    return reader.kind == writer.kind


def _same_name(reader: Named, writer: Named) -> bool:
    return reader.short_name == writer.short_name or writer.name in reader.aliases


def _same_size(reader: Named, writer: Named) -> bool:
    if isinstance(reader, Fixed) and isinstance(writer, Fixed):
        return reader.size == writer.size
    return True


def _named(node: Node) -> str:
    if isinstance(node, Union):
        return "a union"
    name = f"{node.kind} {node.name}" if isinstance(node, Named) else node.kind
    return f"{name} ({node.logical.name})" if node.logical else name


def _meaning(node: Node) -> str:
    return f"a {node.logical.name}" if node.logical else "nothing more"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _escaped(word: str) -> str:
    """As one step of a JSON Pointer (RFC 6901 §3)."""
    return word[:100].replace("~", "~0").replace("/", "~1")


def _order(path: str) -> list[tuple[int, str]]:
    """By position in the schema: ``/fields/10`` after ``/fields/9``."""
    return [(len(word) if word.isdigit() else 0, word) for word in path.split("/")]


def _cost(reader: Node, writer: Node) -> int:
    """Steps that a pair takes: what is looked at in its types, one by one."""
    if isinstance(writer, Union):
        return len(writer.branches)
    if isinstance(reader, Union):
        return len(reader.branches)
    if isinstance(reader, Record) and isinstance(writer, Record):
        return 1 + len(reader.fields) + len(writer.fields)
    if isinstance(reader, Enum) and isinstance(writer, Enum):
        return 1 + (len(reader.symbols) + len(writer.symbols)) // 100
    return 1
