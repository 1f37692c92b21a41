"""``eventbus doctor``: looks at settings and servers, and says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventbus.cli.application import (
    BROKER,
    DATABASE,
    REDIS,
    application_option,
    bus_or_settings,
    is_named,
)
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.cli.examination import Finding


@click.command("doctor")
@application_option
@json_option
def command(as_json: bool) -> None:
    """Check settings, servers, tables, queues and what is unsafe; say what to do.

    Without -A it checks the servers in EVENTBUS_DATABASE_URL, EVENTBUS_BROKER_URL and
    EVENTBUS_REDIS_URL. Ends with 3 when a server cannot be reached, with 4 when something is to be
    done.

    \b
    --json: {"ok": BOOLEAN, "checks": [{"check", "status": "ok"|"todo"|"unreachable",
             "result", "advice": TEXT|null}]}
    """
    from eventbus.cli import examination
    from eventbus.cli.terminal import print_json

    bus = bus_or_settings(DATABASE, BROKER, REDIS)
    findings = list(examination.examine(bus, has_application=is_named()))
    if as_json:
        print_json(
            {
                "ok": all(finding.status == examination.OK for finding in findings),
                "checks": [finding.shape() for finding in findings],
            }
        )
    else:
        _print(findings)
    code = examination.exit_code(findings)
    if code:
        raise click.exceptions.Exit(code)


_STYLES = {"ok": "green", "todo": "yellow", "unreachable": "red"}


def _print(findings: list[Finding]) -> None:
    from eventbus.cli.terminal import Column, print_table

    print_table(
        (
            Column("check"),
            Column("status"),
            Column("result", fold=True),
            Column("what to do", fold=True),
        ),
        [
            (finding.check, finding.status, finding.result, finding.advice or "")
            for finding in findings
        ],
        styles=[_STYLES[finding.status] for finding in findings],
    )
