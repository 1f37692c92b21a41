"""``eventbus schema``: the contracts of events, and the gates that keep them."""

from __future__ import annotations

import importlib

import click

from eventbus.cli.application import application_option

#: Modules ``schema_<name>`` of this package, in the order in which ``--help`` lists them.
COMMANDS = ("lock", "check", "register", "list", "show", "diff", "lint", "readers", "serve")


class Schemas(click.Group):
    """The group. A command's module is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"eventbus.cli.schema_{cmd_name}")
        command: click.Command = module.command
        return command


@click.group("schema", cls=Schemas)
@application_option
def command() -> None:
    """Lock, check and register the contracts of events.

    A contract is locked in contracts/<event>.lock.json, which is committed with the code. What
    would break a reader is refused: by check in CI, by register at deploy.
    """
