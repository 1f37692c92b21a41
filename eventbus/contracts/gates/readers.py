"""Who reads an event."""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.registry.evolution import broken_readers
from eventbus.contracts.registry.port import Reader
from eventbus.contracts.schema import Schema
from eventbus.errors import DeclarationError, InvalidSchema, MissingDependency

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.event import Event

log = logging.getLogger("eventbus.contracts")

#: Of a service whose release nobody knows.
UNKNOWN_RELEASE = "unreleased"
#: A worker says that it is there at its start, and then so often.
REPEAT_MS = 3_600_000
#: A reader that has not been heard of for so long counts as gone, however quiet its service is.
STALE_AFTER_MS = 14 * 86_400_000
#: And for so long, if another release consumes its queue meanwhile.
REPLACED_AFTER_MS = 3 * REPEAT_MS


class Presence(enum.Enum):
    """Whether a reader still counts."""

    PRESENT = "present"
    #: Another release consumes its queue, and it has not been heard of since.
    REPLACED = "replaced"
    STALE = "stale"


def readers_of(bus: EventBus) -> list[Reader]:
    """What the handlers of `bus` read, by subject, queue and handler.

    A handler that takes any event reads those of its patterns that have a class. What no contract
    can be derived from is left out, and logged.
    """
    release, seen_at_ms, events = release_of(bus), _now_ms(), sorted(bus.events.items())
    contracts: dict[type[Event], Schema | None] = {}
    found = []
    for subscription in bus.subscriptions.values():
        for handler in subscription.handlers:
            for name, event_class in sorted(handler.events.items()) or events:
                if not handler.accepts(name):
                    continue
                if event_class not in contracts:
                    contracts[event_class] = _contract(event_class)
                schema = contracts[event_class]
                if schema is not None:
                    who = (bus.service, release, subscription.queue, handler.name)
                    found.append(Reader(name, *who, schema, seen_at_ms))
    return found


def _contract(event_class: type[Event]) -> Schema | None:
    try:
        return writer_contract(event_class)
    except (DeclarationError, InvalidSchema, MissingDependency) as error:
        log.info("nobody is told who reads %s: %s", event_class.__event_name__, error)
        return None


def release_of(bus: EventBus) -> str:
    """The service's release.

    The setting `release`; else the version of the installed package that the service's handlers
    are in, or that has the service's name.
    """
    if bus.settings.release is not None:
        return bus.settings.release
    packages = {
        str(getattr(handler.function, "__module__", "")).partition(".")[0]
        for handler in bus.handlers.values()
    }
    for name in (*sorted(packages - {"", "__main__"}), bus.service):
        try:
            return metadata.version(name)
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return UNKNOWN_RELEASE


def called(reader: Reader) -> str:
    """How people call a reader: ``shop.billing 1.4, handler charge``."""
    release = "" if reader.release == UNKNOWN_RELEASE else f" {reader.release}"
    return f"{reader.queue}{release}, handler {reader.handler}"


def presence(reader: Reader, others: Iterable[Reader], now_ms: int) -> Presence:
    """Whether `reader` still counts.

    Parameters
    ----------
    others:
        All readers of its event.
    now_ms:
        Epoch milliseconds.
    """
    silent_ms = now_ms - reader.seen_at_ms
    if silent_ms > STALE_AFTER_MS:
        return Presence.STALE
    if silent_ms > REPLACED_AFTER_MS and any(
        (one.service, one.queue) == (reader.service, reader.queue)
        and one.release != reader.release
        and one.seen_at_ms - reader.seen_at_ms > REPLACED_AFTER_MS
        for one in others
    ):
        return Presence.REPLACED
    return Presence.PRESENT


def present(readers: Sequence[Reader], now_ms: int) -> list[Reader]:
    """Those of the readers of one event that still count."""
    return [one for one in readers if presence(one, readers, now_ms) is Presence.PRESENT]


def broken_now(
    readers: Sequence[Reader], new: Schema, before: Schema | None, now_ms: int | None = None
) -> tuple[str, ...]:
    """Those of `readers` that could read `before` and cannot read `new`, and why.

    Parameters
    ----------
    before:
        The version before it. Who could not read that either is not broken by the change.
    now_ms:
        Epoch milliseconds. Readers that are gone by then do not count.
    """
    counting = present(readers, now_ms or _now_ms())
    lost = {id(reader) for reader, _ in broken_readers(counting, before)} if before else set()
    return tuple(
        f"{called(reader)}: {why[0].message}"
        for reader, why in broken_readers(counting, new)
        if id(reader) not in lost
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
