"""``eventbus outbox``: what waits to be published, and what was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventbus.cli.application import DATABASE, application_option, bus_or_settings
from eventbus.cli.options import Number, json_option, split_list, yes_option
from eventbus.errors import UnknownName

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.outbox.failed_rows import Choice, FailedRows
    from eventbus.workers.operations.operation import Operation

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: States of a row in the outbox, then the two kinds of rows in the event log.
STATES = ("pending", "held", "delayed", "failed", "logged", "unrouted")


@click.group("outbox")
@application_option
def command() -> None:
    """Count, list and show the events in the outbox; retry or delete those that were given up.

    Without -A in EVENTBUS_DATABASE_URL.
    """


@command.command("stats")
@application_option
@json_option
def stats(as_json: bool) -> None:
    """Count what is pending, held back, failed and published.

    \b
    --json: {"pending", "held", "delayed", "failed", "logged", "unrouted": NUMBER,
             "oldest_age_ms": NUMBER|null}
    """
    import dataclasses

    from eventbus.cli.terminal import age, print_json, print_pairs
    from eventbus.outbox.store import OutboxStore

    found = OutboxStore(bus_or_settings(DATABASE).engine).stats()
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    oldest = f", the oldest for {age(found.oldest_age_ms)}" if found.pending else ""
    print_pairs(
        [
            ("pending", f"{found.pending}  wait to be published{oldest}"),
            (
                "held",
                f"{found.held}  of them held back: a queue is full, or they cannot be sent",
            ),
            ("delayed", f"{found.delayed}  until their time has come"),
            (
                "failed",
                f"{found.failed}  given up; see 'outbox list --state failed' and 'outbox retry'",
            ),
            ("logged", f"{found.logged}  published, kept in the event log"),
            (
                "unrouted",
                f"{found.unrouted}  of them without a queue; sent again once there is one",
            ),
        ]
    )


@command.command("list")
@application_option
@click.option(
    "--state",
    type=click.Choice(STATES),
    help="Only these rows; 'logged' and 'unrouted' are in the event log.",
)
@click.option(
    "--limit",
    type=Number(1, 100_000),
    default=50,
    show_default=True,
    help="Rows to show, 1 to 100000.",
)
@json_option
def list_rows(state: str | None, limit: int, as_json: bool) -> None:
    """List rows of the outbox, oldest first, or of the event log, newest first.

    \b
    --json: {"rows": [{"seq", "id", "event", "key", "state", "attempts", "created_at",
             "available_at", "published_at", "error"}]}
    """
    from eventbus.cli.terminal import Column, age, print_json, print_records
    from eventbus.outbox.row import now_ms

    rows = [_shape(row) for row in _rows(state, limit)]
    if as_json:
        print_json({"rows": [_public(row) for row in rows]})
        return
    now = now_ms()
    print_records(
        (
            Column("id"),
            Column("event", style="bold"),
            Column("state"),
            Column("age", align="right"),
            Column("key"),
        ),
        [
            (
                row["id"],
                row["event"],
                row["state"],
                age(max(now - row["created_at_ms"], 0)),
                row["key"],
            )
            for row in rows
        ],
        note="error",
        notes=[_error_text(row) for row in rows],
        empty="no such event" if state else "the outbox is empty",
    )


def _error_text(row: Mapping[str, Any]) -> str | None:
    attempts = row["attempts"]
    if not attempts or row["state"] == "held":
        return row["error"] and str(row["error"])
    return f"{attempts} {'attempt' if attempts == 1 else 'attempts'}: {row['error']}"


def _rows(state: str | None, limit: int) -> list[dict[str, Any]]:
    from eventbus.outbox.event_log import EventLog
    from eventbus.outbox.store import OutboxStore

    engine = bus_or_settings(DATABASE).engine
    if state in ("logged", "unrouted"):
        return EventLog(engine).newest(routed=False if state == "unrouted" else None, limit=limit)
    return OutboxStore(engine).rows(state=state, limit=limit)


def _shape(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of either table in one shape."""
    logged = "published_at_ms" in row
    return {
        "seq": row["seq"],
        "id": row["event_id"],
        "event": row["name"],
        "key": row["partition_key"],
        "state": _logged_state(row) if logged else row["state"],
        "attempts": None if logged else row["attempts"],
        "created_at_ms": row["created_at_ms"],
        "available_at_ms": None if logged else row["available_at_ms"],
        "published_at_ms": row["published_at_ms"] if logged else None,
        "error": None if logged else row["last_error"],
    }


def _logged_state(row: Mapping[str, Any]) -> str:
    return "logged" if row["routed"] else "unrouted"


