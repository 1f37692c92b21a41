"""The registry in a database: the application's own, or one that several share.

What is read needs one transaction. What is registered is compared outside of any, as that may take
seconds, and on SQLite nobody could publish meanwhile; then the registry is locked, and if the
subject has changed since it was read, the comparison begins again. So of two deploys that register
at once, the second is compared with what the first has registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from eventbus.contracts.compatibility import DEFAULT_MODE, Compatibility, Mode
from eventbus.contracts.fingerprints import fingerprint
from eventbus.contracts.registry import deleting, statements
from eventbus.contracts.registry.access import Access
from eventbus.contracts.registry.evolution import broken_readers, evolution, refusal
from eventbus.contracts.registry.port import Reader, Reference, RegisteredSchema
from eventbus.contracts.registry.readers import READER_KEPT_MS, checked_reader
from eventbus.contracts.registry.refusals import (
    NoAccessOfItsOwn,
    NoCompatibilityOfItsOwn,
    NotInSubject,
    RefusedVersion,
    UnknownId,
    UnknownSubject,
    UnknownVersion,
)
from eventbus.contracts.registry.statements import GLOBAL, StoredSchema, StoredVersion
from eventbus.contracts.registry.subject_names import checked_subject
from eventbus.contracts.registry.subject_state import (
    SubjectState,
    given_schema,
    id_for,
    modes_of,
    read_subject,
    refuse_read_only,
    registered,
    unknown_subject,
    with_id,
)
from eventbus.contracts.schema import Schema
from eventbus.database import errors_of, now_ms, reading
from eventbus.errors import DatabaseUnavailable, RegistryUnavailable

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

#: How often a registration begins again because others have registered in the same subject.
_ATTEMPTS = 50


class DatabaseRegistry:
    """The `Registry` in the contract tables. Threads and processes may share them.

    Parameters
    ----------
    engine:
        From `eventbus.database.make_engine`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # What a registry is asked.

    def subjects(self, *, live: bool = True, deleted: bool = False) -> list[str]:
        """See `Registry.subjects`.

        Parameters
        ----------
        live:
            Those that have a version that is not deleted.
        deleted:
            Those of which all versions are deleted.
        """
        with self._reading() as connection:
            found = statements.subjects(connection)
        return [subject for subject, is_live in found.items() if (live if is_live else deleted)]

    def versions(self, subject: str, *, deleted: bool = False) -> list[RegisteredSchema]:
        """See `Registry.versions`.

        Parameters
        ----------
        deleted:
            With those that are deleted.

        Raises
        ------
        UnknownSubject
            There is none.
        """
        name = checked_subject(subject)
        with self._reading() as connection:
            stored = statements.versions(connection, name)
            found = [registered(connection, one) for one in stored if deleted or not one.deleted]
        if not found:
            raise unknown_subject(name)
        return found

    def version(
        self, subject: str, number: int | None = None, *, deleted: bool = False
    ) -> RegisteredSchema:
        """One version of a subject.

        Parameters
        ----------
        number:
            None: the latest.
        deleted:
            Also one that is deleted.

        Raises
        ------
        UnknownSubject, UnknownVersion
            There is none.
        """
        name = checked_subject(subject)
        with self._reading() as connection:
            numbers = statements.numbers(connection, name, deleted=deleted)
            if not numbers:
                raise unknown_subject(name)
            wanted = numbers[-1] if number is None else number
            stored = statements.version(connection, name, wanted) if wanted in numbers else None
            if stored is None:
                raise UnknownVersion(f"version {number} of {name!r} is not registered")
            return registered(connection, stored)

    def numbers(self, subject: str, *, live: bool = True, deleted: bool = False) -> list[int]:
        """The numbers of a subject's versions, the oldest first.

        Raises
        ------
        UnknownSubject
            There is none.
        """
        name = checked_subject(subject)
        with self._reading() as connection:
            found = statements.numbers(connection, name, live=live, deleted=deleted)
        if not found:
            raise unknown_subject(name)
        return found

    def all_versions(
        self,
        prefix: str = "",
        *,
        deleted: bool = False,
        latest_only: bool = False,
        offset: int = 0,
        limit: int = 1000,
    ) -> list[StoredVersion]:
        """Versions of the subjects whose names begin with `prefix`, by name and number.

        Parameters
        ----------
        latest_only:
            Of each subject the latest one.
        offset, limit:
            How many to leave out at the beginning, and how many to give.
        """
        with self._reading() as connection:
            keys = statements.version_keys(connection, prefix, deleted=deleted)
            if latest_only:
                keys = list(dict(keys).items())
            return statements.versions_with_keys(connection, keys[offset : offset + limit])

    def by_id(self, id: int) -> RegisteredSchema:
        """See `Registry.by_id`; also of deleted versions, as there are messages with the id."""
        with self._reading() as connection:
            found = statements.versions_of_id(connection, id)
            if found:
                return registered(connection, min(found, key=lambda one: one.deleted))
        raise _unknown_id(id)

    def stored_by_id(self, id: int) -> StoredSchema:
        """The schema with this id as it was registered; quicker than `by_id`."""
        with self._reading() as connection:
            found = statements.schema_with_id(connection, id)
        if found is None:
            raise _unknown_id(id)
        return found

    def versions_of_id(self, id: int, *, deleted: bool = False) -> list[tuple[str, int]]:
        """Subject and version of what has this id.

        Raises
        ------
        UnknownId
            No schema has it.
        """
        with self._reading() as connection:
            found = statements.versions_of_id(connection, id)
        if not found:
            raise _unknown_id(id)
        return [(one.subject, one.version) for one in found if deleted or not one.deleted]

    def highest_id(self) -> int:
        """The highest id of a schema, or 0."""
        with self._reading() as connection:
            return statements.highest_id(connection)

    def look_up(
        self,
        subject: str,
        schema: Schema,
        references: Sequence[Reference] = (),
        *,
        deleted: bool = False,
    ) -> RegisteredSchema:
        """See `Registry.look_up`.

        Raises
        ------
        UnknownSubject
            The subject has no version.
        NotInSubject
            None of its versions is this schema.
        """
        name = checked_subject(subject)
        with self._reading() as connection:
            wanted = given_schema(connection, schema, references, deleted=True)
            id = statements.id_of_fingerprint(connection, fingerprint(wanted))
            stored = [
                one for one in statements.versions(connection, name) if deleted or not one.deleted
            ]
            if not stored:
                raise unknown_subject(name)
            for one in reversed(stored):
                if one.schema.id == id:
                    return registered(connection, one)
        raise NotInSubject(f"no version of {name} is this schema")

    def referenced_by(self, subject: str, number: int, *, deleted: bool = False) -> list[int]:
        """The ids of the schemas that refer to a version.

        Raises
        ------
        UnknownSubject, UnknownVersion
            There is no such version.
        """
        found = self.version(subject, number, deleted=True)
        with self._reading() as connection:
            ids = statements.referrers(connection, found.subject, found.version)
        return [id for id, live in ids.items() if live or deleted]

    # Registering.

    def check(
        self, subject: str, schema: Schema, references: Sequence[Reference] = ()
    ) -> Compatibility:
        """See `Registry.check`."""
        name = checked_subject(subject)
        with self._reading() as connection:
            wanted = given_schema(connection, schema, references, deleted=False)
            found = read_subject(connection, name)
            id = statements.id_of_fingerprint(connection, fingerprint(wanted))
        if with_id(found.live, id) is not None:
            return Compatibility()
        return evolution(found.live, wanted, found.mode)

    def check_against(
        self,
        subject: str,
        number: int | None,
        schema: Schema,
        references: Sequence[Reference] = (),
    ) -> Compatibility:
        """Whether a schema would be compatible if the subject had this one version only.

        Parameters
        ----------
        number:
            None: the latest. Without any, everything is compatible.

        Raises
        ------
        UnknownSubject, UnknownVersion
            There is no version with this number.
        """
        name = checked_subject(subject)
        with self._reading() as connection:
            wanted = given_schema(connection, schema, references, deleted=False)
            mode, _ = modes_of(connection, name)
            numbers = statements.numbers(connection, name)
        if number is None and not numbers:
            return evolution([], wanted, mode)
        return evolution([self.version(name, number)], wanted, mode)

    def register(
        self, subject: str, schema: Schema, references: Sequence[Reference] = ()
    ) -> RegisteredSchema:
        """See `Registry.register`.

        Raises
        ------
        RefusedVersion
            The mode does not allow it.
        ReadOnly
            No versions are taken.
        InvalidSubject, InvalidSchema
            It is none.
        """
        name = checked_subject(subject)
        for _ in range(_ATTEMPTS):
            with self._reading() as connection:
                wanted = given_schema(connection, schema, references, deleted=False)
                found = read_subject(connection, name)
                id = statements.id_of_fingerprint(connection, fingerprint(wanted))
            known = with_id(found.live, id)
            if known is not None:
                return known
            self._refuse_incompatible(found, wanted)
            added = self._add(found, wanted, references)
            if added is not None:
                return added
        raise RegistryUnavailable(
            f"{name}: others register versions of it all the time; try again in a while"
        )

    def _refuse_incompatible(self, found: SubjectState, new: Schema) -> None:
        refuse_read_only(found.name, found.access)
        differences = evolution(found.live, new, found.mode).differences
        if differences:
            broken = broken_readers(self.readers(found.name), new)
            raise RefusedVersion(
                refusal(found.name, found.mode, differences, broken),
                differences,
                [reader for reader, _ in broken],
            )

    def _add(
        self, found: SubjectState, new: Schema, references: Sequence[Reference]
    ) -> RegisteredSchema | None:
        """Make `new` the next version, unless the subject is not any longer as it was `found`."""
        with self._writing() as connection:
            if not found.same(read_subject(connection, found.name)):
                return None
            # What it refers to may have been deleted meanwhile.
            if given_schema(connection, new, references, deleted=False) != new:
                return None
            id = id_for(connection, new, references)
            number = found.next_version
            now = int(connection.execute(sa.select(now_ms())).scalar_one())
            statements.add_version(connection, found.name, number, id, now)
            stored = statements.version(connection, found.name, number)
            assert stored is not None
            return registered(connection, stored)

    # Deleting.

    def delete_version(
        self, subject: str, number: int | None = None, *, permanent: bool = False
    ) -> int:
        """Delete a version: its id can still be looked up, unless it is deleted permanently.

        Parameters
        ----------
        number:
            None: the latest.

        Raises
        ------
        UnknownSubject, UnknownVersion, VersionDeleted
            There is no such version, or it is deleted already.
        VersionNotDeletedYet
            It is to be deleted permanently, and is not deleted.
        StillReferenced
            A schema refers to it.
        ReadOnly
            No changes are taken.
        """
        with self._writing() as connection:
            return deleting.delete_version(connection, checked_subject(subject), number, permanent)

    def delete_subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Delete all versions of a subject, and what is set for it; which versions.

        Raises
        ------
        UnknownSubject, SubjectDeleted
            There is no such subject, or it is deleted already.
        SubjectNotDeletedYet
            It is to be deleted permanently, and is not deleted.
        StillReferenced
            A schema refers to a version of it.
        ReadOnly
            No changes are taken.
        """
        with self._writing() as connection:
            return deleting.delete_subject(connection, checked_subject(subject), permanent)

    # Settings.

    def mode(self, subject: str | None = None) -> Mode:
        """See `Registry.mode`."""
        with self._reading() as connection:
            return modes_of(connection, _optional(subject))[0]

    def own_mode(self, subject: str) -> Mode:
        """The mode that is set for this subject itself.

        Raises
        ------
        NoCompatibilityOfItsOwn
            None is.
        """
        found = self._own(subject).compatibility
        if found is None:
            raise NoCompatibilityOfItsOwn(f"{subject} has no compatibility mode of its own")
        return Mode(found)

    def set_mode(self, mode: Mode, subject: str | None = None) -> None:
        """See `Registry.set_mode`."""
        self._set(subject, compatibility=mode.value)

    def clear_mode(self, subject: str | None = None) -> Mode:
        """Let the global mode count for the subject, or the default one globally; the old one."""
        with self._writing() as connection:
            name = _optional(subject)
            old = statements.settings(connection, name)[name].compatibility
            if old is None and name != GLOBAL:
                raise UnknownSubject(f"{name} has no compatibility mode of its own")
            refuse_read_only(name, modes_of(connection, name)[1])
            statements.set_settings(connection, name, compatibility=None)
        return Mode(old) if old else DEFAULT_MODE

    def access(self, subject: str | None = None) -> Access:
        """Whether the subject, or the registry, takes changes."""
        with self._reading() as connection:
            return modes_of(connection, _optional(subject))[1]

    def own_access(self, subject: str) -> Access:
        """What is set for this subject itself.

        Raises
        ------
        NoAccessOfItsOwn
            Nothing is.
        """
        found = self._own(subject).access
        if found is None:
            raise NoAccessOfItsOwn(f"{subject} has no mode of its own")
        return Access(found)

    def set_access(self, access: Access, subject: str | None = None) -> None:
        """Let the subject, or the registry, take changes or not."""
        with self._writing() as connection:
            statements.set_settings(connection, _optional(subject), access=access.value)

    def clear_access(self, subject: str | None = None) -> Access:
        """Let what is set globally count for the subject, or READWRITE globally; what was set."""
        with self._writing() as connection:
            name = _optional(subject)
            old = statements.settings(connection, name)[name].access
            if old is None and name != GLOBAL:
                raise UnknownSubject(f"{name} has no mode of its own")
            statements.set_settings(connection, name, access=None)
        return Access(old) if old else Access.READWRITE

    def _own(self, subject: str) -> statements.SubjectSettings:
        name = checked_subject(subject)
        with self._reading() as connection:
            return statements.settings(connection, name)[name]

    def _set(self, subject: str | None, **values: str | None) -> None:
        with self._writing() as connection:
            name = _optional(subject)
            refuse_read_only(name, modes_of(connection, name)[1])
            statements.set_settings(connection, name, **values)

    # Readers.

    def readers(self, subject: str) -> list[Reader]:
        """See `Registry.readers`."""
        with self._reading() as connection:
            return statements.readers(connection, checked_subject(subject))

    def add_readers(self, readers: Sequence[Reader]) -> None:
        """See `Registry.add_readers`."""
        checked = [checked_reader(reader) for reader in readers]
        with self._errors(), self._engine.begin() as connection:
            statements.put_readers(connection, checked)
            for reader in checked:
                statements.forget_readers(connection, reader, reader.seen_at_ms - READER_KEPT_MS)

    # Transactions.

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._errors(), reading(self._engine) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._errors(), self._engine.begin() as connection:
            statements.lock(connection)
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with errors_of(self._engine):
                yield
        except DatabaseUnavailable as error:
            raise RegistryUnavailable(f"the schema registry is not available: {error}") from error


def _optional(subject: str | None) -> str:
    return GLOBAL if subject is None else checked_subject(subject)


def _unknown_id(id: int) -> UnknownId:
    return UnknownId(f"no schema has the id {id}")
