"""``eventbus schema readers``: who reads which event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.contracts import any_bus
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.gates.readers import Presence
    from eventbus.contracts.registry.port import Reader


@click.command("readers")
@application_option
@click.argument("events", nargs=-1, metavar="[EVENT]...")
@click.option(
    "--pin",
    is_flag=True,
    help="Write the readers of other services that are present to contracts/readers.json, so "
    "that 'schema lock' and 'schema check' know them without a server.",
)
@json_option
def command(events: tuple[str, ...], pin: bool, as_json: bool) -> None:
    """List the handlers that the registry knows to read an event, of whatever service.

    A worker says at its start, and every hour, what its handlers read. A release that is silent
    for 3 hours while another one consumes its queue is replaced, and what is silent for 14 days is
    stale: neither keeps a change from being registered.

    \b
    --json: {"readers": [{"event", "service", "release", "queue", "handler", "format", "seen_at":
             TIME, "state": "present"|"replaced"|"stale"}]}
    """
    from eventbus.cli.terminal import Column, age, print_json, print_table
    from eventbus.contracts.gates.readers import Presence
    from eventbus.contracts.registry import open_registry

    if pin and events:
        raise click.UsageError("--pin writes the readers of all events; leave EVENT out")
    bus = the_bus() if pin else any_bus(with_registry=True)
    registry = open_registry(bus)
    now_ms = time.time_ns() // 1_000_000
    found = [
        one
        for subject in (events or registry.subjects())
        for one in _with_presence(registry.readers(subject), now_ms)
    ]
    if pin:
        _pin(bus, [one for one, presence in found if presence is Presence.PRESENT])
    if as_json:
        print_json({"readers": [_shape(*one) for one in found]})
        return
    print_table(
        (
            Column("event", style="bold"),
            Column("service"),
            Column("release"),
            Column("queue"),
            Column("handler"),
            Column("seen", align="right"),
            Column("state"),
        ),
        [
            (
                one.subject,
                one.service,
                one.release,
                one.queue,
                one.handler,
                f"{age(max(now_ms - one.seen_at_ms, 0))} ago",
                presence.value,
            )
            for one, presence in found
        ],
        styles=["" if presence is Presence.PRESENT else "dim" for _, presence in found],
        empty="the registry knows no reader; workers say what they read when they are started",
    )


def _pin(bus: EventBus, readers: list[Reader]) -> None:
    from eventbus.cli.terminal import print_note
    from eventbus.contracts.gates.pinned import write_pinned

    others = [one for one in readers if one.service != bus.service]
    path = write_pinned(bus.settings.contracts, others)
    print_note(f"{path}: {len(others)} readers of other services")


def _with_presence(readers: list[Reader], now_ms: int) -> list[tuple[Reader, Presence]]:
    from eventbus.contracts.gates.readers import presence

    return [(one, presence(one, readers, now_ms)) for one in readers]


def _shape(one: Reader, presence: Presence) -> dict[str, Any]:
    from eventbus.cli.terminal import moment

    return {
        "event": one.subject,
        "service": one.service,
        "release": one.release,
        "queue": one.queue,
        "handler": one.handler,
        "format": one.schema.format.value,
        "seen_at": moment(one.seen_at_ms),
        "state": presence.value,
    }
