"""Reading an Avro schema, in bounded time and memory, into the graph of its types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from eventbus.contracts.avro.defaults import fits
from eventbus.contracts.avro.logical import logical_type
from eventbus.contracts.avro.names import (
    full_name,
    is_full_name,
    is_name,
    is_reserved,
    namespace_of,
)
from eventbus.contracts.avro.refusals import refusal, shown
from eventbus.contracts.avro.types import (
    PRIMITIVES,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Node,
    Primitive,
    Record,
    Union,
    parts,
    reachable,
)
from eventbus.contracts.limits import (
    ENUM_MAX_VALUES,
    SCHEMA_MAX_BYTES,
    SCHEMA_MAX_DEPTH,
    SCHEMA_MAX_NODES,
)
from eventbus.shape import NO_DEFAULT

#: Fields of one record. More are a generator's mistake, or meant to be a burden.
RECORD_MAX_FIELDS = 2000
#: Of the JSON text: a record in a record is three levels further down.
_JSON_MAX_DEPTH = 3 * SCHEMA_MAX_DEPTH
#: Bytes of one value of ``fixed``.
FIXED_MAX_BYTES = 2**31 - 1


def parse_text(text: str, references: tuple[tuple[str, str], ...]) -> Node:
    """The graph of a schema's types.

    Raises
    ------
    InvalidSchema
        It breaks a rule of the specification, or exceeds the bounds; the text says where.
    """
    parser = _Parser(dict(references))
    root = parser.type_of(_json(text), "", "", 0)
    parser.check_whole(root)
    return root


class _Parser:
    """One reading: the names so far, and the names of other schemas that are read when used."""

    def __init__(self, references: Mapping[str, str]) -> None:
        self._references = references
        self._reading: list[str] = []
        self._names: dict[str, Named] = {}
        self._open: set[str] = set()
        self._fields: list[Field] = []
        self._nodes = 0
        self._recursive = False

    def type_of(self, given: Any, namespace: str, path: str, depth: int) -> Node:
        """The type that the JSON value `given` defines or names."""
        self._count(1, path)
        if depth > SCHEMA_MAX_DEPTH:
            raise refusal(path, f"is nested more than {SCHEMA_MAX_DEPTH} levels deep")
        if isinstance(given, str):
            return self._by_name(given, namespace, path, depth)
        if isinstance(given, list):
            return self._union(given, namespace, path, depth)
        if not isinstance(given, dict):
            raise refusal(path, f"is {shown(given)}, which is no type")
        kind = given.get("type")
        if isinstance(kind, (dict, list)):
            if set(given) - {"type", "doc"}:
                raise refusal(
                    path, "wraps another type and has attributes of its own; put them inside"
                )
            return self.type_of(kind, namespace, f"{path}/type", depth + 1)
        if kind in ("record", "error"):
            return self._record(given, namespace, path, depth)
        if kind == "enum":
            return self._enum(given, namespace, path)
        if kind == "fixed":
            return self._fixed(given, namespace, path)
        if kind == "array":
            items = self._inner(given, "items", namespace, path, depth)
            return Array(path=path, attributes=_others(given, "items"), items=items)
        if kind == "map":
            values = self._inner(given, "values", namespace, path, depth)
            return Map(path=path, attributes=_others(given, "values"), values=values)
        if isinstance(kind, str) and kind in PRIMITIVES:
            return self._primitive(given, kind, path)
        if isinstance(kind, str):
            return self._by_name(kind, namespace, path, depth)
        raise refusal(path, "has no type" if kind is None else f"has the type {shown(kind)}")

    def check_whole(self, root: Node) -> None:
        """What can only be told once every name is known."""
        for field in self._fields:
            if field.default is not NO_DEFAULT and not fits(field.default, field.type):
                raise refusal(
                    field.path,
                    f"has the default {shown(field.default)}, which is no {_default_type(field)}",
                )
        if self._recursive:
            _check_finite(root)

    def _count(self, nodes: int, path: str) -> None:
        self._nodes += nodes
        if self._nodes > SCHEMA_MAX_NODES:
            raise refusal(
                path, f"is beyond the {SCHEMA_MAX_NODES:,} types, fields and symbols of one"
            )

    def _by_name(self, name: str, namespace: str, path: str, depth: int) -> Node:
        if name in PRIMITIVES:
            return Primitive(path=path, name=name)
        if not is_full_name(name):
            raise refusal(path, f"names the type {shown(name)}, which is no name")
        for full in dict.fromkeys((full_name(name, namespace), name)):
            if full in self._names:
                self._recursive = self._recursive or full in self._open
                return self._names[full]
            if full in self._references:
                return self._referred(full, path, depth)
        raise refusal(path, f"names the type {shown(name)}, which is not defined before it")

    def _referred(self, full: str, path: str, depth: int) -> Node:
        if full in self._reading:
            raise refusal(path, f"refers to {full}, which refers to itself")
        self._reading.append(full)
        known = set(self._names)
        try:
            self.type_of(_json(self._references[full]), "", path, depth + 1)
        finally:
            self._reading.pop()
        for name in set(self._names) - known:
            self._names[name].referred = True
        if full not in self._names:
            raise refusal(path, f"refers to {full}, which the schema given for it does not define")
        return self._names[full]

    def _primitive(self, given: dict[str, Any], kind: str, path: str) -> Primitive:
        logical = logical_type(given, kind, None, path)
        return Primitive(path=path, name=kind, logical=logical, attributes=_others(given))

    def _inner(self, given: Any, key: str, namespace: str, path: str, depth: int) -> Node:
        if key not in given:
            raise refusal(path, f"is a {given['type']} without {key!r}")
        return self.type_of(given[key], namespace, f"{path}/{key}", depth + 1)

    def _union(self, given: list[Any], namespace: str, path: str, depth: int) -> Union:
        branches = []
        taken: set[str] = set()
        for index, one in enumerate(given):
            node = self.type_of(one, namespace, f"{path}/{index}", depth + 1)
            if isinstance(node, Union):
                raise refusal(f"{path}/{index}", "is a union directly inside a union")
            name = node.name if isinstance(node, Named) else node.kind
            if name in taken:
                raise refusal(f"{path}/{index}", f"is the second {name} of its union")
            taken.add(name)
            branches.append(node)
        return Union(path=path, branches=tuple(branches))

    def _enum(self, given: dict[str, Any], namespace: str, path: str) -> Enum:
        symbols = given.get("symbols")
        if not isinstance(symbols, list):
            raise refusal(path, "is an enum without a list of 'symbols'")
        if len(symbols) > ENUM_MAX_VALUES:
            raise refusal(path, f"is an enum of more than {ENUM_MAX_VALUES:,} symbols")
        self._count(len(symbols), path)
        for index, symbol in enumerate(symbols):
            if not is_name(symbol):
                raise refusal(f"{path}/symbols/{index}", f"is {shown(symbol)}, which is no name")
        if len(set(symbols)) < len(symbols):
            raise refusal(f"{path}/symbols", "has the same symbol twice")
        default = given.get("default")
        if default is not None and default not in symbols:
            raise refusal(f"{path}/default", f"is {shown(default)}, which is not among the symbols")
        name, aliases = self._name(given, namespace, path)
        node = Enum(
            path=path,
            name=name,
            aliases=aliases,
            attributes=_others(given, "symbols", "default"),
            symbols=tuple(symbols),
            default=default,
        )
        self._names[name] = node
        return node

    def _fixed(self, given: dict[str, Any], namespace: str, path: str) -> Fixed:
        size = given.get("size")
        if type(size) is not int or not 0 <= size <= FIXED_MAX_BYTES:
            raise refusal(path, f"is a fixed with the size {shown(size)}; give 0 or more bytes")
        name, aliases = self._name(given, namespace, path)
        node = Fixed(
            path=path,
            name=name,
            aliases=aliases,
            attributes=_others(given, "size"),
            logical=logical_type(given, "fixed", size, path),
            size=size,
        )
        self._names[name] = node
        return node

    def _record(self, given: dict[str, Any], namespace: str, path: str, depth: int) -> Record:
        name, aliases = self._name(given, namespace, path)
        fields = given.get("fields")
        if not isinstance(fields, list):
            raise refusal(path, "is a record without a list of 'fields'")
        if len(fields) > RECORD_MAX_FIELDS:
            raise refusal(path, f"is a record of more than {RECORD_MAX_FIELDS:,} fields")
        node = Record(path=path, name=name, aliases=aliases, attributes=_others(given, "fields"))
        # Known before its fields are: they may be of this very type.
        self._names[name] = node
        self._open.add(name)
        inside = namespace_of(name)
        node.fields = tuple(
            self._field(one, inside, f"{path}/fields/{index}", depth + 1)
            for index, one in enumerate(fields)
        )
        self._open.discard(name)
        _check_field_names(node)
        return node

    def _field(self, given: Any, namespace: str, path: str, depth: int) -> Field:
        if not isinstance(given, dict) or "type" not in given:
            raise refusal(path, "is no field: it has no 'type'")
        name = given.get("name")
        if not is_name(name):
            raise refusal(path, f"has the name {shown(name)}; use letters, digits and underscores")
        order = given.get("order", "ascending")
        if order not in ("ascending", "descending", "ignore"):
            raise refusal(
                path, f"has the order {shown(order)}; use ascending, descending or ignore"
            )
        field = Field(
            name=str(name),
            type=self.type_of(given["type"], namespace, f"{path}/type", depth),
            path=path,
            default=given.get("default", NO_DEFAULT),
            aliases=_strings(given, path),
            attributes=_without(given, ("name", "type", "default", "aliases")),
        )
        self._fields.append(field)
        return field

    def _name(
        self, given: dict[str, Any], namespace: str, path: str
    ) -> tuple[str, tuple[str, ...]]:
        """The full name and the full aliases of the type that `given` defines."""
        name, own = given.get("name"), given.get("namespace")
        if not is_full_name(name):
            raise refusal(path, f"has the name {shown(name)}; use letters, digits and underscores")
        if own not in (None, "") and not is_full_name(own):
            raise refusal(path, f"has the namespace {shown(own)}; use names separated by dots")
        full = full_name(str(name), namespace if own is None else own)
        if is_reserved(full):
            raise refusal(path, f"has the name {full}, which belongs to a primitive type")
        if full in self._names:
            raise refusal(path, f"defines {full} a second time")
        aliases = tuple(full_name(one, namespace_of(full)) for one in _strings(given, path))
        if full in aliases:
            raise refusal(path, f"has its own name {full} as an alias")
        return full, aliases


def _check_field_names(node: Record) -> None:
    """A name stands for one field, whether it is the field's name or its alias."""
    owners: dict[str, str] = {}
    for field in node.fields:
        if owners.setdefault(field.name, field.path) != field.path:
            raise refusal(field.path, f"is the second field called {field.name}")
    for field in node.fields:
        for alias in field.aliases:
            if alias in owners:
                other = "its own name" if owners[alias] == field.path else "another field's"
                raise refusal(field.path, f"has the alias {alias}, which is {other}")
            owners[alias] = field.path


