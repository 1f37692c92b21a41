"""Lock files against the registry and the readers that it knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from eventbus.contracts.gates.changes import change_between
from eventbus.contracts.gates.findings import DIVERGED, READER, UNREGISTERED, Finding
from eventbus.contracts.gates.readers import broken_now
from eventbus.contracts.gates.registering import diverged, is_same, registered_versions
from eventbus.contracts.gates.sources import Location, location_of, shown_path
from eventbus.contracts.lock_files import LockedVersion, LockFile, lock_path
from eventbus.contracts.registry.port import RegisteredSchema, Registry
from eventbus.contracts.schema import Schema

if TYPE_CHECKING:
    from eventbus.bus import EventBus


def check_registered(
    bus: EventBus, locks: Mapping[str, LockFile], registry: Registry
) -> list[Finding]:
    """What would stop ``schema register``, or is left for it to do.

    Raises
    ------
    RegistryUnavailable
        It does not answer.
    """
    found: list[Finding] = []
    for lock in locks.values():
        if lock.source == bus.service or lock.subject in bus.published_events:
            known = {one.version: one for one in registered_versions(registry, lock.subject)}
            found += _compared(bus, lock, known)
            found += _broken(bus, lock, known, registry)
    return found


def _compared(
    bus: EventBus, lock: LockFile, known: Mapping[int, RegisteredSchema]
) -> Iterator[Finding]:
    newest = max(known, default=0)
    for version in lock.versions:
        registered = known.get(version.version)
        if registered is not None and is_same(registered, version):
            continue
        if newest >= version.version:
            said = diverged(lock.subject, version.version)
            message, _, remedy = said.partition("; ")
            yield Finding(
                DIVERGED,
                lock.subject,
                message,
                remedy,
                _place(bus, lock),
                versions=(version.version,),
            )
            return
        yield Finding(
            UNREGISTERED,
            lock.subject,
            f"version {version.version} of {lock.subject} is not registered yet",
            "'eventbus schema register' does it at the next deploy",
            _place(bus, lock),
            versions=(version.version,),
        )


def _broken(
    bus: EventBus, lock: LockFile, known: Mapping[int, RegisteredSchema], registry: Registry
) -> Iterator[Finding]:
    readers = registry.readers(lock.subject)
    for version in lock.versions:
        if version.version in known:
            continue
        before = lock.versions[version.version - 2].schema if version.version > 1 else None
        broken = broken_now(readers, version.schema, before)
        if broken:
            yield Finding(
                READER,
                lock.subject,
                f"readers that are running cannot read version {version.version} of {lock.subject}",
                "deploy these readers first, or take the change back",
                _place(bus, lock),
                versions=(version.version,),
                readers=broken,
            )


def _change(before: Schema | None, version: LockedVersion) -> str:
    return change_between(before, version.schema) if before else "the first version"


def _place(bus: EventBus, lock: LockFile) -> Location | None:
    event_class = bus.published_events.get(lock.subject)
    if event_class is not None:
        return location_of(event_class)
    return Location(shown_path(lock_path(bus.settings.contracts, lock.subject)), 1)
