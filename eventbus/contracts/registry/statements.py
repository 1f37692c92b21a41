"""The statements on the contract tables, on PostgreSQL, MySQL, MariaDB and SQLite."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from eventbus.contracts.registry.port import Reader, Reference
from eventbus.contracts.schema import Format, Schema
from eventbus.tables import (
    contract_reader,
    contract_reference,
    contract_schema,
    contract_subject,
    contract_version,
)

#: The row with the global settings, which is also the lock of whoever writes.
GLOBAL = ""


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """A schema as it is stored: what it refers to by subject and version."""

    id: int
    format: Format
    text: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version of a subject, as it is stored."""

    subject: str
    version: int
    deleted: bool
    schema: StoredSchema


@dataclass(frozen=True, slots=True)
class SubjectSettings:
    """What is set for one subject, or globally; None where nothing is."""

    compatibility: str | None = None
    access: str | None = None


#: Some databases take few values in one IN.
_AT_ONCE = 400

_VERSIONS = sa.select(
    contract_version.c.subject,
    contract_version.c.version,
    contract_version.c.deleted,
    contract_schema.c.id,
    contract_schema.c.format,
    contract_schema.c.text,
).join(contract_schema, contract_schema.c.id == contract_version.c.id)
_LOCK = (
    sa.select(contract_subject.c.subject)
    .where(contract_subject.c.subject == GLOBAL)
    .with_for_update()
)


def _is_integer(number: int) -> bool:
    """Whether a column may hold it; PostgreSQL takes the question for anything else amiss."""
    return 0 < number < 2**31


def lock(connection: Connection) -> None:
    """Make everybody else who writes to the registry wait for the end of this transaction."""
    if connection.execute(_LOCK).first() is None:
        connection.execute(_insert_missing(connection), {"subject": GLOBAL})
        connection.execute(_LOCK)


def _insert_missing(connection: Connection) -> sa.Insert:
    """An INSERT into the subjects' settings that leaves a row alone which is there."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        return sqlite.insert(contract_subject).on_conflict_do_nothing()
    if dialect == "postgresql":
        return postgresql.insert(contract_subject).on_conflict_do_nothing()
    from sqlalchemy.dialects import mysql

    return mysql.insert(contract_subject).on_duplicate_key_update(
        subject=contract_subject.c.subject
    )


def subjects(connection: Connection) -> dict[str, bool]:
    """Subject to whether it has a version that is not deleted; sorted."""
    rows = connection.execute(
        sa.select(
            contract_version.c.subject,
            sa.func.min(sa.case((contract_version.c.deleted, 1), else_=0)),
        ).group_by(contract_version.c.subject)
    )
    return {subject: not deleted for subject, deleted in sorted(rows)}


def versions(connection: Connection, subject: str) -> list[StoredVersion]:
    """All versions of `subject`, the oldest first, also the deleted ones."""
    return _versions(connection, contract_version.c.subject == subject)


def version(connection: Connection, subject: str, number: int) -> StoredVersion | None:
    """One version of `subject`, also a deleted one."""
    if not _is_integer(number):
        return None
    found = _versions(
        connection, contract_version.c.subject == subject, contract_version.c.version == number
    )
    return found[0] if found else None


def numbers(
    connection: Connection, subject: str, *, live: bool = True, deleted: bool = False
) -> list[int]:
    """The numbers of the subject's versions, the oldest first."""
    rows = connection.execute(
        sa.select(contract_version.c.version, contract_version.c.deleted)
        .where(contract_version.c.subject == subject)
        .order_by(contract_version.c.version)
    )
    return [number for number, gone in rows if (deleted if gone else live)]


def versions_of_id(connection: Connection, id: int) -> list[StoredVersion]:
    """The versions that are this schema, also the deleted ones, by subject."""
    if not _is_integer(id):
        return []
    return _versions(connection, contract_version.c.id == id)


def version_keys(connection: Connection, prefix: str, *, deleted: bool) -> list[tuple[str, int]]:
    """Subject and number of the versions of all subjects whose names begin with `prefix`."""
    rows = connection.execute(
        sa.select(
            contract_version.c.subject, contract_version.c.version, contract_version.c.deleted
        )
    )
    # Not LIKE: SQLite's takes "A" for "a".
    return sorted(
        (subject, number)
        for subject, number, gone in rows
        if subject.startswith(prefix) and (deleted or not gone)
    )


