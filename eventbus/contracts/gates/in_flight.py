"""What is under way, and what of it could not be read, as values.

`eventbus.workers.operations.in_flight` looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.gates.findings import IN_FLIGHT, IN_FLIGHT_DOUBTFUL, Finding
from eventbus.contracts.gates.sources import location_of

if TYPE_CHECKING:
    from eventbus.bus import EventBus

OUTBOX = "outbox"
EVENT_LOG = "event log"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is told apart of the messages in one place.

    Parameters
    ----------
    place:
        `OUTBOX`, `EVENT_LOG`, or a queue.
    event:
        The event's name; what cannot be told is ``?``.
    version:
        Of the contract that it was written with, where the message says one.
    """

    place: str
    event: str
    version: int | None


@dataclass(slots=True)
class Looked:
    """How many of a kind were looked at, and how many of these could not be read.

    Parameters
    ----------
    certain:
        Of the unreadable: those that will be read, or could be once. Not certain is what is read
        only if somebody asks for it, and what a worker could never read.
    reason, path:
        Why the first of them could not be read, and where in its data.
    """

    messages: int = 0
    unreadable: int = 0
    certain: int = 0
    reason: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """How much there is in one place, and how much of it was looked at."""

    name: str
    messages: int
    looked: int


@dataclass(frozen=True)
class InFlight:
    """What a look has found."""

    places: tuple[Place, ...]
    kinds: dict[Kind, Looked]


def about_in_flight(bus: EventBus, seen: InFlight) -> Iterator[Finding]:
    """What is to be said of what could not be read."""
    for kind, looked in seen.kinds.items():
        if looked.unreadable:
            yield _unreadable(bus, kind, looked)


def _unreadable(bus: EventBus, kind: Kind, looked: Looked) -> Finding:
    event_class = bus.events.get(kind.event)
    version = "" if kind.version is None else f" version {kind.version}"
    many = f"{looked.unreadable:,} of {looked.messages:,} messages of {kind.event}{version}"
    return Finding(
        IN_FLIGHT if looked.certain else IN_FLIGHT_DOUBTFUL,
        kind.event,
        f"{many} in {_where(kind.place)} cannot be read; the first: {looked.reason}",
        "give what is new a default, declare an upcaster for what has changed, or let the release "
        "that is running handle them first",
        location_of(event_class) if event_class else None,
        Difference("UNREADABLE", looked.path or "", looked.reason or ""),
        () if kind.version is None else (kind.version,),
    )


def _where(place: str) -> str:
    return f"the {place}" if place in (OUTBOX, EVENT_LOG) else place
