"""Shows what ``schema check --in-flight`` has looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventbus.cli.terminal import Column, print_line, print_table

if TYPE_CHECKING:
    from eventbus.contracts.gates.in_flight import InFlight


def print_in_flight(seen: InFlight) -> None:
    """Print a table of what was looked at, and where that was not everything."""
    print_table(
        (
            Column("place"),
            Column("event", style="bold", fold=True),
            Column("version", align="right"),
            Column("looked at", align="right"),
            Column("unreadable", align="right"),
        ),
        [
            (kind.place, kind.event, kind.version, looked.messages, looked.unreadable)
            for kind, looked in seen.kinds.items()
        ],
        styles=["red" if looked.unreadable else "" for looked in seen.kinds.values()],
        empty="nothing is under way",
    )
    for place in seen.places:
        if place.looked < place.messages:
            print_line(
                f"of {place.messages:,} messages in {place.name} {place.looked:,} were looked at"
            )


def in_flight_shape(seen: InFlight) -> dict[str, Any]:
    """`seen` as JSON."""
    return {
        "places": [
            {"name": place.name, "messages": place.messages, "looked": place.looked}
            for place in seen.places
        ],
        "kinds": [
            {
                "place": kind.place,
                "event": kind.event,
                "version": kind.version,
                "looked": looked.messages,
                "unreadable": looked.unreadable,
                "reason": looked.reason,
                "path": looked.path,
            }
            for kind, looked in seen.kinds.items()
        ],
    }
