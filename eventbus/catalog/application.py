"""The catalog of one application: what its bus declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventbus.catalog.entries import Catalog, Consumer, EventEntry, FieldEntry
from eventbus.catalog.types import type_text
from eventbus.contracts.lock_files import LockFile, read_locks
from eventbus.declared import record_of
from eventbus.errors import DeclarationError
from eventbus.shape import Deprecation

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.event import Event
    from eventbus.subscription import Handler


def catalog_of(bus: EventBus) -> Catalog:
    """What the application publishes and consumes; asks neither database nor broker.

    Raises
    ------
    InvalidLockFile
        A lock file of the contracts cannot be read.
    """
    locks = read_locks(bus.settings.contracts)
    return Catalog(
        (bus.service,),
        tuple(_event(bus, name, cls, locks.get(name)) for name, cls in sorted(bus.events.items())),
        tuple(
            _consumer(bus.service, subscription.queue, handler)
            for _, subscription in sorted(bus.subscriptions.items())
            for handler in subscription.handlers
        ),
    )


def is_own(bus: EventBus, event: EventEntry) -> bool:
    """Whether the application publishes this event, and does not only read it."""
    return event.publisher == bus.service


def _event(bus: EventBus, name: str, cls: type[Event], lock: LockFile | None) -> EventEntry:
    return EventEntry(
        name,
        publisher=cls.__source__ or bus.service,
        summary=_summary(cls),
        format=cls.__wire_format__,
        version=lock.newest.version if lock else None,
        style=cls.__style__,
        reason=cls.__reason__,
        deprecated=_deprecated(cls.__deprecated__),
        python_class=f"{cls.__module__}.{cls.__qualname__}",
        fields=_fields(cls),
    )


def _consumer(service: str, queue: str, handler: Handler) -> Consumer:
    return Consumer(service, queue, handler.name, handler.patterns, tuple(sorted(handler.events)))


def _summary(cls: type[Event]) -> str:
    """The first line of the class's own docstring."""
    lines = (cls.__dict__.get("__doc__") or "").strip().splitlines()
    return lines[0] if lines else ""


def _fields(cls: type[Event]) -> tuple[FieldEntry, ...]:
    try:
        record = record_of(cls)
    except DeclarationError:
        # A field that no contract can say is still a field.
        return tuple(
            FieldEntry(field.data_key or name, type(field).__name__.lower(), field.required)
            for name, field in cls.__schema__.fields.items()
        )
    return tuple(
        FieldEntry(
            field.name, type_text(field.element), field.required, _deprecated(field.deprecated)
        )
        for field in record.fields
    )


def _deprecated(found: Deprecation | None) -> str:
    if found is None:
        return ""
    until = "deprecated" if found.until is None else f"until {found.until.isoformat()}"
    return f"{until}: {found.instead}" if found.instead else until
