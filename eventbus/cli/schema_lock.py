"""``eventbus schema lock``: make the contracts of the events the newest versions in their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.gates.findings import Finding
    from eventbus.contracts.gates.locking import Locking
    from eventbus.event import Event

_REFUSED = 4
_MODES = (
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
)


@click.command("lock")
@application_option
@click.argument("events", nargs=-1, metavar="[EVENT]...")
@click.option(
    "--compatibility",
    type=click.Choice(_MODES, case_sensitive=False),
    metavar="MODE",
    help="What the versions of these events are compared with from now on: NONE, BACKWARD, "
    "FORWARD, FULL, or one of the last three with _TRANSITIVE for all earlier versions. Only with "
    "EVENT; a new lock file has FULL_TRANSITIVE.",
)
@json_option
def command(events: tuple[str, ...], compatibility: str | None, as_json: bool) -> None:
    """Write the lock files of events whose class was changed; commit them with the class.

    Without EVENT all events that the application publishes. A compatible change becomes the next
    version. One that would break a reader is refused, with exit code 4, and its file left as it is;
    the others are written. When nothing was changed nothing is written, see also 'schema check'.

    \b
    --json: {"locked": [{"event", "version", "state": "new"|"changed"|"locked"|"earlier"|
             "incompatible", "file": TEXT|null}], "findings": [as of check]}
    """
    from eventbus.cli.findings import finding_shape
    from eventbus.cli.terminal import print_json
    from eventbus.contracts.compatibility import Mode
    from eventbus.contracts.gates.checking import about
    from eventbus.contracts.gates.locking import lock_contracts
    from eventbus.contracts.gates.pinned import read_pinned
    from eventbus.contracts.gates.readers import readers_of
    from eventbus.contracts.gates.standing import State
    from eventbus.contracts.lock_files import read_locks

    if compatibility and not events:
        raise click.UsageError("--compatibility needs the EVENTs that it is for")
    bus = the_bus()
    done = lock_contracts(
        bus,
        _chosen(bus, events),
        read_locks(bus.settings.contracts),
        Mode.of(compatibility) if compatibility else None,
        read_pinned(bus.settings.contracts),
    )
    refused: list[Finding] = []
    for one in done:
        if one.standing.state is State.INCOMPATIBLE:
            here = [r for r in readers_of(bus) if r.subject == one.standing.subject]
            refused += about(one.standing, here)
    if as_json:
        print_json(
            {
                "locked": [_shape(one) for one in done],
                "findings": [finding_shape(finding) for finding in refused],
            }
        )
    else:
        _show(done, refused)
    if refused:
        raise click.exceptions.Exit(_REFUSED)


def _chosen(bus: EventBus, names: tuple[str, ...]) -> dict[str, type[Event]]:
    from eventbus.errors import UnknownName

    published = bus.published_events
    for name in names:
        if name not in published:
            raise UnknownName.among("event of this service", name, published)
    return {name: published[name] for name in names or published}


def _shape(one: Locking) -> dict[str, Any]:
    return {
        "event": one.standing.subject,
        "version": one.lock and (one.standing.version or one.lock.newest).version,
        "state": one.standing.state.value,
        "file": one.path and str(one.path),
    }


def _show(done: list[Locking], refused: list[Finding]) -> None:
    from eventbus.cli.findings import FORMATS, print_findings
    from eventbus.cli.terminal import print_line
    from eventbus.contracts.gates.standing import State

    for one in done:
        if one.path is not None and one.lock is not None:
            print_line(f"{one.path}: {_what(one)}")
    unchanged = sum(
        one.path is None and one.standing.state is not State.INCOMPATIBLE for one in done
    )
    if unchanged:
        print_line(f"{unchanged} of {len(done)} contracts are as they are locked")
    if refused:
        print_findings(refused, f"{len(done)} events", FORMATS[0])


def _what(one: Locking) -> str:
    from eventbus.contracts.gates.standing import State

    assert one.lock is not None
    if one.standing.state in (State.NEW, State.CHANGED):
        return f"version {one.lock.newest.version}, {one.lock.compatibility.value}"
    return f"{one.lock.compatibility.value}, published by {one.lock.source}"
