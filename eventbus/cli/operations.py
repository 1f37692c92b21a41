"""``eventbus operations``: what operators did to many messages at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import DATABASE, application_option, bus_or_settings
from eventbus.cli.options import Number, json_option

if TYPE_CHECKING:
    from eventbus.workers.operations.audit import OperationLog, OperationRecord


@click.group("operations")
@application_option
def command() -> None:
    """Show replays, deletions and migrations: who, when, of what, how many, how they ended.

    Of the application that -A names, or of the database in EVENTBUS_DATABASE_URL.
    """


@command.command("list")
@application_option
@click.option("--kind", help="Only of this kind or group, such as dlq.replay or dlq.")
@click.option(
    "--limit",
    type=Number(1, 10_000),
    default=20,
    show_default=True,
    help="Operations to show, 1 to 10000.",
)
@json_option
def list_operations(kind: str | None, limit: int, as_json: bool) -> None:
    """List operations, newest first.

    The state is running, done, interrupted (by a person), stopped (by itself), failed, or killed
    (it says that it runs, and has not been heard of).

    \b
    --json: {"operations": [{"id", "kind", "state", "started_by", "started_at", "updated_at",
             "finished_at", "parameters": {}, "total", "done", "failed", "runs": NUMBER,
             "position", "notes": {}, "error"}]}
    """
    from eventbus.cli.terminal import Column, age, print_json, print_records
    from eventbus.outbox.row import now_ms

    found = _log().latest(limit, kind)
    if as_json:
        print_json({"operations": [_shape(record) for record in found]})
        return
    now = now_ms()
    print_records(
        (
            Column("id"),
            Column("kind", style="bold"),
            Column("state"),
            Column("started", align="right"),
            Column("by"),
            Column("done", align="right"),
            Column("of", align="right"),
            Column("failed", align="right"),
        ),
        [
            (
                record.id,
                record.kind,
                record.state_at(now),
                age(max(now - record.started_at_ms, 0)),
                record.started_by,
                record.done,
                record.total,
                record.failed,
            )
            for record in found
        ],
        note="error",
        notes=[record.error for record in found],
        empty="no operation has been noted",
    )


@command.command("show")
@application_option
@click.argument("id")
@json_option
def show(id: str, as_json: bool) -> None:
    """Show all that is noted of the operation ID.

    \b
    --json: as one of 'operations list'
    """
    import json

    from eventbus.cli.terminal import print_json, print_pairs

    shape = _shape(_log().find(id))
    if as_json:
        print_json(shape)
        return
    pairs = [
        (name.replace("_", " "), json.dumps(value) if isinstance(value, (dict, list)) else value)
        for name, value in shape.items()
    ]
    print_pairs(pairs)


def _log() -> OperationLog:
    from eventbus import database
    from eventbus.workers.operations.audit import OperationLog

    engine = bus_or_settings(DATABASE).engine
    database.require_file(engine)
    return OperationLog(engine)


def _shape(record: OperationRecord) -> dict[str, Any]:
    from eventbus.cli.terminal import moment
    from eventbus.outbox.row import now_ms

    values = {**asdict(record), "state": record.state_at(now_ms())}
    return {
        name.removesuffix("_ms"): moment(value) if name.endswith("_at_ms") else value
        for name, value in values.items()
    }
