"""What decisions about a subject are made from, as a transaction reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from eventbus.contracts.compatibility import DEFAULT_MODE, Mode
from eventbus.contracts.fingerprints import fingerprint, id_of, next_id
from eventbus.contracts.registry import statements
from eventbus.contracts.registry.access import Access
from eventbus.contracts.registry.port import Reference, RegisteredSchema
from eventbus.contracts.registry.references import resolve, resolved
from eventbus.contracts.registry.refusals import ReadOnly, UnknownSubject
from eventbus.contracts.registry.serialized import with_text
from eventbus.contracts.registry.statements import GLOBAL, StoredSchema, StoredVersion
from eventbus.contracts.registry.storable import refuse_unstorable
from eventbus.contracts.schema import Schema
from eventbus.errors import InvalidSchema


@dataclass(frozen=True)
class SubjectState:
    """What a decision about a subject is made from, as one transaction has read it."""

    name: str
    stored: tuple[StoredVersion, ...]
    versions: tuple[RegisteredSchema, ...]
    mode: Mode
    access: Access

    @property
    def live(self) -> tuple[RegisteredSchema, ...]:
        """The versions that are not deleted."""
        return tuple(one for one in self.versions if not one.deleted)

    @property
    def next_version(self) -> int:
        """Numbers of deleted versions are not given again while something is left of them."""
        return max((one.version for one in self.stored), default=0) + 1

    def same(self, other: SubjectState) -> bool:
        """Whether a decision about the one holds for the other."""
        return (self.stored, self.mode, self.access) == (other.stored, other.mode, other.access)


def registered(connection: Connection, stored: StoredVersion) -> RegisteredSchema:
    """A stored version with the texts of what it refers to."""
    return RegisteredSchema(
        subject=stored.subject,
        version=stored.version,
        id=stored.schema.id,
        schema=resolved(connection, stored.schema),
        references=stored.schema.references,
        deleted=stored.deleted,
    )


def read_subject(connection: Connection, name: str) -> SubjectState:
    """The subject as it is now."""
    stored = tuple(statements.versions(connection, name))
    mode, access = modes_of(connection, name)
    versions = tuple(registered(connection, one) for one in stored)
    return SubjectState(name, stored, versions, mode, access)


def modes_of(connection: Connection, name: str) -> tuple[Mode, Access]:
    """What counts for a subject: its own settings, else the global ones, else the defaults."""
    found = statements.settings(connection, name, GLOBAL)
    compatibility = found[name].compatibility or found[GLOBAL].compatibility
    access = found[name].access or found[GLOBAL].access
    return (
        Mode(compatibility) if compatibility else DEFAULT_MODE,
        Access(access) if access else Access.READWRITE,
    )


def given_schema(
    connection: Connection, schema: Schema, references: Sequence[Reference], *, deleted: bool
) -> Schema:
    """The schema that was handed in, with the texts of what it refers to as they are stored."""
    if schema.references and not references:
        raise InvalidSchema(
            "the schema refers to others by their texts; register those first, and give their "
            "subjects and versions"
        )
    refuse_unstorable(schema.text)
    found = resolve(connection, schema.format, schema.text, references, deleted=deleted)
    return with_text(found)


def with_id(versions: Sequence[RegisteredSchema], id: int | None) -> RegisteredSchema | None:
    """The latest of the versions that is the schema with this id."""
    return next((one for one in reversed(versions) if one.id == id), None)


def id_for(connection: Connection, schema: Schema, references: Sequence[Reference]) -> int:
    """The id of the schema, which is stored where it is new, while the registry is locked."""
    wanted = fingerprint(schema)
    known = statements.id_of_fingerprint(connection, wanted)
    if known is not None:
        return known
    id = id_of(wanted)
    while statements.schema_with_id(connection, id) is not None:
        id = next_id(id)
    stored = StoredSchema(id, schema.format, schema.text, tuple(references))
    statements.add_schema(connection, stored, wanted)
    return id


def refuse_read_only(name: str, access: Access) -> None:
    """Raise ReadOnly where no changes are taken."""
    if access is Access.READONLY:
        what = name or "the registry"
        raise ReadOnly(f"{what} is in READONLY mode; set it to READWRITE to change something")


def unknown_subject(name: str) -> UnknownSubject:
    """The error for a subject without a version."""
    return UnknownSubject(f"subject {name!r} has no version")
