"""From the descriptors of a schema to its `Contract`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eventbus.contracts.limits import ENUM_MAX_VALUES, SCHEMA_MAX_NODES
from eventbus.contracts.protobuf.features import Features, of_file, refined
from eventbus.contracts.protobuf.marks import read_marks
from eventbus.contracts.protobuf.model import MARK, TYPES, Contract, EnumType, Field, Message
from eventbus.errors import InvalidSchema, MissingDependency

_LABEL_REQUIRED, _LABEL_REPEATED = 2, 3
_FLOATING = frozenset(["double", "float"])
_BOOLEANS = {"true": True, "false": False, "": False}


def read_descriptors(descriptors: bytes) -> Contract:
    """Read a serialised FileDescriptorSet, of which the last file is the schema's own."""
    files = file_descriptors(descriptors)
    reader = _Reader()
    for file in files:
        reader.read_file(file)
    own = files[-1]
    prefix = f"{own.package}." if own.package else ""
    return Contract(
        package=own.package,
        roots=tuple(prefix + message.name for message in own.message_type),
        messages=reader.messages(),
        enums=reader.enums,
        descriptors=descriptors,
    )


def file_descriptors(descriptors: bytes) -> list[Any]:
    """The FileDescriptorProtos of a set."""
    try:
        from google.protobuf import descriptor_pb2
    except ImportError:
        raise MissingDependency(
            "Protobuf schemas are read with the package protobuf, which is not installed; "
            "pip install 'eventbus[protobuf]'"
        ) from None
    return list(descriptor_pb2.FileDescriptorSet.FromString(descriptors).file)


def _outer(full_name: str) -> str:
    return full_name.rpartition(".")[0]


class _Reader:
    """Collects the messages and enums of several files."""

    def __init__(self) -> None:
        self.enums: dict[str, EnumType] = {}
        self._found: list[tuple[str, str, Any, Features]] = []
        self._extensions: dict[str, list[tuple[Any, Features]]] = {}
        self._map_entries: set[str] = set()
        self._derived: set[str] = set()
        self._nodes = 0

    def read_file(self, file: Any) -> None:
        features = of_file(file)
        prefix = f"{file.package}." if file.package else ""
        self._read_enums(file.enum_type, prefix, "", features)
        self._read_extensions(file.extension, features)
        for message in file.message_type:
            self._read_message(message, prefix, "", features)

    def _read_message(self, message: Any, prefix: str, outer: str, inherited: Features) -> None:
        features = refined(inherited, message)
        name = outer + message.name
        self._count(1 + len(message.field))
        if MARK in message.reserved_name:
            self._derived.add(prefix + name)
        if message.options.map_entry:
            self._map_entries.add(prefix + name)
            features = replace(features, delimited=False)
        self._found.append((prefix + name, name, message, features))
        self._read_enums(message.enum_type, prefix, f"{name}.", features)
        self._read_extensions(message.extension, features)
        for nested in message.nested_type:
            self._read_message(nested, prefix, f"{name}.", features)

    def _read_enums(self, enums: Any, prefix: str, outer: str, inherited: Features) -> None:
        for enum in enums:
            self._count(1 + len(enum.value))
            if len(enum.value) > ENUM_MAX_VALUES:
                raise InvalidSchema(
                    f"enum {outer}{enum.name} has {len(enum.value):,} values; at most "
                    f"{ENUM_MAX_VALUES:,} are read"
                )
            self.enums[prefix + outer + enum.name] = EnumType(
                full_name=prefix + outer + enum.name,
                name=outer + enum.name,
                values={value.name: value.number for value in enum.value},
                closed=refined(inherited, enum).closed_enums,
                reserved_ranges=tuple((r.start, r.end) for r in enum.reserved_range),
                reserved_names=frozenset(enum.reserved_name),
            )

    def _read_extensions(self, extensions: Any, inherited: Features) -> None:
        self._count(len(extensions))
        for extension in extensions:
            extended = extension.extendee.lstrip(".")
            self._extensions.setdefault(extended, []).append((extension, inherited))

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > SCHEMA_MAX_NODES:
            raise InvalidSchema(
                f"the schema and its imports have more than {SCHEMA_MAX_NODES:,} fields and values"
            )

    def messages(self) -> dict[str, Message]:
        """What was found; after the last file, as extensions may stand anywhere."""
        return {found[0]: self._message(*found) for found in self._found}

    def _message(self, full_name: str, name: str, message: Any, features: Features) -> Message:
        oneofs = [oneof.name for oneof in message.oneof_decl]
        fields = [self._field(one, features, oneofs) for one in message.field]
        # An extension goes by its name in the file: its own message has no other word for it.
        fields += [self._field(one, own, []) for one, own in self._extensions.get(full_name, ())]
        return Message(
            full_name=full_name,
            name=name,
            fields={one.number: one for one in fields},
            # The end of a message's range is the first number behind it, unlike an enum's.
            reserved_ranges=tuple((r.start, r.end - 1) for r in message.reserved_range),
            reserved_names=frozenset(message.reserved_name),
            is_map_entry=message.options.map_entry,
            derived=(full_name if not message.options.map_entry else _outer(full_name))
            in self._derived,
            facets=read_marks(message.reserved_name) if full_name in self._derived else {},
        )

    def _field(self, field: Any, inherited: Features, oneofs: list[str]) -> Field:
        features = refined(inherited, field)
        type_ = TYPES[field.type]
        if type_ == "message" and features.delimited and not self._in_map(field):
            type_ = "group"
        composite = type_ in ("message", "group")
        repeated = field.label == _LABEL_REPEATED
        required = field.label == _LABEL_REQUIRED or (
            features.presence == "LEGACY_REQUIRED" and not repeated
        )
        in_oneof = field.HasField("oneof_index")
        presence = not repeated and (
            composite or in_oneof or bool(field.extendee) or features.presence != "IMPLICIT"
        )
        return Field(
            name=field.name,
            number=field.number,
            type=type_,
            type_name=field.type_name.lstrip("."),
            repeated=repeated,
            required=required,
            has_presence=presence,
            nullable=presence and not required,
            optional_keyword=field.proto3_optional,
            oneof=oneofs[field.oneof_index] if in_oneof and not field.proto3_optional else None,
            default=None if repeated or composite else self._default(field, type_),
        )

    def _in_map(self, field: Any) -> bool:
        """Maps are never delimited, whatever the file says."""
        return field.type_name.lstrip(".") in self._map_entries

    def _default(self, field: Any, type_: str) -> Any:
        text = field.default_value
        if type_ == "enum":
            enum = self.enums[field.type_name.lstrip(".")]
            return enum.values[text] if text else next(iter(enum.values.values()), 0)
        if type_ in ("string", "bytes"):
            return text
        if type_ == "bool":
            return _BOOLEANS[text]
        if type_ in _FLOATING:
            return float(text or 0)
        return int(text or 0)
