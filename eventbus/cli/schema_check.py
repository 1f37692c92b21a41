"""``eventbus schema check``: the gate in CI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.contracts import registry_option
from eventbus.cli.findings import FORMATS
from eventbus.cli.options import Number, json_option

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.gates.findings import Finding

_DIFFERENT = 4


@click.command("check")
@application_option
@click.option(
    "--format",
    "format",
    type=click.Choice(FORMATS, case_sensitive=False),
    default="text",
    show_default=True,
    help="github: annotations at the lines of a pull request; sarif: for code scanning.",
)
@registry_option("Also compare with what is registered, and with the readers that are known.")
@click.option(
    "--in-flight",
    is_flag=True,
    help="Also read what is in the outbox, the event log, the queues and the dead-letter queues.",
)
@click.option(
    "--sample",
    type=Number(1, 1_000_000),
    default=1_000,
    show_default=True,
    help="With --in-flight: messages that are looked at in each of these places.",
)
@json_option
def command(format: str, with_registry: bool, in_flight: bool, sample: int, as_json: bool) -> None:
    """End with 4 unless the contracts of all events are locked and break no reader.

    Needs no server: it compares the classes with the lock files, the versions in these with each
    other, and what the handlers read with what is published. Warnings do not count.

    \b
    --json, or --format json: {"ok": BOOLEAN, "findings": [{"rule", "severity":
             "error"|"warning"|"note", "event", "message", "remedy", "file", "line", "kind", "path",
             "direction": "backward"|"forward"|null, "versions": [NUMBER], "readers": [TEXT]}],
             "in_flight": null, or {"places": [{"name", "messages", "looked"}],
             "kinds": [{"place", "event", "version", "looked", "unreadable", "reason", "path"}]}}
    """
    from eventbus.cli.findings import print_findings
    from eventbus.contracts.gates.findings import Severity, worst

    format = "json" if as_json else format
    bus = the_bus()
    found = _checked(bus, with_registry)
    seen = None
    if in_flight:
        from eventbus.cli.in_flight import in_flight_shape, print_in_flight
        from eventbus.contracts.gates.in_flight import about_in_flight
        from eventbus.workers.operations.in_flight import look

        seen = look(bus, sample)
        found += about_in_flight(bus, seen)
        if format == "text":
            print_in_flight(seen)
    extra = {"in_flight": in_flight_shape(seen) if seen else None}
    count = len(bus.published_events)
    print_findings(found, f"{count} event{'' if count == 1 else 's'}", format, extra)
    if worst(found) is Severity.ERROR:
        raise click.exceptions.Exit(_DIFFERENT)


def _checked(bus: EventBus, with_registry: bool) -> list[Finding]:
    import datetime as dt

    from eventbus.contracts.gates.checking import check_contracts
    from eventbus.contracts.gates.pinned import read_pinned
    from eventbus.contracts.lock_files import read_locks

    locks = read_locks(bus.settings.contracts)
    today = dt.datetime.now(dt.timezone.utc).date()
    found = check_contracts(bus, locks, today, read_pinned(bus.settings.contracts))
    if with_registry:
        from eventbus.contracts.gates.registered import check_registered
        from eventbus.contracts.registry import open_registry

        found += check_registered(bus, locks, open_registry(bus))
    return found
