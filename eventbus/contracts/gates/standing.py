"""How the class of an event stands to the versions in its lock file."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from eventbus.contracts.compatibility import (
    DEFAULT_MODE,
    Compatibility,
    Difference,
    Mode,
)
from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.fingerprints import fingerprint, id_of
from eventbus.contracts.gates.evolution import evolution
from eventbus.contracts.gates.readers import broken_now
from eventbus.contracts.lock_files import LockedVersion, LockFile, lock_path
from eventbus.contracts.registry.port import Reader
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import DeclarationError, InvalidLockFile, InvalidSchema
from eventbus.event import Event
from eventbus.thin import SNAPSHOT


class State(enum.Enum):
    """What has to be done about an event's contract."""

    NEW = "new"
    LOCKED = "locked"
    #: The class is an earlier version again, and those after it allow that.
    EARLIER = "earlier"
    CHANGED = "changed"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True)
class Standing:
    """How one class stands to its lock file.

    Parameters
    ----------
    contract:
        That of the class.
    version:
        The version that it is, if it is one.
    found:
        Why it may not follow the versions in the lock file.
    broken:
        Readers that could read the newest version, and cannot read this; and why.
    """

    event_class: type[Event]
    state: State
    contract: Schema
    fingerprint: str
    lock: LockFile | None = None
    version: LockedVersion | None = None
    found: Compatibility = field(default_factory=Compatibility)
    broken: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The event's name."""
        return self.event_class.__event_name__


def standing_of(
    event_class: type[Event],
    lock: LockFile | None,
    mode: Mode | None = None,
    readers: Sequence[Reader] = (),
) -> Standing:
    """Compare `event_class` with its lock file.

    Parameters
    ----------
    mode:
        Instead of the one in the lock file.
    readers:
        Readers of this or of other events that a change must not break, whatever the mode.

    Raises
    ------
    DeclarationError
        No contract can be derived from the class; the text names the field and what to use.
    """
    if lock is None:
        contract = _contract(event_class, [])
        return Standing(event_class, State.NEW, contract, fingerprint(contract))
    schemas = [version.schema for version in lock.versions]
    contract = _contract(event_class, schemas)
    mark = fingerprint(contract)
    made = Standing(event_class, State.LOCKED, contract, mark, lock)
    if contract.format is not lock.format:
        return replace(made, state=State.INCOMPATIBLE, found=_other_format(made, lock))
    version = _version(event_class, lock, mark)
    if version is lock.newest:
        return replace(made, version=version)
    others = [one.schema for one in lock.versions if one is not version]
    found = evolution(version.schema if version else contract, others, mode or lock.compatibility)
    if version is not None:
        found = _renumbered(found, version.version)
    ours = [reader for reader in readers if reader.subject == made.subject]
    broken = () if version else broken_now(ours, contract, lock.newest.schema)
    state = State.CHANGED if version is None else State.EARLIER
    if broken or not found:
        state = State.INCOMPATIBLE
    return replace(made, state=state, version=version, found=found, broken=broken)


def _contract(event_class: type[Event], previous: list[Schema]) -> Schema:
    try:
        return writer_contract(event_class, previous)
    except DeclarationError as error:
        name = event_class.__event_name__
        if name in str(error) or event_class.__qualname__ in str(error):
            raise
        raise DeclarationError(f"{name}: {error}") from None


def _version(event_class: type[Event], lock: LockFile, mark: str) -> LockedVersion | None:
    """The version that the class is."""
    found = lock.with_fingerprint(mark)
    if found is not None or lock.format is not Format.PROTOBUF:
        return found
    # What a Protobuf schema is depends on those before it: a field keeps its number.
    for at in reversed(range(len(lock.versions))):
        earlier = [one.schema for one in lock.versions[:at]]
        if fingerprint(writer_contract(event_class, earlier)) == lock.versions[at].fingerprint:
            return lock.versions[at]
    return None


def _other_format(made: Standing, lock: LockFile) -> Compatibility:
    return Compatibility(
        (
            Difference(
                "FORMAT_CHANGED",
                "",
                f"the class says format={made.contract.format.value!r}, and the versions so far "
                f"are {lock.format.value}",
                lock.newest.version,
                "forward",
            ),
        )
    )


def _renumbered(found: Compatibility, left_out: int) -> Compatibility:
    """The differences with the numbers that versions have where one was left out."""
    return Compatibility(
        tuple(
            replace(one, version=one.version + (one.version >= left_out))
            if one.version is not None
            else one
            for one in found.differences
        )
    )


def snapshot_of(event_class: type[Event]) -> str | None:
    """Why the event carries a copy of data, as its lock file has it; None for a thin one."""
    return event_class.__reason__ if event_class.__style__ == SNAPSHOT else None


def next_lock(standing: Standing, source: str, mode: Mode | None = None) -> LockFile:
    """The lock file with the contract of the class as its newest version."""
    lock, snapshot = standing.lock, snapshot_of(standing.event_class)
    if lock is None:
        first = _locked(standing, 1)
        return LockFile(
            standing.subject, first.schema.format, (first,), mode or DEFAULT_MODE, source, snapshot
        )
    versions = lock.versions
    if standing.version is None:
        versions = (*versions, _locked(standing, len(versions) + 1))
    return replace(
        lock,
        versions=versions,
        compatibility=mode or lock.compatibility,
        source=source,
        snapshot=snapshot,
    )


def _locked(standing: Standing, version: int) -> LockedVersion:
    mark = standing.fingerprint
    return LockedVersion(version, id_of(mark), mark, standing.contract)


def check_integrity(lock: LockFile, folder: str) -> None:
    """Refuse a lock file whose schemas are not those that were locked.

    Raises
    ------
    InvalidLockFile
        A version was changed by hand; the text names it.
    """
    path = lock_path(folder, lock.subject)
    for one in lock.versions:
        try:
            mark = fingerprint(one.schema)
        except InvalidSchema as error:
            raise InvalidLockFile(
                f"{path}: version {one.version} is no {lock.format.value} schema: {error}"
            ) from None
        if (one.fingerprint, one.id) != (mark, id_of(mark)):
            raise InvalidLockFile(
                f"{path}: version {one.version} was changed by hand: its schema is not the one "
                f"that its id and fingerprint belong to; restore the file from the version "
                f"control, change the class instead, and run 'eventbus schema lock'"
            )