def _public(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its times as RFC 3339."""
    from eventbus.cli.terminal import moment

    return {
        name.removesuffix("_ms"): moment(value) if name.endswith("_at_ms") else value
        for name, value in row.items()
    }


# -- one event ------------------------------------------------------------------------------------


@command.command("show")
@application_option
@click.argument("id")
@json_option
def show(id: str, as_json: bool) -> None:
    """Show the event ID, which waits in the outbox or is in the event log.

    \b
    --json: {"seq", "id", "event", "key", "state", "attempts", "created_at", "available_at",
             "published_at", "error", "attributes": {}, "body": TEXT|null, "body_base64": TEXT|null,
             "data": {}|null: what an Avro or Protobuf body holds}
    """
    from eventbus.cli.bodies import Bodies, print_body
    from eventbus.cli.terminal import escape, print_json, print_pairs
    from eventbus.message import Message

    row = _find(id)
    attributes = _attributes(row)
    content_type = attributes.get("datacontenttype")
    message = Message(bytes(row["body"]), row["name"], content_type=content_type)
    body = Bodies(bus_or_settings(DATABASE)).forms(message, row["name"])
    details = {**_public(_shape(row)), "attributes": attributes, **body}
    if as_json:
        print_json(details)
        return
    print_pairs([one for one in details.items() if one[0] not in ("attributes", *body)])
    click.echo("attributes")
    for name, value in sorted(attributes.items()):
        click.echo(f"  {escape(name)}: {escape(value)}")
    print_body(body)


def _find(event_id: str) -> Mapping[str, Any]:
    import sqlalchemy as sa

    from eventbus import tables
    from eventbus.database import reading

    with reading(bus_or_settings(DATABASE).engine) as connection:
        for table in (tables.outbox, tables.event_log):
            found = connection.execute(
                sa.select(table).where(table.c.event_id == event_id).limit(1)
            )
            if row := found.mappings().first():
                return dict(row)
    raise UnknownName(f"no event {event_id!r} is in the outbox or in the event log")


def _attributes(row: Mapping[str, Any]) -> dict[str, str]:
    """The event's CloudEvents attributes; as one text where somebody has damaged them."""
    import json

    try:
        found = json.loads(row["attributes"])
        return {str(name): str(value) for name, value in found.items()}
    except (ValueError, AttributeError, RecursionError):
        return {"": str(row["attributes"])}


# -- what was given up ----------------------------------------------------------------------------


def _choice_options(function: _Function) -> _Function:
    for option in reversed(
        (
            click.option(
                "--id",
                "ids",
                multiple=True,
                metavar="IDS",
                callback=split_list,
                help="Only these events.",
            ),
            click.option(
                "-e",
                "--event",
                "names",
                multiple=True,
                metavar="NAMES",
                callback=split_list,
                help="Only events of these names.",
            ),
            click.option("--all", "everything", is_flag=True, help="All that were given up."),
        )
    ):
        function = option(function)
    return function


@command.command("retry")
@application_option
@_choice_options
@json_option
def retry(ids: list[str], names: list[str], everything: bool, as_json: bool) -> None:
    """Publish events again that were given up, with a fresh count of attempts.

    \b
    --json: {"events": {NAME: NUMBER}, "retried": NUMBER}
    """
    bus = bus_or_settings(DATABASE)
    failed, choice, counts = _chosen(bus, ids, names, everything)
    with _operation(bus, "outbox.retry", choice, counts) as operation:
        operation.advance(failed.retry(choice))
    _print_done("retried", counts, operation.record.done, as_json)


@command.command("purge")
@application_option
@_choice_options
@yes_option
@json_option
def purge(ids: list[str], names: list[str], everything: bool, yes: bool, as_json: bool) -> None:
    """Delete events that were given up: they are never published.

    \b
    --json: {"events": {NAME: NUMBER}, "deleted": NUMBER}
    """
    from eventbus.cli.terminal import confirm

    bus = bus_or_settings(DATABASE)
    failed, choice, counts = _chosen(bus, ids, names, everything)
    if counts:
        what = ", ".join(f"{number} {name}" for name, number in counts.items())
        confirm(f"Delete {what} from the outbox? No consumer will ever hear of it.", yes)
    with _operation(bus, "outbox.purge", choice, counts) as operation:
        operation.advance(failed.delete(choice))
    _print_done("deleted", counts, operation.record.done, as_json)


def _chosen(
    bus: EventBus, ids: list[str], names: list[str], everything: bool
) -> tuple[FailedRows, Choice, dict[str, int]]:
    """The rows that were asked for, and how many there are of each name.

    Raises
    ------
    UnknownName
        What was named is not there: a mistyped name must not pass for work done.
    """
    from eventbus.outbox.failed_rows import Choice, FailedRows

    if not (ids or names or everything):
        raise click.UsageError("say which events: --id, --event or --all")
    if everything and (ids or names):
        raise click.UsageError("--all and --id or --event exclude each other")
    failed = FailedRows(bus.engine)
    choice = Choice(tuple(ids) or None, tuple(names) or None)
    counts = failed.count(choice)
    missing = sorted(set(names) - set(counts))
    if ids:
        missing += sorted(set(ids) - failed.ids(choice))
    if missing:
        shown = ", ".join(repr(name) for name in missing)
        raise UnknownName(f"nothing was given up of {shown}; see 'outbox list --state failed'")
    return failed, choice, counts


def _operation(bus: EventBus, kind: str, choice: Choice, counts: dict[str, int]) -> Operation:
    from eventbus.workers.operations.audit import OperationLog
    from eventbus.workers.operations.operation import Operation

    parameters = {"ids": choice.ids, "events": choice.names}
    return Operation(kind, parameters, log=OperationLog(bus.engine), total=sum(counts.values()))


def _print_done(verb: str, counts: dict[str, int], done: int, as_json: bool) -> None:
    from eventbus.cli.terminal import print_json, print_line

    if as_json:
        print_json({"events": counts, verb: done})
    else:
        print_line(f"{done} {'event' if done == 1 else 'events'} {verb}")
