"""Brings lock files up to the classes: compatible changes become a version, others are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventbus.contracts.compatibility import Mode
from eventbus.contracts.gates.standing import (
    Standing,
    State,
    check_integrity,
    next_lock,
    standing_of,
)
from eventbus.contracts.lock_files import LockFile, write_lock
from eventbus.contracts.registry.port import Reader

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.event import Event


@dataclass(frozen=True)
class Locking:
    """What was done for one event.

    Parameters
    ----------
    path:
        The file that was written; None where nothing had to be, or might be, written.
    """

    standing: Standing
    lock: LockFile | None
    path: Path | None


def lock_contracts(
    bus: EventBus,
    events: Mapping[str, type[Event]],
    locks: Mapping[str, LockFile],
    mode: Mode | None = None,
    pinned: Sequence[Reader] = (),
) -> list[Locking]:
    """Write the lock files of `events` whose class is not their newest version.

    All are compared before the first is written. An incompatible one stays as it is.

    Parameters
    ----------
    mode:
        What these are to be compared with from now on; None keeps it.
    pinned:
        Readers of other services.

    Raises
    ------
    DeclarationError
        No contract can be derived from a class; nothing was written.
    InvalidLockFile
        A lock file was changed by hand, or cannot be written.
    """
    for name in events:
        if name in locks:
            check_integrity(locks[name], bus.settings.contracts)
    standings = [
        standing_of(event_class, locks.get(name), mode, pinned)
        for name, event_class in sorted(events.items())
    ]
    return [_locked(bus, standing, mode) for standing in standings]


def _locked(bus: EventBus, standing: Standing, mode: Mode | None) -> Locking:
    if standing.state is State.INCOMPATIBLE:
        return Locking(standing, standing.lock, None)
    lock = next_lock(standing, bus.service, mode)
    if lock == standing.lock:
        return Locking(standing, lock, None)
    return Locking(standing, lock, write_lock(bus.settings.contracts, lock))
