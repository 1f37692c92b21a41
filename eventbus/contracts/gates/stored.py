"""A contract with its versions, from its lock file or from the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventbus.contracts.compatibility import Mode
from eventbus.contracts.lock_files import LockFile, read_lock
from eventbus.contracts.registry import open_registry
from eventbus.contracts.registry.port import Registry
from eventbus.contracts.schema import Schema
from eventbus.errors import UnknownSchema

if TYPE_CHECKING:
    from eventbus.bus import EventBus


@dataclass(frozen=True)
class StoredVersion:
    """One version."""

    version: int
    id: int
    schema: Schema


@dataclass(frozen=True)
class StoredContract:
    """The versions of one subject, the oldest first; there is at least one.

    Parameters
    ----------
    where:
        Where it comes from, in words.
    """

    subject: str
    mode: Mode
    versions: tuple[StoredVersion, ...]
    where: str

    def version(self, number: int | None) -> StoredVersion:
        """That version, or the newest.

        Raises
        ------
        UnknownSchema
            There is no such version; the text says which there are.
        """
        if number is None:
            return self.versions[-1]
        for one in self.versions:
            if one.version == number:
                return one
        have = ", ".join(str(one.version) for one in self.versions[-20:])
        raise UnknownSchema(
            f"{self.subject} has no version {number} in {self.where}; it has {have}"
        )


def stored_contract(bus: EventBus, subject: str, registered: bool) -> StoredContract:
    """The contract of `subject`, from the registry if `registered`, else from its lock file.

    Raises
    ------
    UnknownSchema
        There is none.
    InvalidLockFile
        The lock file cannot be read.
    RegistryUnavailable
        The registry does not answer.
    """
    if registered:
        return _registered(open_registry(bus), subject)
    lock = read_lock(bus.settings.contracts, subject)
    where = f"the folder {bus.settings.contracts!r}"
    if lock is None:
        raise UnknownSchema(
            f"there is no contract of {subject!r:.200} in {where}; 'eventbus schema list' shows "
            f"those that there are"
        )
    return _locked(lock, where)


def _locked(lock: LockFile, where: str) -> StoredContract:
    versions = tuple(StoredVersion(one.version, one.id, one.schema) for one in lock.versions)
    return StoredContract(lock.subject, lock.compatibility, versions, where)


def _registered(registry: Registry, subject: str) -> StoredContract:
    versions = tuple(
        StoredVersion(one.version, one.id, one.schema) for one in registry.versions(subject)
    )
    if not versions:
        raise UnknownSchema(f"there is no contract of {subject!r:.200} in the registry")
    return StoredContract(subject, registry.mode(subject), versions, "the registry")
