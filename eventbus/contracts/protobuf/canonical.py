"""The one text for schemas that differ only in how they are written.

Comments, formatting and order are gone; messages keep their places, as the Confluent frame names a
message's type by its place in the file.
Options count by what they say. Files that are imported are listed by name.
"""

from __future__ import annotations

import json
from typing import Any

from eventbus.contracts.protobuf.model import TYPES
from eventbus.contracts.protobuf.reading import file_descriptors


def canonical_text(descriptors: bytes) -> str:
    """JSON of what the schema's own file declares, the last one of a FileDescriptorSet."""
    file = file_descriptors(descriptors)[-1]
    described = {
        "syntax": file.syntax or "proto2",
        "edition": getattr(file, "edition", 0),
        "package": file.package,
        "imports": sorted(file.dependency),
        "public": sorted(file.dependency[index] for index in file.public_dependency),
        "messages": _messages(file.message_type),
        "enums": _sorted(_enum(enum) for enum in file.enum_type),
        "extensions": _sorted(_field(field, []) for field in file.extension),
        "services": sorted(_options(service) for service in file.service),
        "options": _options(file),
    }
    return json.dumps(_without_empty(described), sort_keys=True, separators=(",", ":"))


def _sorted(items: Any) -> list[Any]:
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _messages(messages: Any) -> list[Any]:
    """Those that were written, in their order; the entries of maps follow their fields."""
    written = [_message(one) for one in messages if not one.options.map_entry]
    return written + _sorted(_message(one) for one in messages if one.options.map_entry)


def _message(message: Any) -> dict[str, Any]:
    oneofs = [oneof.name for oneof in message.oneof_decl]
    return _without_empty(
        {
            "name": message.name,
            "fields": _sorted(_field(field, oneofs) for field in message.field),
            "messages": _messages(message.nested_type),
            "enums": _sorted(_enum(enum) for enum in message.enum_type),
            "extensions": _sorted(_field(field, []) for field in message.extension),
            "ranges": sorted([r.start, r.end] for r in message.extension_range),
            "reserved": sorted([r.start, r.end] for r in message.reserved_range),
            "reserved_names": sorted(message.reserved_name),
            "oneofs": _sorted(
                [oneof.name, _options(oneof)] for oneof in message.oneof_decl if _options(oneof)
            ),
            "options": _options(message),
        }
    )


def _field(field: Any, oneofs: list[str]) -> dict[str, Any]:
    in_oneof = field.HasField("oneof_index") and not field.proto3_optional
    return _without_empty(
        {
            "number": field.number,
            "name": field.name,
            "type": TYPES[field.type],
            "type_name": field.type_name,
            "extends": field.extendee,
            "label": field.label,
            "optional": field.proto3_optional,
            "oneof": oneofs[field.oneof_index] if in_oneof else "",
            "default": [field.default_value] if field.HasField("default_value") else [],
            "json_name": field.json_name if field.json_name != _json_name(field.name) else "",
            "options": _options(field),
        }
    )


def _enum(enum: Any) -> dict[str, Any]:
    values = [[value.number, value.name, _options(value)] for value in enum.value]
    return _without_empty(
        {
            "name": enum.name,
            # The first value is the default; aliases keep theirs by name.
            "first": values[0][1] if values else "",
            "values": sorted(values),
            "reserved": sorted([r.start, r.end] for r in enum.reserved_range),
            "reserved_names": sorted(enum.reserved_name),
            "options": _options(enum),
        }
    )


def _options(element: Any) -> str:
    """What is set, known or not; empty where nothing is."""
    data: bytes = element.options.SerializeToString(deterministic=True)
    return data.hex()


def _json_name(name: str) -> str:
    """The lowerCamelCase name that protoc gives a field by itself."""
    words = name.split("_")
    return words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:])


def _without_empty(described: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if value not in ("", [], 0, False)}