def versions_with_keys(
    connection: Connection, keys: Sequence[tuple[str, int]]
) -> list[StoredVersion]:
    """The versions with these subjects and numbers."""
    of = sa.tuple_(contract_version.c.subject, contract_version.c.version)
    found: list[StoredVersion] = []
    for first in range(0, len(keys), _AT_ONCE):
        found += _versions(connection, of.in_(keys[first : first + _AT_ONCE]))
    return sorted(found, key=lambda one: (one.subject, one.version))


def _versions(connection: Connection, *where: sa.ColumnElement[bool]) -> list[StoredVersion]:
    order = (contract_version.c.subject, contract_version.c.version)
    rows = connection.execute(_VERSIONS.where(*where).order_by(*order)).all()
    references = _references(connection, {row.id for row in rows})
    return [
        StoredVersion(
            row.subject,
            row.version,
            row.deleted,
            StoredSchema(row.id, Format(row.format), row.text, references[row.id]),
        )
        for row in rows
    ]


def _references(connection: Connection, ids: Iterable[int]) -> Mapping[int, tuple[Reference, ...]]:
    found: dict[int, tuple[Reference, ...]] = defaultdict(tuple)
    wanted = sorted(ids)
    for first in range(0, len(wanted), _AT_ONCE):
        rows = connection.execute(
            sa.select(contract_reference)
            .where(contract_reference.c.id.in_(wanted[first : first + _AT_ONCE]))
            .order_by(contract_reference.c.id, contract_reference.c.position)
        )
        for row in rows:
            found[row.id] += (Reference(row.name, row.subject, row.version),)
    return found


#: Built once: it is what most requests ask.
_SCHEMA = (
    sa.select(
        contract_schema.c.format,
        contract_schema.c.text,
        contract_reference.c.name,
        contract_reference.c.subject,
        contract_reference.c.version,
    )
    .outerjoin(contract_reference, contract_reference.c.id == contract_schema.c.id)
    .where(contract_schema.c.id == sa.bindparam("of_id"))
    .order_by(contract_reference.c.position)
)


def schema_with_id(connection: Connection, id: int) -> StoredSchema | None:
    """The schema that has `id`."""
    if not _is_integer(id):
        return None
    rows = connection.execute(_SCHEMA, {"of_id": id}).all()
    if not rows:
        return None
    references = tuple(Reference(*row[2:]) for row in rows if row[2] is not None)
    return StoredSchema(id, Format(rows[0][0]), rows[0][1], references)


def id_of_fingerprint(connection: Connection, fingerprint: str) -> int | None:
    """The id of the schema with this fingerprint."""
    return connection.scalar(
        sa.select(contract_schema.c.id).where(contract_schema.c.fingerprint == fingerprint)
    )


def highest_id(connection: Connection) -> int:
    """The highest id of a schema, or 0."""
    return connection.scalar(sa.select(sa.func.max(contract_schema.c.id))) or 0


def add_schema(connection: Connection, schema: StoredSchema, fingerprint: str) -> None:
    """Store a schema whose id is free."""
    connection.execute(
        contract_schema.insert().values(
            id=schema.id,
            fingerprint=fingerprint,
            format=schema.format.value,
            text=schema.text,
        )
    )
    if schema.references:
        connection.execute(
            contract_reference.insert(),
            [
                {
                    "id": schema.id,
                    "position": position,
                    "name": reference.name,
                    "subject": reference.subject,
                    "version": reference.version,
                }
                for position, reference in enumerate(schema.references)
            ],
        )


def add_version(connection: Connection, subject: str, version: int, id: int, now_ms: int) -> None:
    """Make the schema with `id` a version of `subject`."""
    connection.execute(
        contract_version.insert().values(
            subject=subject, version=version, id=id, deleted=False, registered_at_ms=now_ms
        )
    )


def mark_deleted(connection: Connection, subject: str, numbers: Sequence[int]) -> None:
    """Delete versions so that their ids can still be looked up."""
    connection.execute(
        contract_version.update()
        .where(contract_version.c.subject == subject, contract_version.c.version.in_(numbers))
        .values(deleted=True)
    )


def remove(connection: Connection, subject: str, numbers: Sequence[int]) -> None:
    """Delete versions for good, and the schemas that no version is any longer."""
    these = (contract_version.c.subject == subject, contract_version.c.version.in_(numbers))
    ids = set(connection.scalars(sa.select(contract_version.c.id).where(*these)))
    connection.execute(contract_version.delete().where(*these))
    used = set(
        connection.scalars(
            sa.select(contract_version.c.id).where(contract_version.c.id.in_(sorted(ids)))
        )
    )
    unused = sorted(ids - used)
    if unused:
        connection.execute(contract_reference.delete().where(contract_reference.c.id.in_(unused)))
        connection.execute(contract_schema.delete().where(contract_schema.c.id.in_(unused)))


