"""Deleting versions and subjects, in two steps: first they are no longer offered, then gone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from eventbus.contracts.registry import statements
from eventbus.contracts.registry.refusals import (
    StillReferenced,
    SubjectDeleted,
    SubjectNotDeletedYet,
    UnknownVersion,
    VersionDeleted,
    VersionNotDeletedYet,
)
from eventbus.contracts.registry.statements import StoredVersion
from eventbus.contracts.registry.subject_state import (
    modes_of,
    refuse_read_only,
    unknown_subject,
)


def delete_version(connection: Connection, name: str, number: int | None, permanent: bool) -> int:
    """Delete one version, the latest where `number` is None; which. The registry is locked."""
    found = _version_to_delete(connection, name, number, permanent)
    _refuse_referenced(connection, name, [found.version], permanent)
    delete = statements.remove if permanent else statements.mark_deleted
    delete(connection, name, [found.version])
    return found.version


def _version_to_delete(
    connection: Connection, name: str, number: int | None, permanent: bool
) -> StoredVersion:
    stored = statements.versions(connection, name)
    if not stored or (number is None and not permanent and all(v.deleted for v in stored)):
        raise unknown_subject(name)
    refuse_read_only(name, modes_of(connection, name)[1])
    candidates = [
        one
        for one in stored
        if (one.version == number if number is not None else permanent or not one.deleted)
    ]
    if not candidates:
        raise UnknownVersion(f"version {number} of {name} is not registered")
    found = candidates[-1]
    if permanent and not found.deleted:
        raise VersionNotDeletedYet(
            f"version {found.version} of {name} has to be deleted before it can be deleted "
            f"permanently"
        )
    if found.deleted and not permanent:
        raise VersionDeleted(
            f"version {found.version} of {name} is deleted; delete it permanently to remove "
            f"what is left of it"
        )
    return found


def delete_subject(connection: Connection, name: str, permanent: bool) -> list[int]:
    """Delete all versions, and what is set for the subject; which. The registry is locked."""
    numbers = _versions_to_delete(connection, name, permanent)
    _refuse_referenced(connection, name, numbers, permanent)
    delete = statements.remove if permanent else statements.mark_deleted
    delete(connection, name, numbers)
    statements.forget_settings(connection, name)
    return numbers


def _versions_to_delete(connection: Connection, name: str, permanent: bool) -> list[int]:
    stored = statements.versions(connection, name)
    live = [one.version for one in stored if not one.deleted]
    if not stored:
        raise unknown_subject(name)
    refuse_read_only(name, modes_of(connection, name)[1])
    if not permanent and not live:
        raise SubjectDeleted(
            f"{name} is deleted; delete it permanently to remove what is left of it"
        )
    if permanent and live:
        raise SubjectNotDeletedYet(f"{name} has to be deleted before it can be deleted permanently")
    return [one.version for one in stored] if permanent else live


def _refuse_referenced(
    connection: Connection, name: str, numbers: Sequence[int], permanent: bool
) -> None:
    """Deleted schemas that refer to it keep it from being deleted permanently only."""
    for number in numbers:
        found = statements.referrers(connection, name, number)
        ids = [id for id, live in found.items() if live or permanent]
        if ids:
            raise StillReferenced(
                f"version {number} of {name} is referred to by the schemas with the ids "
                f"{', '.join(map(str, ids[:10]))}; delete those first"
            )
