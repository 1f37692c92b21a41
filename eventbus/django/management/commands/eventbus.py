"""``manage.py eventbus ...``: the command line of eventbus for this project's bus."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError

from eventbus.bus import live_buses
from eventbus.django import project


class Command(BaseCommand):
    """Hands everything behind ``eventbus`` to the command line of eventbus."""

    help = "Run a command of eventbus: worker, dispatcher, db upgrade, dlq list, ..."
    # The command line looks at the servers itself, and says what it finds.
    requires_system_checks: ClassVar[list[str]] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Pass the arguments on untouched; Django would take ``--help`` and others for itself."""
        _run(argv[2:])

    def handle(self, *args: Any, **options: Any) -> None:
        """``call_command("eventbus", "db", "upgrade")``."""
        try:
            _run([str(argument) for argument in args])
        except SystemExit as ended:
            # Only a process may end like this, not the code that calls a command.
            if ended.code:
                raise CommandError(
                    f"eventbus {' '.join(map(str, args))} ended with exit code {ended.code}",
                    returncode=int(ended.code),
                ) from None

    def add_arguments(self, parser: Any) -> None:
        """Everything is an argument of eventbus."""
        parser.add_argument("args", nargs=argparse.REMAINDER)


def _run(arguments: Sequence[str]) -> None:
    """Run the command line for the bus that -A, EVENTBUS_APP or ``EVENTBUS["app"]`` names.

    Without such a name it is the only bus that the project has.
    """
    from eventbus.cli import main

    name = project.application()
    if name:
        os.environ.setdefault("EVENTBUS_APP", name)
    if "EVENTBUS_APP" in os.environ or "-A" in arguments or "--app" in arguments:
        main(arguments)
    buses = live_buses()
    if len(buses) != 1:
        sys.stderr.write(
            f"error: this project has {len(buses)} buses; name one with EVENTBUS = "
            f"{{'app': 'shop.bus:bus'}} in the settings\n"
        )
        sys.exit(2)
    main(arguments, bus=buses[0])