def referrers(connection: Connection, subject: str, number: int) -> dict[int, bool]:
    """Id of each schema that refers to the version, to whether a version of it is not deleted."""
    rows = connection.execute(
        sa.select(
            contract_reference.c.id,
            sa.func.min(sa.case((contract_version.c.deleted, 1), else_=0)),
        )
        .join(contract_version, contract_version.c.id == contract_reference.c.id)
        .where(contract_reference.c.subject == subject, contract_reference.c.version == number)
        .group_by(contract_reference.c.id)
    )
    return {id: not deleted for id, deleted in sorted(rows)}


def settings(connection: Connection, *subjects: str) -> dict[str, SubjectSettings]:
    """Subject to what is set for it; for all of those asked for."""
    rows = connection.execute(
        sa.select(contract_subject).where(contract_subject.c.subject.in_(subjects))
    )
    found = {row.subject: SubjectSettings(row.compatibility, row.access) for row in rows}
    return {subject: found.get(subject, SubjectSettings()) for subject in subjects}


def set_settings(connection: Connection, subject: str, **values: str | None) -> None:
    """Change what is set for a subject, while the registry is locked."""
    row = contract_subject.c.subject == subject
    if connection.execute(sa.select(contract_subject.c.subject).where(row)).first() is None:
        connection.execute(contract_subject.insert().values(subject=subject, **values))
    else:
        connection.execute(contract_subject.update().where(row).values(**values))


def forget_settings(connection: Connection, subject: str) -> None:
    """Let the global settings count for a subject."""
    connection.execute(contract_subject.delete().where(contract_subject.c.subject == subject))


def readers(connection: Connection, subject: str) -> list[Reader]:
    """Who reads the subject, by service, queue, handler and release."""
    table = contract_reader
    rows = connection.execute(
        sa.select(table)
        .where(table.c.subject == subject)
        .order_by(table.c.service, table.c.queue, table.c.handler, table.c.seen_at_ms)
    ).mappings()
    return [
        Reader(
            subject=row["subject"],
            service=row["service"],
            release=row["release"],
            queue=row["queue"],
            handler=row["handler"],
            schema=Schema(Format(row["format"]), row["text"], json.loads(row["references"])),
            seen_at_ms=row["seen_at_ms"],
        )
        for row in rows
    ]


def put_readers(connection: Connection, readers: Iterable[Reader]) -> None:
    """Add readers; what the same handler of the same release said before is replaced."""
    # Sorted: two workers that start at once must not wait for each other crosswise.
    rows = {row["key"]: row for row in map(_reader_row, readers)}
    for key in sorted(rows):
        connection.execute(upsert(connection, contract_reader), rows[key])


def forget_readers(connection: Connection, of: Reader, before_ms: int) -> None:
    """Delete other releases of a reader that nobody has seen since `before_ms`."""
    table = contract_reader
    connection.execute(
        table.delete().where(
            table.c.subject == of.subject,
            table.c.service == of.service,
            table.c.queue == of.queue,
            table.c.handler == of.handler,
            table.c.release != of.release,
            table.c.seen_at_ms < before_ms,
        )
    )


def _reader_row(reader: Reader) -> dict[str, Any]:
    who = (reader.subject, reader.service, reader.release, reader.queue, reader.handler)
    return {
        "key": hashlib.sha256(json.dumps(who).encode()).hexdigest(),
        "subject": reader.subject,
        "service": reader.service,
        "release": reader.release,
        "queue": reader.queue,
        "handler": reader.handler,
        "format": reader.schema.format.value,
        "text": reader.schema.text,
        "references": json.dumps(dict(reader.schema.references)),
        "seen_at_ms": reader.seen_at_ms,
    }


def upsert(connection: Connection, table: sa.Table) -> sa.Insert:
    """An INSERT that replaces the row with the same primary key."""
    rest = [column.name for column in table.columns if not column.primary_key]
    dialect = connection.dialect.name
    if dialect in ("mysql", "mariadb"):
        # Not imported above: some MiB that a process on another database does not need.
        from sqlalchemy.dialects import mysql

        inserted = mysql.insert(table)
        return inserted.on_duplicate_key_update({name: inserted.inserted[name] for name in rest})
    if dialect == "postgresql":
        given = postgresql.insert(table)
        return given.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={name: given.excluded[name] for name in rest},
        )
    insert = sqlite.insert(table)
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: insert.excluded[name] for name in rest},
    )
