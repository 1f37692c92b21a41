"""A ``.proto`` file's text from its descriptor, for clients that send only that.

What comes out is compiled again and compared: a text that says something else than the descriptor
is never returned.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from eventbus.contracts.protobuf.compiled import contract_of
from eventbus.contracts.protobuf.model import TYPES
from eventbus.contracts.protobuf.reading import file_descriptors
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import InvalidSchema, MissingDependency

#: No ``.proto`` file is without a semicolon, a brace or a quotation mark.
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_LABEL_REQUIRED, _LABEL_REPEATED = 2, 3
_TYPE_GROUP = 10
_FIELD_NUMBER_END = 2**29
_ENUM_NUMBER_MAX = 2**31 - 1


def is_serialized(text: str) -> bool:
    """Whether this is a descriptor in base64, and no ``.proto`` file."""
    return _BASE64.fullmatch(text) is not None


def text_of(serialized: str, references: Mapping[str, str]) -> str:
    """The ``.proto`` file that a FileDescriptorProto in base64 comes from.

    Parameters
    ----------
    references:
        The texts of what it imports.

    Raises
    ------
    InvalidSchema
        It is none, or says what cannot be written without its source, such as custom options.
    """
    file = _parsed(serialized)
    text = _indented(_file(file))
    again = file_descriptors(contract_of(Schema(Format.PROTOBUF, text, references)).descriptors)[-1]
    if _comparable(again) != _comparable(file):
        raise InvalidSchema(
            "the descriptor cannot be written as a .proto file without loss; register the text of "
            "the .proto file itself"
        )
    return text


def serialized_of(schema: Schema) -> str:
    """The FileDescriptorProto of a schema, in base64.

    Raises
    ------
    InvalidSchema
        It is no Protobuf schema.
    """
    file = file_descriptors(contract_of(schema).descriptors)[-1]
    return base64.b64encode(file.SerializeToString()).decode("ascii")


def _parsed(serialized: str) -> Any:
    try:
        from google.protobuf import descriptor_pb2
        from google.protobuf.message import DecodeError
    except ImportError:
        raise MissingDependency(
            "Protobuf schemas are read with the package protobuf, which is not installed; "
            "pip install 'eventbus[protobuf]'"
        ) from None
    try:
        return descriptor_pb2.FileDescriptorProto.FromString(
            base64.b64decode("".join(serialized.split()), validate=True)
        )
    except (binascii.Error, ValueError, DecodeError):
        raise InvalidSchema(
            "the schema is neither a .proto file nor a FileDescriptorProto in base64"
        ) from None


def _comparable(file: Any) -> bytes:
    """Without what depends on how it was compiled."""
    copy = type(file).FromString(file.SerializeToString())
    copy.ClearField("name")
    copy.ClearField("source_code_info")
    if copy.syntax == "proto2":
        copy.ClearField("syntax")
    for message in copy.message_type:
        _fill_json_names(message)
    for extension in copy.extension:
        _fill_json_name(extension)
    data: bytes = copy.SerializeToString(deterministic=True)
    return data


def _fill_json_names(message: Any) -> None:
    for field in (*message.field, *message.extension):
        _fill_json_name(field)
    for nested in message.nested_type:
        _fill_json_names(nested)


def _fill_json_name(field: Any) -> None:
    field.json_name = field.json_name or _json_name(field.name)


def _json_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _file(file: Any) -> Iterator[str]:
    syntax = file.syntax or "proto2"
    yield (
        f"edition = {_quoted(_edition(file))};"
        if syntax == "editions"
        else (f"syntax = {_quoted(syntax)};")
    )
    if file.package:
        yield f"package {file.package};"
    for index, name in enumerate(file.dependency):
        kind = "public " if index in file.public_dependency else ""
        kind = "weak " if index in file.weak_dependency else kind
        yield f"import {kind}{_quoted(name)};"
    yield from _option_lines(file.options)
    printer = _Printer(syntax)
    for message in file.message_type:
        yield from printer.message(message)
    for enum in file.enum_type:
        yield from printer.enum(enum)
    yield from printer.extensions(file.extension, [])
    for service in file.service:
        yield from _service(service)


def _indented(lines: Iterable[str]) -> str:
    depth = 0
    text = []
    for line in lines:
        depth -= line == "}"
        text.append(f"{'  ' * depth}{line}\n")
        depth += line.endswith("{")
    return "".join(text)


def _edition(file: Any) -> str:
    name: str = (
        file.DESCRIPTOR.fields_by_name["edition"].enum_type.values_by_number[file.edition].name
    )
    return name.removeprefix("EDITION_")


class _Printer:
    """Messages, enums and extensions in the words of one syntax."""

    def __init__(self, syntax: str) -> None:
        self._syntax = syntax

    def message(self, message: Any) -> Iterator[str]:
        yield f"message {message.name} {{"
        yield from self._body(message)
        yield "}"

    def _body(self, message: Any) -> Iterator[str]:
        yield from _option_lines(message.options)
        nested = list(message.nested_type)
        for fields in _together(message.field):
            for field in fields:
                # A map and a group declare a type of their own; the order of types counts.
                own = _own_type(field, nested)
                while own is not None and nested:
                    one = nested.pop(0)
                    if one.name == own.name:
                        break
                    yield from self.message(one)
            yield from self._fields(message, fields)
        for one in nested:
            yield from self.message(one)
        for enum in message.enum_type:
            yield from self.enum(enum)
        for extended in message.extension_range:
            yield (
                f"extensions {_range(extended.start, extended.end - 1, _FIELD_NUMBER_END - 1)}"
                + (f"{_brackets(_options(extended.options))};")
            )
        yield from self.extensions(message.extension, message.nested_type)
        ranges = [(one.start, one.end - 1) for one in message.reserved_range]
        yield from self._reserved(ranges, message.reserved_name, _FIELD_NUMBER_END - 1)

    def _fields(self, message: Any, fields: list[Any]) -> Iterator[str]:
        first = fields[0]
        in_oneof = first.HasField("oneof_index") and not first.proto3_optional
        lines = (
            line
            for field in fields
            for line in self._field(field, message.nested_type, bare=in_oneof)
        )
        if not in_oneof:
            yield from lines
            return
        oneof = message.oneof_decl[first.oneof_index]
        yield f"oneof {oneof.name} {{"
        yield from _option_lines(oneof.options)
        yield from lines
        yield "}"

    def _field(self, field: Any, nested: Iterable[Any], *, bare: bool) -> Iterator[str]:
        own = _own_type(field, nested)
        options = _brackets([*_field_facts(field), *_options(field.options)])
        if own is not None and own.options.map_entry:
            key, value = own.field
            yield f"map<{_type(key)}, {_type(value)}> {field.name} = {field.number}{options};"
            return
        label = "" if bare else self._label(field)
        if own is None:
            yield f"{label}{_type(field)} {field.name} = {field.number}{options};"
            return
        yield f"{label}group {own.name} = {field.number}{options} {{"
        yield from self._body(own)
        yield "}"

    def _label(self, field: Any) -> str:
        if field.label == _LABEL_REPEATED:
            return "repeated "
        if self._syntax == "proto2":
            return "required " if field.label == _LABEL_REQUIRED else "optional "
        return "optional " if field.proto3_optional else ""

    def enum(self, enum: Any) -> Iterator[str]:
        yield f"enum {enum.name} {{"
        yield from _option_lines(enum.options)
        for value in enum.value:
            yield f"{value.name} = {value.number}{_brackets(_options(value.options))};"
        ranges = [(one.start, one.end) for one in enum.reserved_range]
        yield from self._reserved(ranges, enum.reserved_name, _ENUM_NUMBER_MAX)
        yield "}"

    def extensions(self, extensions: Iterable[Any], nested: Iterable[Any]) -> Iterator[str]:
        for extension in extensions:
            yield f"extend {extension.extendee} {{"
            yield from self._field(extension, nested, bare=False)
            yield "}"

    def _reserved(
        self, ranges: Iterable[tuple[int, int]], names: Iterable[str], most: int
    ) -> Iterator[str]:
        for first, last in ranges:
            yield f"reserved {_range(first, last, most)};"
        for name in names:
            yield f"reserved {name if self._syntax == 'editions' else _quoted(name)};"


def _together(fields: Iterable[Any]) -> Iterator[list[Any]]:
    """The fields in their order, those of a oneof in one list."""
    group: list[Any] = []
    for field in fields:
        of_oneof = field.HasField("oneof_index") and not field.proto3_optional
        if group and not (of_oneof and group[0].oneof_index == field.oneof_index):
            yield group
            group = []
        group.append(field)
        if not of_oneof:
            yield group
            group = []
    if group:
        yield group


def _own_type(field: Any, nested: Iterable[Any]) -> Any | None:
    """The type that the field itself declares: a group, or the entry of a map."""
    name = field.type_name.rpartition(".")[2]
    return next(
        (
            one
            for one in nested
            if one.name == name and (field.type == _TYPE_GROUP or one.options.map_entry)
        ),
        None,
    )


def _type(field: Any) -> str:
    return field.type_name or TYPES[field.type]


def _field_facts(field: Any) -> Iterator[str]:
    if field.HasField("default_value"):
        kind = TYPES[field.type]
        value = field.default_value
        # Those of bytes are escaped in the descriptor.
        shown = f'"{value}"' if kind == "bytes" else _quoted(value) if kind == "string" else value
        yield f"default = {shown}"
    if field.json_name and field.json_name != _json_name(field.name) and not field.extendee:
        yield f"json_name = {_quoted(field.json_name)}"


def _range(first: int, last: int, most: int) -> str:
    if first == last:
        return str(first)
    return f"{first} to {'max' if last == most else last}"


def _service(service: Any) -> Iterator[str]:
    yield f"service {service.name} {{"
    yield from _option_lines(service.options)
    for method in service.method:
        given = f"{'stream ' if method.client_streaming else ''}{method.input_type}"
        returned = f"{'stream ' if method.server_streaming else ''}{method.output_type}"
        yield f"rpc {method.name}({given}) returns ({returned}) {{"
        yield from _option_lines(method.options)
        yield "}"
    yield "}"


def _option_lines(options: Any) -> Iterator[str]:
    for option in _options(options):
        yield f"option {option};"


def _options(options: Any) -> Iterator[str]:
    for field, value in options.ListFields():
        if field.name == "map_entry":
            continue
        values = value if hasattr(value, "append") else [value]
        for one in values:
            yield f"{field.name} = {_option_value(field, one)}"


def _option_value(field: Any, value: Any) -> str:
    if field.message_type is not None:
        from google.protobuf import text_format

        return f"{{ {text_format.MessageToString(value, as_one_line=True)} }}"
    if field.enum_type is not None:
        name: str = field.enum_type.values_by_number[value].name
        return name
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(value)


def _brackets(options: Iterable[str]) -> str:
    listed = ", ".join(options)
    return f" [{listed}]" if listed else ""


def _quoted(text: str) -> str:
    """A string literal; bytes beyond ASCII as octal escapes, which every compiler reads alike."""
    return '"' + "".join(map(_escaped, text.encode("utf-8", "surrogatepass"))) + '"'


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character in '"\\' or not 32 <= byte < 127:
        return f"\\{byte:03o}"
    return character
