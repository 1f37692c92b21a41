"""``eventbus schema show``: one version of a contract."""

from __future__ import annotations

import click

from eventbus.cli.application import application_option
from eventbus.cli.contracts import any_bus, registry_option, schema_lines
from eventbus.cli.options import Number, json_option


@click.command("show")
@application_option
@click.argument("event", metavar="EVENT[@VERSION]")
@click.option("--version", "number", type=Number(1, 2**31 - 1), help="Default: the newest.")
@registry_option("From the registry, not from the lock file.")
@json_option
def command(event: str, number: int | None, with_registry: bool, as_json: bool) -> None:
    """Show a version of the contract of EVENT.

    \b
    --json: {"event", "version", "id", "format", "compatibility", "versions": [NUMBER], "schema":
             OBJECT, or TEXT for Protobuf}
    """
    import json

    from eventbus.cli.terminal import print_json, print_pairs, safe_lines
    from eventbus.contracts.gates.naming import split_version
    from eventbus.contracts.gates.stored import stored_contract

    subject, version = split_version(event) if number is None else (event, number)
    bus = any_bus(with_registry)
    contract = stored_contract(bus, subject, with_registry)
    one = contract.version(version)
    format = one.schema.format.value
    if as_json:
        text = one.schema.text
        print_json(
            {
                "event": subject,
                "version": one.version,
                "id": one.id,
                "format": format,
                "compatibility": contract.mode.value,
                "versions": [item.version for item in contract.versions],
                "schema": text if format == "protobuf" else json.loads(text),
            }
        )
        return
    print_pairs(
        (
            ("event", subject),
            ("version", f"{one.version} of {contract.versions[-1].version}"),
            ("id", one.id),
            ("format", format),
            ("compatibility", contract.mode.value),
        )
    )
    click.echo("")
    click.echo(safe_lines("\n".join(schema_lines(one.schema.text, format))))
