"""What becomes of a message that is read by another schema, asked of the protobuf package."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from eventbus.contracts.protobuf.compiler import COMPILER
from eventbus.contracts.schema import Format, Schema
from tests.unit.contracts.protobuf.schemas import same


def message_class(text: str) -> Any:
    """The class of the first message of a file."""
    files = descriptor_pb2.FileDescriptorSet.FromString(
        COMPILER.compile(Schema(Format.PROTOBUF, text))
    ).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    own = files[-1]
    name = f"{own.package}.{own.message_type[0].name}".lstrip(".")
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def lost(written: Any, read: Any, path: str = "") -> list[str]:
    """The fields that both have and that the reader sees another value of."""
    found: list[str] = []
    by_number = read.DESCRIPTOR.fields_by_number
    for field in written.DESCRIPTOR.fields:
        other = by_number.get(field.number)
        # A number that the reader does not have is skipped.
        if other is not None:
            here = f"{path}.{field.name}"
            found += _lost_field(getattr(written, field.name), getattr(read, other.name), here)
            if _one_message(field) and written.HasField(field.name) != read.HasField(other.name):
                found.append(here)
    return found


def _one_message(field: Any) -> bool:
    # Older versions of the package have the label, newer ones only this.
    repeated = getattr(field, "is_repeated", None)
    if repeated is None:
        repeated = field.label == field.LABEL_REPEATED
    return bool(field.message_type) and not repeated


def _lost_field(written: Any, read: Any, path: str) -> list[str]:
    if hasattr(written, "DESCRIPTOR") and hasattr(read, "DESCRIPTOR"):
        return lost(written, read, path)
    if hasattr(written, "items") and hasattr(read, "items"):
        if set(written) != set(read):
            return [path]
        return [row for key in written for row in _lost_field(written[key], read[key], path)]
    if _is_list(written) and _is_list(read):
        if len(written) != len(read):
            return [path]
        return [row for a, b in zip(written, read, strict=True) for row in _lost_field(a, b, path)]
    return [] if same(written, read) else [path]


def _is_list(value: Any) -> bool:
    return hasattr(value, "extend")
