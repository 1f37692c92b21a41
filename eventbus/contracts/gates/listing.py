"""All contracts at a glance: classes, lock files, and the registry where it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eventbus.contracts.gates.readers import called
from eventbus.contracts.gates.registering import registered_versions
from eventbus.contracts.gates.standing import standing_of
from eventbus.contracts.lock_files import LockFile, read_locks
from eventbus.contracts.registry import open_registry
from eventbus.contracts.registry.port import Registry

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.event import Event


@dataclass(frozen=True)
class Listed:
    """One contract.

    Parameters
    ----------
    source:
        The service that publishes it.
    version:
        The newest that is locked.
    state:
        How the class stands to the lock file, a `State`; None where there is no class.
    registered:
        The newest version in the registry, where it was asked.
    readers:
        Those that the registry knows.
    """

    subject: str
    source: str | None = None
    format: str | None = None
    compatibility: str | None = None
    version: int | None = None
    state: str | None = None
    registered: int | None = None
    readers: tuple[str, ...] = ()


def list_contracts(bus: EventBus, with_registry: bool) -> list[Listed]:
    """Every contract that a class, a lock file, or the registry if it is asked, has; sorted."""
    locks = read_locks(bus.settings.contracts)
    published = bus.published_events
    registry = open_registry(bus) if with_registry else None
    names: set[str] = {*locks, *published, *(registry.subjects() if registry else ())}
    found = [_listed(bus, name, published.get(name), locks.get(name)) for name in sorted(names)]
    return [_registered(registry, one) for one in found] if registry else found


def _listed(
    bus: EventBus, name: str, event_class: type[Event] | None, lock: LockFile | None
) -> Listed:
    standing = standing_of(event_class, lock) if event_class is not None else None
    found = Listed(
        name,
        source=bus.service if standing else None,
        format=standing.contract.format.value if standing else None,
        state=standing.state.value if standing else None,
    )
    if lock is None:
        return found
    return replace(
        found,
        source=lock.source or found.source,
        format=lock.format.value,
        compatibility=lock.compatibility.value,
        version=lock.newest.version,
    )


def _registered(registry: Registry, one: Listed) -> Listed:
    versions = registered_versions(registry, one.subject)
    readers: Sequence[str] = [called(reader) for reader in registry.readers(one.subject)]
    if not versions:
        return replace(one, readers=tuple(readers))
    return replace(
        one,
        format=one.format or versions[-1].schema.format.value,
        compatibility=one.compatibility or registry.mode(one.subject).value,
        registered=versions[-1].version,
        readers=tuple(readers),
    )
