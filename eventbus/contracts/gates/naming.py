"""Schemas as people name them on the command line: a file, or ``order.paid@3``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eventbus.contracts.gates.stored import stored_contract
from eventbus.contracts.limits import SCHEMA_MAX_BYTES
from eventbus.contracts.lock_files import SUFFIX, read_lock_file
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import ConfigurationError, InvalidSchema, UnknownSchema

if TYPE_CHECKING:
    from eventbus.bus import EventBus

_FORMATS = {
    ".avsc": Format.AVRO,
    ".proto": Format.PROTOBUF,
    ".json": Format.JSON,
    ".jsonschema": Format.JSON,
}


def named_schema(
    bus: EventBus,
    name: str,
    format: Format | None,
    references: Mapping[str, str],
    registered: bool,
) -> Schema:
    """The schema called `name`.

    Parameters
    ----------
    name:
        The path of a file, ``subject@version``, or a subject for its newest version.
    format:
        Of a file; None tells it by the file's suffix.
    references:
        What the schema in a file refers to.
    registered:
        Whether subjects are looked up in the registry instead of in the lock files.

    Raises
    ------
    InvalidSchema
        The file cannot be read.
    ConfigurationError
        The file's suffix tells no format, and `format` is None.
    UnknownSchema
        There is no such file, subject or version.
    """
    path = Path(name)
    if path.is_file() and not name.endswith(SUFFIX):
        schema = Schema.of(_read(path), format or _format_of(path))
        return replace(schema, references=dict(references))
    if path.is_file():
        return read_lock_file(path).newest.schema
    subject, version = split_version(name)
    try:
        return stored_contract(bus, subject, registered).version(version).schema
    except UnknownSchema as error:
        raise UnknownSchema(f"there is no file {name!r:.200}, and {error}") from None


def split_version(name: str) -> tuple[str, int | None]:
    """``order.paid@3`` as its parts; without a version None."""
    subject, at, version = name.rpartition("@")
    if at and version.isascii() and version.isdigit() and len(version) < 10:
        return subject, int(version)
    return name, None


def _format_of(path: Path) -> Format:
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise ConfigurationError(
            f"{str(path)!r:.200}: its suffix tells no schema format; give --format json, avro or "
            f"protobuf"
        ) from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SCHEMA_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidSchema(f"{path} cannot be read: {error.strerror}") from None


def read_references(given: Mapping[str, str]) -> dict[str, str]:
    """Name to text of the schemas in files that others refer to.

    Parameters
    ----------
    given:
        Name to path.
    """
    found = {}
    for name, path in given.items():
        data = _read(Path(path))
        if len(data) > SCHEMA_MAX_BYTES:
            raise InvalidSchema(f"{path} has more than {SCHEMA_MAX_BYTES:,} bytes")
        try:
            found[name] = data.decode()
        except UnicodeDecodeError:
            raise InvalidSchema(f"{path} is not UTF-8") from None
    return found
