"""``eventbus schema lint``: whether events are thin, and what those are that are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.findings import FORMATS
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.contracts.gates.linting import Linted

_DIFFERENT = 4


@click.command("lint")
@application_option
@click.option(
    "--format",
    "format",
    type=click.Choice(FORMATS, case_sensitive=False),
    default="text",
    show_default=True,
    help="github: annotations at the lines of a pull request; sarif: for code scanning.",
)
@json_option
def command(format: str, as_json: bool) -> None:
    """List the events with their worst-case size; end with 4 where one is not what it says it is.

    A thin event holds identifiers, enumerations, moments, booleans and counters, and takes at most
    1 KiB; a snapshot says why it is one. Worker and application stop at the first event that is
    neither; this shows all of them at once. Needs no server.

    \b
    --json, or --format json: {"ok": BOOLEAN,
             "events": [{"name", "publisher", "style": "thin"|"snapshot"|null, "reason",
               "worst_case_bytes": NUMBER|null, "sensitive": [FIELD]}],
             "findings": [as of check]}
    """
    from eventbus.cli.findings import print_findings
    from eventbus.contracts.gates.findings import Severity, worst
    from eventbus.contracts.gates.linting import lint
    from eventbus.thin import unenforced

    with unenforced():
        bus = the_bus()
    events = lint(bus)
    found = [finding for event in events for finding in event.findings]
    failed = worst(found) is Severity.ERROR
    chosen = "json" if as_json else format
    if chosen == "json":
        _print_json(events, failed)
    else:
        if chosen == "text":
            _print_events(events)
        count = len(events)
        print_findings(found, f"{count} event{'' if count == 1 else 's'}", chosen)
    if failed:
        raise click.exceptions.Exit(_DIFFERENT)


def _print_events(events: Sequence[Linted]) -> None:
    from eventbus.cli.terminal import Column, print_table

    print_table(
        (
            Column("event", style="bold"),
            Column("publisher"),
            Column("style"),
            Column("worst case", align="right"),
            Column("sensitive", fold=True),
            Column("reason", fold=True),
        ),
        [
            (
                event.name,
                event.publisher,
                event.style,
                "any size" if event.worst_case is None else f"{event.worst_case:,} B",
                ", ".join(event.sensitive) or None,
                event.reason or None,
            )
            for event in events
        ],
        empty="no event is declared",
    )


def _print_json(events: Sequence[Linted], failed: bool) -> None:
    from eventbus.cli.findings import finding_shape
    from eventbus.cli.terminal import print_json

    print_json(
        {
            "ok": not failed,
            "events": [_shape(event) for event in events],
            "findings": [finding_shape(one) for event in events for one in event.findings],
        }
    )


def _shape(event: Linted) -> dict[str, Any]:
    return {
        "name": event.name,
        "publisher": event.publisher,
        "style": event.style,
        "reason": event.reason,
        "worst_case_bytes": event.worst_case,
        "sensitive": list(event.sensitive),
    }
