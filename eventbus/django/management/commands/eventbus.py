"""``manage.py eventbus ...``: the command line of eventbus for this project's bus."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from django.core.management.base import BaseCommand

from eventbus.bus import live_buses
from eventbus.django import project


class Command(BaseCommand):
    """Hands everything behind ``eventbus`` to the command line of eventbus."""

    help = "Run a command of eventbus: worker, dispatcher, db upgrade, dlq list, ..."
    # The command line looks at the servers itself, and says what it finds.
    requires_system_checks: ClassVar[list[str]] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Pass the arguments on untouched; Django would take ``--help`` and others for itself."""
        from eventbus.cli import main

        main(argv[2:], bus=_bus())

    def handle(self, *args: Any, **options: Any) -> None:
        """``call_command("eventbus", "db", "upgrade")``."""
        from eventbus.cli import main

        main([str(argument) for argument in args], bus=_bus())

    def add_arguments(self, parser: Any) -> None:
        """Everything is an argument of eventbus."""
        parser.add_argument("args", nargs="*")


def _bus() -> Any:
    """The bus that ``EVENTBUS["app"]`` names, or the only one that the project has."""
    name = project.application()
    if name:
        from eventbus.cli.application import find_bus

        return find_bus(name)
    buses = live_buses()
    if len(buses) == 1:
        return buses[0]
    sys.stderr.write(
        f"error: this project has {len(buses)} buses; name one with EVENTBUS = "
        f"{{'app': 'shop.bus:bus'}} in the settings\n"
    )
    sys.exit(2)
