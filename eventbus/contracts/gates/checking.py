"""The gate in CI: every declared event against its lock file, without any server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.formats import read_ahead
from eventbus.contracts.gates.changes import change_between
from eventbus.contracts.gates.evolution import evolution
from eventbus.contracts.gates.findings import (
    CHANGED,
    DEPRECATED,
    HISTORY,
    INCOMPATIBLE,
    MISSING,
    READER,
    REMOVED,
    Break,
    Finding,
    Rule,
    breaks,
    counted,
    located,
)
from eventbus.contracts.gates.readers import called, readers_of
from eventbus.contracts.gates.sources import Location, location_of, shown_path
from eventbus.contracts.gates.standing import (
    Standing,
    State,
    check_integrity,
    snapshot_of,
    standing_of,
)
from eventbus.contracts.lock_files import LockFile, lock_path
from eventbus.contracts.registry.evolution import broken_readers, next_major
from eventbus.contracts.registry.port import Reader
from eventbus.contracts.upcasting import chain
from eventbus.errors import UndecodableMessage

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.event import Event


def check_contracts(
    bus: EventBus,
    locks: Mapping[str, LockFile],
    today: dt.date,
    pinned: Sequence[Reader] = (),
) -> list[Finding]:
    """What is wrong with the contracts of the events that `bus` declares.

    Parameters
    ----------
    locks:
        Subject to lock file; those of other services' events tell whether our handlers can read
        them.
    today:
        Deprecations end on a day.
    pinned:
        Readers of other services.

    Raises
    ------
    DeclarationError
        No contract can be derived from a class.
    InvalidLockFile
        A lock file was changed by hand.
    """
    folder, published = bus.settings.contracts, bus.published_events
    readers: dict[str, list[Reader]] = {}
    for reader in readers_of(bus):
        readers.setdefault(reader.subject, []).append(reader)
    read_ahead(version.schema for lock in locks.values() for version in lock.versions)
    for lock in locks.values():
        check_integrity(lock, folder)
    found: list[Finding] = []
    for name, event_class in sorted(published.items()):
        standing = standing_of(event_class, locks.get(name), readers=pinned)
        found += about(standing, readers.get(name, ()))
        found += _deprecations(event_class, today)
    for lock in locks.values():
        found += _history(lock, folder)
        found += _unreadable(bus, lock, readers.get(lock.subject, ()), published.get(lock.subject))
    found += [
        _removed(lock, folder)
        for lock in locks.values()
        if lock.source == bus.service and lock.subject not in published
    ]
    return found


def about(standing: Standing, here: Sequence[Reader]) -> list[Finding]:
    """What is to be said of one class and its lock file.

    Parameters
    ----------
    here:
        Handlers of this application that read the event. They read as the class is now; where it
        breaks with what was, those that are deployed break.
    """
    if standing.state is State.NEW:
        return [_to_be_locked(MISSING, standing, f"{standing.subject} has no lock file")]
    if standing.state is State.CHANGED:
        assert standing.lock is not None
        newest = standing.lock.newest.version
        said = f"{standing.subject} is no longer as in its version {newest}, but compatible with it"
        return [_to_be_locked(CHANGED, standing, said)]
    if standing.state is State.INCOMPATIBLE:
        names = (*standing.broken, *(called(reader) for reader in here))
        found = [_incompatible(standing, one, names) for one in breaks(standing.found.differences)]
        return found or [_breaks_readers(standing)]
    return _other_style(standing)


def _other_style(standing: Standing) -> list[Finding]:
    """What a review has not seen: that the event carries a copy, or why."""
    assert standing.lock is not None
    locked, declared = standing.lock.snapshot, snapshot_of(standing.event_class)
    if locked == declared:
        return []
    style = "a snapshot" if declared else "thin"
    other = "another reason" if locked and declared else "otherwise"
    said = f"{standing.subject} is {style}, and its lock file says {other}"
    return [_to_be_locked(CHANGED, standing, said)]


def _to_be_locked(rule: Rule, standing: Standing, said: str) -> Finding:
    remedy = "run 'eventbus schema lock' and commit the lock file"
    return Finding(rule, standing.subject, said, remedy, location_of(standing.event_class))


def _incompatible(standing: Standing, one: Break, readers: tuple[str, ...]) -> Finding:
    assert standing.lock is not None
    newest = standing.lock.newest.schema
    change = change_between(newest, standing.contract, one.difference)
    return Finding(
        INCOMPATIBLE,
        standing.subject,
        f"{change}: {one.said(standing.subject)}",
        f"take the change back, or begin a new major, an event with a routing key of its own: "
        f"{next_major(standing.subject)}",
        location_of(standing.event_class),
        one.difference,
        one.versions,
        readers,
    )


def _breaks_readers(standing: Standing) -> Finding:
    """The mode allows the change, and somebody who is known to read the event does not."""
    assert standing.lock is not None
    change = change_between(standing.lock.newest.schema, standing.contract)
    return Finding(
        READER,
        standing.subject,
        f"{change}: {standing.lock.compatibility.value} allows it, but not every reader of "
        f"{standing.subject} could read it",
        "change these readers first; once that is deployed, 'eventbus schema readers --pin'",
        location_of(standing.event_class),
        readers=standing.broken,
    )


def _history(lock: LockFile, folder: str) -> list[Finding]:
    """What locked versions do to each other: a merge may have brought them together."""
    place = Location(shown_path(lock_path(folder, lock.subject)), 1)
    found = []
    for one in lock.versions[1:]:
        earlier = [before.schema for before in lock.versions[: one.version - 1]]
        compatibility = evolution(one.schema, earlier, lock.compatibility)
        for broken in breaks(compatibility.differences):
            with_it = f"version {one.version} of {lock.subject}"
            found.append(
                Finding(
                    HISTORY,
                    lock.subject,
                    f"{lock.compatibility.value} does not allow {with_it}, which is locked: "
                    f"{_said(broken, with_it)}",
                    f"if nothing of it was published, remove it and what follows from the lock "
                    f"file and run 'eventbus schema lock'; else it needs a new major: "
                    f"{next_major(lock.subject)}",
                    place,
                    broken.difference,
                    (*broken.versions, one.version),
                )
            )
    return found


def _said(broken: Break, version: str) -> str:
    earlier = counted(broken.versions)
    backward = broken.difference.direction == "backward"
    reader, writer = (version, earlier) if backward else (f"who has {earlier}", "it")
    return f"{reader} cannot read {writer}: {located(broken.difference)}"


def _unreadable(
    bus: EventBus, lock: LockFile, readers: Iterable[Reader], published: type[Event] | None
) -> Iterator[Finding]:
    """What our handlers cannot read of an event, in other classes than the one that is locked."""
    for reader in readers:
        event_class = bus.handlers[reader.handler].event_class(lock.subject)
        if event_class not in (None, published):
            yield from _unreadable_by(reader, event_class, lock)


def _unreadable_by(reader: Reader, event_class: type[Event], lock: LockFile) -> Iterator[Finding]:
    for version in lock.versions:
        try:
            if chain(event_class.__upcasters__, version.version, lock.subject):
                continue
        except UndecodableMessage as error:
            missing = Difference("UPCASTER_MISSING", "", str(error))
            yield _reader_breaks(reader, event_class, version.version, missing)
            continue
        for _, differences in broken_readers([reader], version.schema):
            for one in differences:
                yield _reader_breaks(reader, event_class, version.version, one)


def _reader_breaks(
    reader: Reader, event_class: type[Event], version: int, one: Difference
) -> Finding:
    name = called(reader)
    return Finding(
        READER,
        reader.subject,
        f"{name} cannot read version {version} of {reader.subject}: {located(one)}",
        f"give the field a default in {event_class.__qualname__}, or leave it out there",
        location_of(event_class),
        replace(one, version=None, direction=None),
        (version,),
        (name,),
    )


def _removed(lock: LockFile, folder: str) -> Finding:
    path = lock_path(folder, lock.subject)
    return Finding(
        REMOVED,
        lock.subject,
        f"{lock.subject} is locked, but {lock.source} declares no such event any more",
        f"keep the class, deprecated, as long as somebody reads it; then delete {path}",
        Location(shown_path(path), 1),
    )


def _deprecations(event_class: type[Event], today: dt.date) -> Iterator[Finding]:
    from eventbus.declared import record_of

    name, record = event_class.__event_name__, record_of(event_class)
    for label, deprecation in (
        (name, record.deprecated),
        *((f"{name}: {field.name}", field.deprecated) for field in record.fields),
    ):
        if deprecation is not None and deprecation.until and deprecation.until <= today:
            instead = f"; {deprecation.instead}" if deprecation.instead else ""
            yield Finding(
                DEPRECATED,
                name,
                f"{label} was to go away on {deprecation.until}{instead}",
                "remove it once nobody reads it, or give it a later date",
                location_of(event_class),
            )
