"""``eventbus schema list``: the contracts of the application's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option
from eventbus.cli.contracts import any_bus, registry_option
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.contracts.gates.listing import Listed


@click.command("list")
@application_option
@registry_option("Also ask the registry, and list what it has besides.")
@json_option
def command(with_registry: bool, as_json: bool) -> None:
    """List contracts: those in the lock files, and of the events that the application declares.

    \b
    --json: {"contracts": [{"event", "source", "format", "compatibility", "version": NUMBER|null,
             "state": "new"|"locked"|"earlier"|"changed"|"incompatible"|null,
             "registered": NUMBER|null, "readers": [TEXT]}]}
    """
    from eventbus.cli.terminal import Column, print_json, print_records, print_table
    from eventbus.contracts.gates.listing import list_contracts

    found = list_contracts(any_bus(with_registry), with_registry)
    if as_json:
        print_json({"contracts": [_shape(one) for one in found]})
        return
    columns = [
        Column("event", style="bold", fold=True),
        Column("of"),
        Column("format"),
        Column("compatibility", fold=True),
        Column("version", align="right"),
        Column("class", fold=True),
    ]
    empty = "there is no contract; 'eventbus schema lock' writes them"
    if with_registry:
        print_records(
            [*columns, Column("registered", align="right")],
            [[*_row(one), one.registered] for one in found],
            note="readers",
            notes=[f"read by {'; '.join(one.readers)}" if one.readers else None for one in found],
            empty=empty,
        )
    else:
        styles = [_STYLES.get(one.state or "", "") for one in found]
        print_table(columns, [_row(one) for one in found], styles=styles, empty=empty)


_STYLES = {"incompatible": "red", "changed": "yellow", "new": "yellow"}


def _row(one: Listed) -> list[object]:
    return [
        one.subject,
        one.source,
        one.format,
        one.compatibility,
        one.version,
        one.state,
    ]


def _shape(one: Listed) -> dict[str, Any]:
    return {
        "event": one.subject,
        "source": one.source,
        "format": one.format,
        "compatibility": one.compatibility,
        "version": one.version,
        "state": one.state,
        "registered": one.registered,
        "readers": list(one.readers),
    }
