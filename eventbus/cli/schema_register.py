"""``eventbus schema register``: the gate at deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.gates.registering import Registration
    from eventbus.contracts.lock_files import LockFile

_REFUSED = 4


@click.command("register")
@application_option
@click.option(
    "--break-readers",
    is_flag=True,
    help="Also register a version that a running reader cannot read, where the compatibility mode "
    "allows it.",
)
@json_option
def command(break_readers: bool, as_json: bool) -> None:
    """Register the locked contracts of the application's events, before it is started.

    At the registry in EVENTBUS_REGISTRY_URL, without that in the application's own database. Does
    nothing where they are registered. A version that would break a reader is refused, with exit
    code 4, and named with the readers; the other events are registered.

    \b
    --json: {"ok": BOOLEAN, "versions": [{"event", "version", "id": NUMBER|null, "outcome":
             "registered"|"known"|"refused"|"diverged", "why", "change", "readers": [TEXT]}]}
    """
    from eventbus.cli.terminal import print_json
    from eventbus.contracts.gates.registering import register_contracts
    from eventbus.contracts.registry import open_registry

    bus = the_bus()
    locks = _own_locks(bus)
    done = list(register_contracts(open_registry(bus), locks, break_readers=break_readers))
    if as_json:
        print_json({"ok": all(one.done for one in done), "versions": [_shape(one) for one in done]})
    else:
        _show(done)
    if not all(one.done for one in done):
        raise click.exceptions.Exit(_REFUSED)


def _own_locks(bus: EventBus) -> list[LockFile]:
    """The lock files of the events that this service publishes; of others' it keeps copies only."""
    from eventbus.contracts.gates.standing import check_integrity
    from eventbus.contracts.lock_files import read_locks

    folder = bus.settings.contracts
    locks = [
        lock
        for lock in read_locks(folder).values()
        if lock.source == bus.service or lock.subject in bus.published_events
    ]
    for lock in locks:
        check_integrity(lock, folder)
    return locks


def _shape(one: Registration) -> dict[str, Any]:
    return {
        "event": one.subject,
        "version": one.version,
        "id": one.id,
        "outcome": one.outcome.value,
        "why": one.why or None,
        "change": one.change or None,
        "readers": list(one.readers),
    }


def _show(done: list[Registration]) -> None:
    from eventbus.cli.terminal import print_line, print_styled
    from eventbus.contracts.gates.registering import Outcome

    for one in done:
        if one.outcome is Outcome.REGISTERED:
            print_line(f"{one.subject} version {one.version}: registered with id {one.id}")
        elif not one.done:
            print_styled(f"{one.subject} version {one.version}: {one.outcome.value}", "bold red")
            for reader in one.readers:
                print_styled(f"{one.change} breaks {reader}", "bold", indent=4)
            print_styled(one.why, "", indent=4)
    print_line(_summary(done))


def _summary(done: list[Registration]) -> str:
    from collections import Counter

    if not done:
        return "no event of this application is locked; run 'eventbus schema lock' first"
    counts = Counter(one.outcome.value for one in done)
    events = len({one.subject for one in done})
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return f"{_many(events, 'event')}, {_many(len(done), 'version')}: {said}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
