"""``eventbus db``: the tables of eventbus in the application's database."""

from __future__ import annotations

import click

from eventbus.cli.application import DATABASE, application_option, bus_or_settings
from eventbus.cli.options import json_option


@click.group("db")
@application_option
def command() -> None:
    """Create, upgrade and check the tables.

    Without -A on the database in EVENTBUS_DATABASE_URL. An application with migrations of its own
    may instead hand bus.metadata to Alembic.
    """


@command.command("upgrade")
@application_option
@json_option
def upgrade(as_json: bool) -> None:
    """Create the tables, or bring them to the version of this eventbus.

    \b
    --json: {"databases": [{"database": URL, "version": NUMBER, "changed": BOOLEAN}]}
    """
    from eventbus import database
    from eventbus.cli import start
    from eventbus.cli.terminal import print_json, print_line

    results = []
    for engine in start.databases_with_tables(bus_or_settings(DATABASE)):
        changed = database.upgrade(engine)
        results.append((engine.url.render_as_string(), changed))
    if as_json:
        print_json(
            {
                "databases": [
                    {"database": url, "version": database.SCHEMA_VERSION, "changed": changed}
                    for url, changed in results
                ]
            }
        )
        return
    for url, changed in results:
        did = "upgraded to" if changed else "already have"
        print_line(f"{url}: the tables {did} version {database.SCHEMA_VERSION}")


@command.command("check")
@application_option
@json_option
def check(as_json: bool) -> None:
    """End with 4 unless the tables are there, in the version of this eventbus.

    \b
    --json: {"ok": BOOLEAN, "databases": [{"database": URL, "ok": BOOLEAN, "problem": TEXT|null}]}
    """
    from eventbus import database
    from eventbus.cli import start
    from eventbus.cli.terminal import print_json, print_line
    from eventbus.errors import DatabaseNotMigrated

    found: list[tuple[str, DatabaseNotMigrated | None]] = []
    for engine in start.databases_with_tables(bus_or_settings(DATABASE)):
        try:
            start.check_database(engine)
        except DatabaseNotMigrated as problem:
            found.append((engine.url.render_as_string(), problem))
        else:
            found.append((engine.url.render_as_string(), None))
    problems = [problem for _, problem in found if problem is not None]
    if as_json:
        print_json(
            {
                "ok": not problems,
                "databases": [
                    {"database": url, "ok": not problem, "problem": problem and str(problem)}
                    for url, problem in found
                ],
            }
        )
        if problems:
            raise click.exceptions.Exit(DatabaseNotMigrated.exit_code)
        return
    if problems:
        raise problems[0]
    for url, _ in found:
        print_line(f"{url}: the tables have version {database.SCHEMA_VERSION}, as they should")
