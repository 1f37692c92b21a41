"""Readers of other services, kept with the code: CI asks no server, and names them all the same.

``contracts/readers.json``, which ``eventbus schema readers --pin`` writes from the registry.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eventbus.contracts.lock_files import (
    parsed,
    read_text,
    schema_of,
    schema_value,
    write_text,
)
from eventbus.contracts.registry.port import Reader
from eventbus.contracts.schema import Format
from eventbus.errors import ConfigurationError, InvalidLockFile, InvalidSchema

FILE_NAME = "readers.json"
_REMEDY = "write it again with 'eventbus schema readers --pin'"
_TEXTS = ("event", "service", "release", "queue", "handler")


def pinned_path(folder: str | Path) -> Path:
    """The file with the pinned readers."""
    return Path(folder) / FILE_NAME


def read_pinned(folder: str | Path) -> list[Reader]:
    """The pinned readers, as if they had just been heard of; none without the file.

    Raises
    ------
    InvalidLockFile
        The file cannot be read, or is damaged.
    """
    path = pinned_path(folder)
    try:
        value = parsed(path, read_text(path))
    except FileNotFoundError:
        return []
    found = value.get("readers") if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise InvalidLockFile(f"{path} has no list of readers; {_REMEDY}")
    now_ms = time.time_ns() // 1_000_000
    readers = []
    for number, one in enumerate(found):
        try:
            readers.append(_reader_of(one, now_ms))
        except (ConfigurationError, InvalidSchema, KeyError, TypeError) as error:
            raise InvalidLockFile(f"{path}: readers[{number}]: {error}; {_REMEDY}") from None
    return readers


def _reader_of(value: Any, now_ms: int) -> Reader:
    texts = [value[name] for name in _TEXTS]
    if not all(isinstance(text, str) and text for text in texts):
        raise InvalidSchema(f"{', '.join(_TEXTS)} are texts")
    schema = schema_of(value["schema"], Format.of(value["format"]))
    event, service, release, queue, handler = texts
    return Reader(event, service, release, queue, handler, schema, now_ms)


def write_pinned(folder: str | Path, readers: Iterable[Reader]) -> Path:
    """Write the file with `readers`; its text is the same for the same readers.

    Raises
    ------
    InvalidLockFile
        It cannot be written.
    """
    path = pinned_path(folder)
    rows = [
        {
            "event": one.subject,
            "service": one.service,
            "release": one.release,
            "queue": one.queue,
            "handler": one.handler,
            "format": one.schema.format.value,
            "schema": schema_value(one.schema),
        }
        for one in sorted(
            readers, key=lambda one: (one.subject, one.service, one.queue, one.handler, one.release)
        )
    ]
    write_text(path, f"{json.dumps({'readers': rows}, indent=2)}\n")
    return path
