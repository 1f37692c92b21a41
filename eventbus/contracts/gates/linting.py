"""What the declarations of events say: how large they get, why some are copies, what is to go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.gates.findings import DEPRECATED_USE, NOT_THIN, UNEXPLAINED, Finding
from eventbus.contracts.gates.sources import location_of
from eventbus.thin import (
    THIN,
    Unbounded,
    findings_of,
    is_explained,
    sensitive_fields,
    worst_case_bytes,
)

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.event import Event
    from eventbus.shape import Deprecation


@dataclass(frozen=True, slots=True)
class Linted:
    """One event as it is declared.

    Parameters
    ----------
    style:
        None for the event of another service, whose choice it is.
    worst_case:
        Bytes of its data in JSON; None where they have no bound.
    sensitive:
        Fields whose names smell of personal data or of secrets.
    """

    name: str
    publisher: str
    style: str | None
    reason: str
    worst_case: int | None
    sensitive: tuple[str, ...]
    findings: tuple[Finding, ...]


def lint(bus: EventBus) -> list[Linted]:
    """Every event that `bus` knows, by name, with what is to be said of it."""
    return [_linted(bus, name, cls) for name, cls in sorted(bus.events.items())]


def _linted(bus: EventBus, name: str, event: type[Event]) -> Linted:
    own = name in bus.published_events
    found = [*(_style(name, event) if own else ()), *_deprecated_use(bus, name, event)]
    return Linted(
        name,
        event.__source__ or bus.service,
        event.__style__ if own else None,
        event.__reason__,
        _worst_case(event),
        tuple(dict.fromkeys(finding.field for finding in sensitive_fields(event))),
        tuple(found),
    )


def _worst_case(event: type[Event]) -> int | None:
    try:
        return worst_case_bytes(event.__declared__)
    except Unbounded:
        return None


def _style(name: str, event: type[Event]) -> Iterator[Finding]:
    if not is_explained(event):
        yield Finding(
            UNEXPLAINED,
            name,
            f"{name} is a snapshot without a reason",
            'say why its consumers need a copy and cannot ask, reason="…", or make it thin',
            location_of(event),
        )
    if event.__style__ == THIN:
        for one in findings_of(event):
            yield Finding(
                NOT_THIN,
                name,
                f"{f'{name}: {one.field}' if one.field else name} {one.rule}",
                f'{one.remedy}; or declare it with style="snapshot", reason="…"',
                location_of(event),
                Difference(one.kind, f"/{one.field}" if one.field else "", one.rule),
            )


def _deprecated_use(bus: EventBus, name: str, event: type[Event]) -> Iterator[Finding]:
    if event.__deprecated__ is None:
        return
    for handler in bus.handlers.values():
        if event in handler.events.values() or (not handler.events and handler.accepts(name)):
            yield Finding(
                DEPRECATED_USE,
                name,
                f"handler {handler.name} reads {name}, which {_going(event.__deprecated__)}",
                event.__deprecated__.instead or "read what replaces it",
                location_of(event),
            )


def _going(deprecation: Deprecation) -> str:
    return f"goes away on {deprecation.until}" if deprecation.until else "is deprecated"
