"""What a catalog knows, as values, and as JSON that another service's catalog can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from eventbus.errors import ConfigurationError
from eventbus.patterns import matches


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """One field of an event.

    Parameters
    ----------
    type:
        In words for a person: ``string(80)``, ``list of uuid``.
    required:
        Whether a reader cannot do without it.
    deprecated:
        Until when it stays, and what to use instead; empty if it is not.
    """

    name: str
    type: str
    required: bool
    deprecated: str = ""


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One event.

    Parameters
    ----------
    publisher:
        The service that publishes it.
    version:
        Of its contract, the newest that is locked; None if none is.
    style, reason:
        ``thin``, or ``snapshot`` and why.
    """

    name: str
    publisher: str
    summary: str = ""
    format: str = "json"
    version: int | None = None
    style: str = "thin"
    reason: str = ""
    deprecated: str = ""
    python_class: str = ""
    fields: tuple[FieldEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Consumer:
    """One handler, on its queue.

    Parameters
    ----------
    patterns:
        Routing-key patterns of the events that it takes.
    events:
        The names of the events whose classes it reads; empty for any event.
    """

    service: str
    queue: str
    handler: str
    patterns: tuple[str, ...]
    events: tuple[str, ...] = ()

    def takes(self, event_name: str) -> bool:
        """Whether it is given the event of this name."""
        if self.events and event_name not in self.events:
            return False
        return any(matches(pattern, event_name) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Events and consumers of one service, or of several."""

    services: tuple[str, ...]
    events: tuple[EventEntry, ...]
    consumers: tuple[Consumer, ...]

    def consumers_of(self, event_name: str) -> list[Consumer]:
        """The handlers that are given this event, by service and queue."""
        return [consumer for consumer in self.consumers if consumer.takes(event_name)]

    def with_others(self, others: Iterable[Catalog]) -> Catalog:
        """This catalog and others' in one.

        Of an event that several describe, what its publisher says counts.
        """
        services = {*self.services}
        events = {event.name: event for event in self.events}
        consumers = {_place(consumer): consumer for consumer in self.consumers}
        for other in others:
            services |= {*other.services}
            for event in other.events:
                if event.name not in events or event.publisher in other.services:
                    events[event.name] = event
            consumers |= {_place(consumer): consumer for consumer in other.consumers}
        return Catalog(
            tuple(sorted(services)),
            tuple(events[name] for name in sorted(events)),
            tuple(consumers[place] for place in sorted(consumers)),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `from_json` reads them."""
        return {
            "services": list(self.services),
            "events": [self._event_to_json(event) for event in self.events],
            "consumers": [asdict(consumer) for consumer in self.consumers],
        }

    def _event_to_json(self, event: EventEntry) -> dict[str, Any]:
        found = asdict(event)
        found["class"] = found.pop("python_class")
        found["fields"] = list(found["fields"])
        return {**found, "handlers": self._handlers_of(event.name)}

    def _handlers_of(self, event_name: str) -> list[dict[str, str]]:
        return [
            {"service": one.service, "name": one.handler, "queue": one.queue}
            for one in self.consumers_of(event_name)
        ]

    @classmethod
    def from_json(cls, value: Any, where: str) -> Catalog:
        """Read what `to_json` gave.

        Parameters
        ----------
        where:
            Names the file in errors.

        Raises
        ------
        ConfigurationError
            It is no catalog.
        """
        found = _object(value, where)
        return cls(
            tuple(_texts(found.get("services"), f"{where}: services")),
            tuple(_event(one, where) for one in _list(found.get("events"), f"{where}: events")),
            tuple(
                _consumer(one, where)
                for one in _list(found.get("consumers"), f"{where}: consumers")
            ),
        )


def _place(consumer: Consumer) -> tuple[str, str, str]:
    return consumer.service, consumer.queue, consumer.handler


def _event(value: Any, where: str) -> EventEntry:
    found = _object(value, f"{where}: an event")
    name = _text(found, "name", f"{where}: an event")
    where = f"{where}: event {name[:80]!r}"
    version = found.get("version")
    if version is not None and type(version) is not int:
        _refuse(f"{where}: version", version)
    return EventEntry(
        name,
        _text(found, "publisher", where),
        _text(found, "summary", where),
        _text(found, "format", where),
        version,
        _text(found, "style", where),
        _text(found, "reason", where),
        _text(found, "deprecated", where),
        _text(found, "class", where),
        tuple(_field(one, where) for one in _list(found.get("fields"), f"{where}: fields")),
    )


def _field(value: Any, where: str) -> FieldEntry:
    found = _object(value, f"{where}: a field")
    where = f"{where}: a field"
    if type(found.get("required")) is not bool:
        _refuse(f"{where}: required", found.get("required"))
    return FieldEntry(
        _text(found, "name", where),
        _text(found, "type", where),
        found["required"],
        _text(found, "deprecated", where),
    )


def _consumer(value: Any, where: str) -> Consumer:
    where = f"{where}: a consumer"
    found = _object(value, where)
    return Consumer(
        _text(found, "service", where),
        _text(found, "queue", where),
        _text(found, "handler", where),
        tuple(_texts(found.get("patterns"), f"{where}: patterns")),
        tuple(_texts(found.get("events"), f"{where}: events")),
    )


def _object(value: Any, where: str) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _refuse(where, value)


def _list(value: Any, where: str) -> list[Any]:
    return value if isinstance(value, list) else _refuse(where, value)


def _texts(value: Any, where: str) -> list[str]:
    return [one if isinstance(one, str) else _refuse(where, one) for one in _list(value, where)]


def _text(found: Mapping[str, Any], key: str, where: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else _refuse(f"{where}: {key}", value)


def _refuse(where: str, value: Any) -> NoReturn:
    raise ConfigurationError(
        f"{where} is {value!r:.60}, which no catalog has there; give a file that "
        f"'eventbus events list --json' has written"
    )
