"""Random Avro schemas, small changes to them, and values that fit them."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_LOGICAL = (
    {"type": "string", "logicalType": "uuid"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "int", "logicalType": "date"},
    {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
)
_SYMBOLS = ("A", "B", "C", "D")
_NAMES = ("a", "b", "c", "d", "e")


class Generator:
    """Schemas, changes and values from one source of chance."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._defined: list[str] = []

    def record(self) -> dict[str, Any]:
        """A schema that is a record."""
        self._defined = []
        return self._record(2)

    # -- schemas ---------------------------------------------------------------------------------

    def _record(self, depth: int) -> dict[str, Any]:
        name = self._new_name("R")
        fields = [self._field(one, depth) for one in self._some(_NAMES, 0, 4)]
        return {"type": "record", "name": name, "fields": fields}

    def _field(self, name: str, depth: int) -> dict[str, Any]:
        field = {"name": name, "type": self._type(depth)}
        if self._random.random() < 0.5:
            self._give_default(field)
        return field

    def _give_default(self, field: dict[str, Any]) -> None:
        default = default_of(field["type"])
        if default is not _NONE:
            field["default"] = default

    def _type(self, depth: int) -> Any:
        kinds = ["primitive"] * 4 + ["logical"]
        if depth > 0:
            kinds += ["record", "enum", "fixed", "array", "map", "union", "union", "reference"]
        kind = self._random.choice(kinds)
        if kind == "reference" and self._defined:
            return self._random.choice(self._defined)
        make = getattr(self, f"_{kind}", None)
        return make(depth - 1) if make else self._random.choice(_PRIMITIVES)

    def _logical(self, depth: int) -> Any:
        return copy.deepcopy(self._random.choice(_LOGICAL))

    def _enum(self, depth: int) -> Any:
        symbols = self._some(_SYMBOLS, 1, 3)
        found: dict[str, Any] = {"type": "enum", "name": self._new_name("E"), "symbols": symbols}
        if self._random.random() < 0.3:
            found["default"] = symbols[0]
        return found

    def _fixed(self, depth: int) -> Any:
        return {"type": "fixed", "name": self._new_name("F"), "size": self._random.choice((1, 2))}

    def _array(self, depth: int) -> Any:
        return {"type": "array", "items": self._type(depth)}

    def _map(self, depth: int) -> Any:
        return {"type": "map", "values": self._type(depth)}

    def _union(self, depth: int) -> Any:
        branches: dict[str, Any] = {}
        for _ in range(self._random.choice((1, 2, 2, 3))):
            branch = self._type(depth)
            if not isinstance(branch, list):
                branches.setdefault(_branch_name(branch), branch)
        return list(branches.values()) or ["null"]

    def _new_name(self, letter: str) -> str:
        name = f"{letter}{len(self._defined)}"
        self._defined.append(name)
        return name

    def _some(self, given: tuple[str, ...], least: int, most: int) -> list[str]:
        return self._random.sample(given, self._random.randint(least, most))

    # -- changes ---------------------------------------------------------------------------------

    def changed(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A copy with one to three changes, which may not be a valid schema any longer."""
        holder = {"type": copy.deepcopy(schema)}
        for _ in range(self._random.randint(1, 3)):
            self._change(holder)
        return holder["type"]

    def _change(self, holder: dict[str, Any]) -> None:
        places = list(_places(holder, "type"))
        inside, key = self._random.choice(places)
        type_ = inside[key]
        choices = [lambda: self._replace(inside, key), lambda: self._promote(inside, key)]
        if isinstance(type_, list):
            choices += [lambda: self._random.shuffle(type_), lambda: self._unwrap(inside, key)] * 2
        else:
            choices.append(lambda: self._wrap(inside, key))
        kind = type_.get("type") if isinstance(type_, dict) else None
        changes = {
            "record": self._change_record,
            "enum": self._change_enum,
            "fixed": self._change_fixed,
            "bytes": self._change_decimal,
        }
        if kind in changes:
            choices += [lambda: changes[kind](type_)] * 4
        self._random.choice(choices)()

    def _replace(self, inside: Any, key: Any) -> None:
        self._defined = [f"N{self._random.randint(0, 10**9)}"]
        inside[key] = self._type(0)

    def _promote(self, inside: Any, key: Any) -> None:
        if isinstance(inside[key], str):
            wider = {"int": "long", "long": "double", "float": "double", "string": "bytes"}
            inside[key] = wider.get(inside[key], inside[key])

    def _wrap(self, inside: Any, key: Any) -> None:
        if isinstance(inside, list):
            return
        others = self._random.sample(["null", "string", "long", "double"], 2)
        branches = [inside[key], *(one for one in others if one != _branch_name(inside[key]))]
        self._random.shuffle(branches)
        inside[key] = branches

    def _unwrap(self, inside: Any, key: Any) -> None:
        if inside[key]:
            inside[key] = self._random.choice(inside[key])

    def _change_record(self, record: dict[str, Any]) -> None:
        fields = record["fields"]
        choice = self._random.choice(("add", "remove", "rename", "shuffle", "default", "name"))
        if choice == "add":
            new = self._random.choice([*_NAMES, "f", "g"])
            fields.append({"name": new, "type": self._random.choice(_PRIMITIVES)})
            if self._random.random() < 0.7:
                self._give_default(fields[-1])
        elif choice == "name":
            if self._random.random() < 0.7:
                record["aliases"] = [record["name"]]
            record["name"] += "x"
        elif choice == "shuffle":
            self._random.shuffle(fields)
        elif fields:
            field = self._random.choice(fields)
            if choice == "remove":
                fields.remove(field)
            elif choice == "default":
                self._give_default(field)
            else:
                if self._random.random() < 0.7:
                    field["aliases"] = [field["name"]]
                field["name"] += "x"

    def _change_enum(self, enum: dict[str, Any]) -> None:
        choice = self._random.choice(("symbols", "default", "name"))
        if choice == "symbols":
            enum["symbols"] = self._some(_SYMBOLS, 1, 4)
        if choice == "default" or enum.get("default", enum["symbols"][0]) not in enum["symbols"]:
            enum["default"] = enum["symbols"][0]
        if choice == "name":
            enum["name"] += "x"

    def _change_fixed(self, fixed: dict[str, Any]) -> None:
        if self._random.random() < 0.5:
            fixed["size"] += 1
        else:
            fixed["aliases"] = [fixed["name"]]
            fixed["name"] += "x"

    def _change_decimal(self, decimal: dict[str, Any]) -> None:
        if "precision" in decimal:
            decimal[self._random.choice(("precision", "scale"))] = self._random.randint(1, 6)

    # -- values ----------------------------------------------------------------------------------

    def value(self, schema: Any) -> Any:
        """A value that fits, as fastavro takes it for the encoding without logical types."""
        return self._value(schema, named_types(schema), 0)

    def _value(self, schema: Any, names: dict[str, Any], depth: int) -> Any:
        if isinstance(schema, list):
            # A recursive value has to end.
            branch = "null" if depth > 6 and "null" in schema else self._random.choice(schema)
            return (_branch_name(branch), self._value(branch, names, depth + 1))
        if isinstance(schema, str) and schema in names:
            return self._value(names[schema], names, depth + 1)
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "record":
            return {
                one["name"]: self._value(one["type"], names, depth + 1) for one in schema["fields"]
            }
        if kind == "enum":
            return self._random.choice(schema["symbols"])
        if kind == "fixed":
            return self._random.randbytes(schema["size"])
        if kind in ("array", "map"):
            inner = schema["items" if kind == "array" else "values"]
            count = 0 if depth > 6 else self._random.randint(0, 2)
            values = [self._value(inner, names, depth + 1) for _ in range(count)]
            return values if kind == "array" else dict(zip("xyz", values, strict=False))
        return self._primitive_value(kind, schema)

    def _primitive_value(self, kind: str, schema: Any) -> Any:
        random = self._random
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        if logical == "uuid":
            return f"0194a5f2-0000-7000-8000-0000000000{random.randint(0, 255):02x}"
        if logical == "decimal":
            return random.randint(-9, 9).to_bytes(1, "big", signed=True)
        return {
            "null": lambda: None,
            "boolean": lambda: random.random() < 0.5,
            "int": lambda: random.randint(-(2**20), 2**20),
            "long": lambda: random.randint(-(2**40), 2**40),
            "float": lambda: float(random.randint(-1000, 1000)),
            "double": lambda: random.random(),
            # A reader may take them for a string, as the specification allows.
            "bytes": lambda: bytes(random.choices(b"abc", k=random.randint(0, 3))),
            "string": lambda: "".join(random.choices("abcäß", k=random.randint(0, 3))),
        }[kind]()


_NONE = object()


def default_of(schema: Any) -> Any:
    """A default for the type, where one is easy to say."""
    if isinstance(schema, list):
        return default_of(schema[0]) if schema else _NONE
    kind = schema if isinstance(schema, str) else schema["type"]
    if isinstance(schema, dict) and schema.get("logicalType") in ("uuid", "decimal"):
        return _NONE
    if kind == "enum":
        return schema["symbols"][0]
    simple = {
        "null": None,
        "boolean": True,
        "int": 1,
        "long": 2,
        "float": 1.5,
        "double": 2.5,
        "bytes": "ÿ",
        "string": "s",
        "array": [],
        "map": {},
    }
    return simple.get(kind, _NONE)


def _branch_name(schema: Any) -> str:
    if isinstance(schema, dict):
        return str(schema.get("name") or schema["type"])
    return "union" if isinstance(schema, list) else str(schema)


def named_types(schema: Any) -> dict[str, Any]:
    """Name to definition of the named types in the schema."""
    found = {}
    for holder, key in _places({"type": schema}, "type"):
        if isinstance(holder[key], dict) and "name" in holder[key]:
            found[holder[key]["name"]] = holder[key]
    return found


def _places(holder: Any, key: Any) -> Any:
    """Where in the schema a type stands: what holds it, and under which key."""
    yield holder, key
    type_ = holder[key]
    if isinstance(type_, list):
        for index in range(len(type_)):
            yield from _places(type_, index)
    elif isinstance(type_, dict):
        for field in type_.get("fields", ()):
            yield from _places(field, "type")
        for inner in ("items", "values"):
            if inner in type_:
                yield from _places(type_, inner)


def without_logical_types(schema: Any) -> Any:
    """The schema of the encoding alone."""
    if isinstance(schema, list):
        return [without_logical_types(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: value for key, value in schema.items() if key not in _MEANINGS}
    for key in ("type", "items", "values"):
        if key in found and not isinstance(found[key], str):
            found[key] = without_logical_types(found[key])
    if "fields" in found:
        found["fields"] = [
            {**field, "type": without_logical_types(field["type"])} for field in found["fields"]
        ]
    return found


_MEANINGS = ("logicalType", "precision", "scale")
