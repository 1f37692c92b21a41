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
    from eventbus.contracts.registry.port import Reader


@click.command("readers")
@application_option
@click.argument("events", nargs=-1, metavar="[EVENT]...")
@click.option(
    "--pin",
    is_flag=True,
    help="Write the readers of other services that are not stale to contracts/readers.json, so "
    "that 'schema lock' and 'schema check' know them without a server.",
)
@json_option
def command(events: tuple[str, ...], pin: bool, as_json: bool) -> None:
    """List the handlers that the registry knows to read an event, of whatever service.

    A worker says at its start, and every hour, what its handlers read. One that has not been heard
    of for 14 days is stale: it is listed as that, and no longer keeps a change from being
    registered.

    \b
    --json: {"readers": [{"event", "service", "release", "queue", "handler", "format", "seen_at":
             TIME, "stale": BOOLEAN}]}
    """
    from eventbus.cli.terminal import Column, age, print_json, print_table
    from eventbus.contracts.gates.readers import is_stale
    from eventbus.contracts.registry import open_registry

    if pin and events:
        raise click.UsageError("--pin writes the readers of all events; leave EVENT out")
    bus = the_bus() if pin else any_bus(with_registry=True)
    registry = open_registry(bus)
    now_ms = time.time_ns() // 1_000_000
    found = [
        reader
        for subject in (events or registry.subjects())
        for reader in registry.readers(subject)
    ]
    if pin:
        _pin(bus, [one for one in found if not is_stale(one, now_ms)])
    if as_json:
        print_json({"readers": [_shape(one, now_ms) for one in found]})
        return
    print_table(
        (
            Column("event", style="bold"),
            Column("service"),
            Column("release"),
            Column("queue"),
            Column("handler"),
            Column("seen", align="right"),
            Column(""),
        ),
        [
            (
                one.subject,
                one.service,
                one.release,
                one.queue,
                one.handler,
                f"{age(max(now_ms - one.seen_at_ms, 0))} ago",
                "stale" if is_stale(one, now_ms) else "",
            )
            for one in found
        ],
        styles=["dim" if is_stale(one, now_ms) else "" for one in found],
        empty="the registry knows no reader; workers say what they read when they are started",
    )


def _pin(bus: EventBus, readers: list[Reader]) -> None:
    from eventbus.cli.terminal import print_note
    from eventbus.contracts.gates.pinned import write_pinned

    others = [one for one in readers if one.service != bus.service]
    path = write_pinned(bus.settings.contracts, others)
    print_note(f"{path}: {len(others)} readers of other services")


def _shape(one: Reader, now_ms: int) -> dict[str, Any]:
    from eventbus.cli.terminal import moment
    from eventbus.contracts.gates.readers import is_stale

    return {
        "event": one.subject,
        "service": one.service,
        "release": one.release,
        "queue": one.queue,
        "handler": one.handler,
        "format": one.schema.format.value,
        "seen_at": moment(one.seen_at_ms),
        "stale": is_stale(one, now_ms),
    }
