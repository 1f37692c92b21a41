"""Each type, label, enum and oneof of a writer with each of a reader, tried with edge values.

Where the answer is "compatible", no value is lost; and it is not always "incompatible".
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest

from eventbus.contracts import check_compatibility
from eventbus.errors import InvalidSchema
from tests.unit.contracts.protobuf.oracle import lost, message_class
from tests.unit.contracts.protobuf.schemas import SCALARS, FieldSpec, FileSpec

SYNTAXES = ("proto2", "proto3")
INNER = (FieldSpec(1, "a", "int32", ""),)
ENUM = (("ZERO", 0), ("ONE", 1), ("MINUS", -1))

EDGES: dict[str, list[Any]] = {
    "bool": [False, True],
    "string": ["", "é"],
    "bytes": [b"", b"\xff"],
    "float": [0.0, 0.1, 3.0e38],
    "double": [0.0, 0.1, 1e300],
    **{type_: [0, 1, -1, 2**31 - 1, -(2**31)] for type_ in ["int32", "sint32", "sfixed32"]},
    **{type_: [0, 1, 2**31, 2**32 - 1] for type_ in ["uint32", "fixed32"]},
    **{type_: [0, 1, -1, 2**63 - 1, -(2**63)] for type_ in ["int64", "sint64", "sfixed64"]},
    **{type_: [0, 1, 2**63, 2**64 - 1] for type_ in ["uint64", "fixed64"]},
}


def spec(syntax: str, *fields: FieldSpec, enum: tuple[tuple[str, int], ...] = ENUM) -> FileSpec:
    return FileSpec(syntax, fields, INNER, enum)


def one(type_: str, label: str = "", default: str = "") -> FieldSpec:
    return FieldSpec(1, "value", type_, label, default)


def edges(field: FieldSpec, found: FileSpec) -> list[Any]:
    if field.type == "E":
        # An open enum holds numbers that it has no name for.
        return [number for _, number in found.enum] + [77] * (found.syntax == "proto3")
    return EDGES[field.type]


def messages(found: FileSpec) -> Iterable[Any]:
    """Messages of a file with each field unset and with each value at an edge."""
    cls = message_class(found.text())
    for chosen in product(*([None, *range(6)] for _ in found.fields)):
        message = cls()
        for field, at in zip(found.fields, chosen, strict=True):
            if at is not None:
                _set(message, field, at, found)
        if message.IsInitialized():
            yield message


def _set(message: Any, field: FieldSpec, at: int, found: FileSpec) -> None:
    if field.type == "Inner":
        target = getattr(message, field.name)
        if field.label == "repeated":
            target.add(a=at)
            target.add()
        elif field.label == "map":
            target["k"].a = at
        else:
            target.SetInParent()
            target.a = at
        return
    values = edges(field, found)
    value = values[at % len(values)]
    if field.label == "repeated":
        getattr(message, field.name).extend([value, value])
    elif field.label == "map":
        getattr(message, field.name)["k"] = value
    else:
        setattr(message, field.name, value)


def is_compatible(writer: FileSpec, reader: FileSpec) -> bool | None:
    """The answer, checked with messages; None where one of them is no schema."""
    try:
        found = check_compatibility(reader=reader.text(), writer=writer.text(), format="protobuf")
    except InvalidSchema:
        return None
    if found:
        cls = message_class(reader.text())
        for message in messages(writer):
            read = cls.FromString(message.SerializeToString())
            said = f"{writer.text()}\n{reader.text()}\n{message}"
            assert read.IsInitialized(), said
            assert not lost(message, read), said
    return bool(found)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_each_type_of_a_writer_with_each_type_of_a_reader(syntax: str) -> None:
    types = (*SCALARS, "E", "Inner")
    compatible = {
        (writer, reader)
        for writer, reader in product(types, types)
        if is_compatible(spec(syntax, one(writer)), spec(syntax, one(reader)))
    }
    assert {(type_, type_) for type_ in types} <= compatible
    assert ("int32", "int64") in compatible
    assert ("int64", "int32") not in compatible
    assert ("string", "bytes") in compatible
    assert ("bytes", "string") not in compatible
    assert ("int32", "sint32") not in compatible
    assert ("E", "int32") in compatible
    assert (("int32", "E") in compatible) is (syntax == "proto3")


def test_each_label_of_a_writer_with_each_label_of_a_reader() -> None:
    labels = ("", "optional", "repeated", "required", "map", "oneof")
    answers = {}
    for type_ in ("int32", "string", "E", "Inner"):
        for writer, reader in product(product(SYNTAXES, labels), product(SYNTAXES, labels)):
            answers[(type_, *writer, *reader)] = is_compatible(
                spec(writer[0], one(type_, writer[1])), spec(reader[0], one(type_, reader[1]))
            )
    assert answers["int32", "proto3", "", "proto3", "optional"]
    assert answers["int32", "proto2", "required", "proto3", ""]
    assert not answers["int32", "proto2", "optional", "proto2", "required"]
    assert not answers["string", "proto3", "", "proto3", "repeated"]
    assert not answers["string", "proto3", "repeated", "proto3", ""]
    assert sum(1 for answer in answers.values() if answer) > 60


def test_each_enum_of_a_writer_with_each_enum_of_a_reader() -> None:
    enums = (
        (("ZERO", 0),),
        (("ZERO", 0), ("ONE", 1)),
        (("ZERO", 0), ("UNE", 1)),
        (("ZERO", 0), ("ONE", 2)),
        (("ONE", 1), ("ZERO", 0)),
        (("ZERO", 0), ("ONE", 1), ("UNE", 1)),
    )
    answers = {}
    for label in ("", "repeated", "map"):
        for writer, reader in product(product(SYNTAXES, enums), product(SYNTAXES, enums)):
            answers[(label, *writer, *reader)] = is_compatible(
                spec(writer[0], one("E", label), enum=writer[1]),
                spec(reader[0], one("E", label), enum=reader[1]),
            )
    known, more = enums[0], enums[1]
    assert answers["", "proto3", more, "proto3", known]
    assert answers["", "proto2", known, "proto2", more]
    assert not answers["", "proto2", more, "proto2", known]
    assert not answers["", "proto3", known, "proto2", known]
    assert not answers["", "proto2", enums[1], "proto2", enums[3]]


def test_each_default_of_a_writer_with_each_default_of_a_reader() -> None:
    defaults = ("", "0", "7")
    answers = {
        (writer, reader, syntax): is_compatible(
            spec(syntax, one("int32", "", writer)), spec("proto2", one("int64", "", reader))
        )
        for writer, reader, syntax in product(defaults, defaults, SYNTAXES)
    }
    assert answers["7", "7", "proto2"]
    assert not answers["7", "7", "proto3"]
    assert not answers["7", "", "proto2"]


def test_each_way_into_and_out_of_a_oneof() -> None:
    labels = ("", "oneof")
    answers = {}
    for writer in product(labels, labels):
        for reader in product(labels, labels):
            answers[writer, reader] = is_compatible(
                spec("proto3", *_two(*writer)), spec("proto3", *_two(*reader))
            )
    assert answers[("oneof", "oneof"), ("", "")]
    assert answers[("", ""), ("oneof", "")]
    assert not answers[("", ""), ("oneof", "oneof")]
    assert not answers[("oneof", ""), ("oneof", "oneof")]


def _two(first: str, second: str) -> tuple[FieldSpec, FieldSpec]:
    return FieldSpec(1, "a", "int32", first), FieldSpec(2, "b", "string", second)