def _check_finite(root: Node) -> None:
    """Refuse a record that contains itself with no way out: no value of it could end."""
    nodes = reachable(root)
    #: Node to how many of its parts must still be known to end.
    missing = {id(node): _must_end(node) for node in nodes}
    holders: dict[int, list[Node]] = {}
    for node in nodes:
        for part in parts(node):
            holders.setdefault(id(part), []).append(node)
    ended = [node for node in nodes if not missing[id(node)]]
    for node in ended:
        for holder in holders.get(id(node), ()):
            missing[id(holder)] -= 1
            if not missing[id(holder)]:
                ended.append(holder)
    endless = [node for node in nodes if missing[id(node)] > 0 and isinstance(node, Record)]
    if endless:
        raise refusal(
            endless[0].path,
            f"is the record {endless[0].name}, which contains itself without a way out; make the "
            f"field a union with null, an array or a map",
        )


def _must_end(node: Node) -> int:
    """A list or a map may be empty, and of a union one branch is enough."""
    if isinstance(node, Record):
        return len(node.fields)
    return 1 if isinstance(node, Union) and node.branches else 0


def _default_type(field: Field) -> str:
    if isinstance(field.type, Union) and field.type.branches:
        return f"{field.type.branches[0].kind}, the first of its union"
    return field.type.kind


