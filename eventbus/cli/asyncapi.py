"""``eventbus asyncapi``: what the application publishes and consumes, as an AsyncAPI document."""

from __future__ import annotations

from contextlib import redirect_stdout

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.destination import check_destination, destination


@click.command("asyncapi")
@application_option
@click.option(
    "--spec",
    type=click.Choice(("3.0", "3.1")),
    default="3.0",
    show_default=True,
    help="Version of AsyncAPI.",
)
@click.option(
    "-o", "--output", metavar="FILE", help="Write to FILE instead of the standard output."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(spec: str, output: str | None, force: bool) -> None:
    """Print an AsyncAPI document of the events that the application publishes and consumes.

    It is JSON (which every YAML tool reads), with AMQP bindings 0.3.0, and refers to nothing
    outside itself. Logins of the broker are not in it. `info.version` is the setting `release`.
    """
    from eventbus.catalog.asyncapi import asyncapi_document
    from eventbus.cli.terminal import print_json

    check_destination(output, force)
    bus = the_bus()
    document = asyncapi_document(bus, spec, bus.settings.release or "0")
    with destination(output, force) as stream, redirect_stdout(stream):
        print_json(document)
