"""From references by subject and version to the texts that a checker needs."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.engine import Connection

from eventbus.contracts.registry import statements
from eventbus.contracts.registry.port import Reference
from eventbus.contracts.registry.statements import StoredSchema, StoredVersion
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import InvalidSchema
from eventbus.printable import printable

#: Schemas that one schema refers to, and those refer to.
REFERENCES_MAX = 500


def resolved(connection: Connection, stored: StoredSchema) -> Schema:
    """A stored schema with the texts of everything that it refers to."""
    return resolve(connection, stored.format, stored.text, stored.references, deleted=True)


def resolve(
    connection: Connection,
    format: Format,
    text: str,
    references: Iterable[Reference],
    *,
    deleted: bool,
) -> Schema:
    """The schema with the texts of everything that it refers to.

    Parameters
    ----------
    deleted:
        Whether a version that was deleted, but not for good, may be referred to.

    Raises
    ------
    InvalidSchema
        A version that it refers to is not there, has another format, or two of one name differ.
    """
    texts: dict[str, str] = {}
    waiting = list(references)
    while waiting:
        reference = waiting.pop()
        target = _target(connection, reference, format, deleted)
        known = texts.setdefault(reference.name, target.schema.text)
        if known != target.schema.text:
            raise InvalidSchema(
                f"two schemas are referred to as {printable(reference.name[:200])!r}"
            )
        if len(texts) > REFERENCES_MAX:
            raise InvalidSchema(f"more than {REFERENCES_MAX} schemas are referred to")
        waiting += (inner for inner in target.schema.references if inner.name not in texts)
    return Schema(format, text, texts)


def _target(
    connection: Connection, reference: Reference, format: Format, deleted: bool
) -> StoredVersion:
    found = statements.version(connection, reference.subject, reference.version)
    shown = (
        f"{printable(reference.subject[:200])!r} version {reference.version}, which is referred to "
        f"as {printable(reference.name[:200])!r},"
    )
    if found is None or (found.deleted and not deleted):
        raise InvalidSchema(f"{shown} is not registered; register it first")
    if found.schema.format is not format:
        raise InvalidSchema(f"{shown} is {found.schema.format.value}, not {format.value}")
    return found