def _strings(given: Mapping[str, Any], path: str) -> tuple[str, ...]:
    aliases = given.get("aliases", [])
    if not isinstance(aliases, list):
        raise refusal(path, f"has the aliases {shown(aliases)}; give a list of names")
    for alias in aliases:
        if not is_full_name(alias):
            raise refusal(
                path, f"has the alias {shown(alias)}; use letters, digits and underscores"
            )
    if len(set(aliases)) < len(aliases):
        raise refusal(path, "has the same alias twice")
    return tuple(aliases)


def _others(given: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """The attributes that are not part of the type's structure."""
    return _without(given, ("type", "name", "namespace", "aliases", *known))


def _without(given: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    if given.keys() <= set(known):
        return _NOTHING
    return {key: value for key, value in given.items() if key not in known}


#: One for all, as most types have no other attributes.
_NOTHING: dict[str, Any] = {}


def _json(text: str) -> Any:
    if len(text) > SCHEMA_MAX_BYTES:
        raise refusal("", f"has more than {SCHEMA_MAX_BYTES:,} bytes")
    # A primitive type alone is often written without quotes; no JSON text looks like one but null.
    if text.strip() in PRIMITIVES:
        return text.strip()
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
        text.encode()
    except RecursionError:
        raise refusal("", "is nested too deep") from None
    except UnicodeEncodeError:
        raise refusal("", "has a lone surrogate, which no text holds") from None
    except ValueError as error:
        raise refusal("", f"is no JSON text: {str(error)[:120]}") from None
    if text.count("[") + text.count("{") > _JSON_MAX_DEPTH or _ESCAPED_SURROGATE.search(text):
        _check_values(value)
    return value


def _check_values(root: Any) -> None:
    """Bound the nesting also where it is no type: in a default, in a foreign attribute."""
    level = [root]
    for _ in range(_JSON_MAX_DEPTH):
        if not level:
            return
        level = [inner for value in level for inner in _inner_values(value)]
    raise refusal("", f"is nested more than {_JSON_MAX_DEPTH} levels deep")


def _inner_values(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value, *value.values())
    if isinstance(value, str) and _LONE_SURROGATE.search(value):
        raise refusal("", "has a lone surrogate, which no text holds")
    return value if isinstance(value, list) else ()


_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has {shown(twice)} twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")
