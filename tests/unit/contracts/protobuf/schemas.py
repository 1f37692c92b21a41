"""Random Protobuf files, changes of them, and messages: what the comparison is tried with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

SCALARS = (
    *("double", "float", "bool", "string", "bytes"),
    *("int32", "uint32", "sint32", "fixed32", "sfixed32"),
    *("int64", "uint64", "sint64", "fixed64", "sfixed64"),
)
TYPES = (*SCALARS, "E", "Inner")
LABELS = ("", "optional", "repeated", "required", "map", "oneof")
NUMBERS = tuple(range(1, 9))


@dataclass(frozen=True)
class FieldSpec:
    number: int
    name: str
    type: str
    label: str
    default: str = ""


@dataclass(frozen=True)
class FileSpec:
    syntax: str
    fields: tuple[FieldSpec, ...]
    inner: tuple[FieldSpec, ...]
    enum: tuple[tuple[str, int], ...]
    reserved: tuple[int, ...] = ()
    package: str = field(default="p")

    def text(self) -> str:
        enum = "".join(f"{name} = {number};" for name, number in self.enum)
        alias = "option allow_alias = true;" if self._aliased() else ""
        return (
            f'syntax = "{self.syntax}"; package {self.package};\n'
            f"message Event {{ {self._fields(self.fields)} {self._reserved()} }}\n"
            f"message Inner {{ {self._fields(self.inner)} }}\n"
            f"enum E {{ {alias} {enum} }}\n"
        )

    def _aliased(self) -> bool:
        numbers = [number for _, number in self.enum]
        return len(set(numbers)) < len(numbers)

    def _reserved(self) -> str:
        used = {one.number for one in self.fields}
        free = [str(number) for number in sorted(set(self.reserved)) if number not in used]
        return f"reserved {', '.join(free)};" if free else ""

    def _fields(self, fields: tuple[FieldSpec, ...]) -> str:
        plain = [self._field(one) for one in fields if one.label != "oneof"]
        members = [
            f"{one.type} {one.name} = {one.number};" for one in fields if one.label == "oneof"
        ]
        return " ".join([*plain, f"oneof choice {{ {' '.join(members)} }}" if members else ""])

    def _field(self, one: FieldSpec) -> str:
        label = one.label
        if label == "map":
            return f"map<string, {one.type}> {one.name} = {one.number};"
        if self.syntax == "proto2":
            label = label or "optional"
        elif label == "required":
            label = ""
        default = ""
        if self.syntax == "proto2" and label == "optional" and one.type in ("int32", "int64"):
            default = f"[default = {one.default}]" if one.default else ""
        return f"{label} {one.type} {one.name} = {one.number} {default};"


@st.composite
def fields(draw: st.DrawFn, most: int, types: tuple[str, ...] = TYPES) -> tuple[FieldSpec, ...]:
    numbers = draw(st.lists(st.sampled_from(NUMBERS), unique=True, min_size=1, max_size=most))
    return tuple(
        FieldSpec(number, f"f{number}", draw(st.sampled_from(types)), draw(st.sampled_from(LABELS)))
        for number in numbers
    )


@st.composite
def enums(draw: st.DrawFn) -> tuple[tuple[str, int], ...]:
    others = draw(st.lists(st.sampled_from([1, 2, 3, -1, 2**31 - 1]), unique=True, max_size=4))
    return (("ZERO", 0), *((f"V{abs(number)}{'N' * (number < 0)}", number) for number in others))


@st.composite
def files(draw: st.DrawFn) -> FileSpec:
    return FileSpec(
        draw(st.sampled_from(["proto2", "proto3"])),
        draw(fields(5)),
        draw(fields(3, (*SCALARS, "E"))),
        draw(enums()),
    )


def _changed_field(draw: st.DrawFn, one: FieldSpec, taken: set[int], names: set[str]) -> FieldSpec:
    what = draw(st.sampled_from(["type", "near type", "label", "number", "name", "default"]))
    if what == "type":
        return replace(one, type=draw(st.sampled_from(TYPES[:-1])))
    if what == "near type":
        # Mostly those that are encoded alike: the others are refused at once.
        near = ["int32", "int64", "uint32", "uint64", "bool", "E", "string", "bytes", "sint32"]
        return replace(one, type=draw(st.sampled_from(near)))
    if what == "label":
        return replace(one, label=draw(st.sampled_from(LABELS)))
    if what == "number":
        free = [number for number in NUMBERS if number not in taken]
        return replace(one, number=draw(st.sampled_from(free))) if free else one
    if what == "default":
        return replace(one, default=draw(st.sampled_from(["", "0", "7"])))
    name = draw(st.sampled_from(["renamed", "other"]))
    return one if name in names else replace(one, name=name)


def _changed_fields(draw: st.DrawFn, found: tuple[FieldSpec, ...]) -> tuple[FieldSpec, ...]:
    rows = list(found)
    taken, names = {one.number for one in rows}, {one.name for one in rows}
    action = draw(st.sampled_from(["change", "remove", "add", "merge"]))
    if action == "remove" and len(rows) > 1:
        rows.pop(draw(st.integers(0, len(rows) - 1)))
    elif action == "add":
        free = [number for number in NUMBERS if number not in taken]
        if free:
            number = draw(st.sampled_from(free))
            if f"f{number}" not in names:
                one = FieldSpec(number, f"f{number}", draw(st.sampled_from(TYPES[:-1])), "")
                rows.append(replace(one, label=draw(st.sampled_from(LABELS))))
    elif action == "merge":
        rows = [
            replace(one, label="oneof") if one.label in ("", "optional") else one for one in rows
        ]
    elif rows:
        at = draw(st.integers(0, len(rows) - 1))
        rows[at] = _changed_field(draw, rows[at], taken, names)
    return tuple(rows)


@st.composite
def changed(draw: st.DrawFn, spec: FileSpec) -> FileSpec:
    """`spec` after one to three changes."""
    for _ in range(draw(st.integers(1, 3))):
        what = draw(
            st.sampled_from(["fields", "fields", "fields", "inner", "enum", "syntax", "package"])
        )
        if what == "fields":
            spec = replace(spec, fields=_changed_fields(draw, spec.fields))
        elif what == "inner":
            spec = replace(spec, inner=_changed_fields(draw, spec.inner))
        elif what == "enum":
            spec = replace(spec, enum=draw(enums()))
        elif what == "syntax":
            spec = replace(spec, syntax=draw(st.sampled_from(["proto2", "proto3"])))
        else:
            spec = replace(spec, package=draw(st.sampled_from(["p", "q.r"])))
    return spec


_INTEGERS = {
    "int32": (-(2**31), 2**31 - 1),
    "sint32": (-(2**31), 2**31 - 1),
    "sfixed32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "sint64": (-(2**63), 2**63 - 1),
    "sfixed64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "fixed32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "fixed64": (0, 2**64 - 1),
}


def scalar_values(type_: str, spec: FileSpec) -> st.SearchStrategy[Any]:
    if type_ in _INTEGERS:
        low, high = _INTEGERS[type_]
        return st.sampled_from([low, high, 0, 1]) | st.integers(low, high)
    if type_ == "E":
        known = st.sampled_from([number for _, number in spec.enum])
        # An open enum may hold any number.
        return known if spec.syntax == "proto2" else known | st.sampled_from([77, -5])
    return {
        "bool": st.booleans(),
        "string": st.text(max_size=3),
        "bytes": st.binary(max_size=3),
        "float": st.floats(width=32, allow_nan=False),
        "double": st.floats(allow_nan=False),
    }[type_]


def fill(draw: st.DrawFn, message: Any, rows: tuple[FieldSpec, ...], spec: FileSpec) -> None:
    """Set some fields of a message of ours at random, all that are required."""
    for one in rows:
        if one.label != "required" and not draw(st.booleans()):
            continue
        if one.type == "Inner":
            _fill_inner(draw, message, one, spec)
            continue
        values = scalar_values(one.type, spec)
        if one.label == "repeated":
            getattr(message, one.name).extend(draw(st.lists(values, max_size=3)))
        elif one.label == "map":
            for key in draw(st.lists(st.sampled_from(["", "a", "b"]), unique=True)):
                getattr(message, one.name)[key] = draw(values)
        else:
            setattr(message, one.name, draw(values))


def _fill_inner(draw: st.DrawFn, message: Any, one: FieldSpec, spec: FileSpec) -> None:
    target = getattr(message, one.name)
    if one.label == "repeated":
        for _ in range(draw(st.integers(0, 2))):
            fill(draw, target.add(), spec.inner, spec)
    elif one.label == "map":
        for key in draw(st.lists(st.sampled_from(["", "a"]), unique=True)):
            fill(draw, target[key], spec.inner, spec)
    else:
        target.SetInParent()
        fill(draw, target, spec.inner, spec)


def same(written: Any, read: Any) -> bool:
    """Whether a value is the same to both; a string's bytes are the string."""
    if isinstance(written, float) and isinstance(read, float):
        return written == read or (math.isnan(written) and math.isnan(read))
    if isinstance(written, str) and isinstance(read, bytes):
        return written.encode() == read
    return (type(written) is not type(read) and written == read) or written == read
