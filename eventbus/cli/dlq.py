"""``eventbus dlq``: what was parked, why, and back to its queue."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option
from eventbus.cli.dead_letters import (
    Opened,
    all_option,
    limit_option,
    messages,
    nothing_matches,
    opened,
    parameters_of,
    print_groups,
    print_overflow,
    queue_option,
    require_choice,
    selection_of,
    selection_options,
    shape_of_groups,
    tally_of,
)
from eventbus.cli.destination import check_destination
from eventbus.cli.dlq_replay import replay
from eventbus.cli.export import FORMATS, exporting
from eventbus.cli.options import Number, given_options, json_option, yes_option
from eventbus.cli.progress import audit_log

if TYPE_CHECKING:
    from eventbus.workers.operations.dead_letters import Selection, Tally
    from eventbus.workers.operations.operation import Operation
    from eventbus.workers.operations.parked import Parked


@click.group("dlq")
@application_option
def command() -> None:
    """List, show, replay, export and delete the messages in the dead-letter queues.

    Of the application that -A names; without it of the queues that --queue names, on the broker
    in EVENTBUS_BROKER_URL or EVENTBUS_DATABASE_URL. What was replayed and deleted, by whom and
    when, is shown by 'eventbus operations list'.
    """


# -- list and show ---------------------------------------------------------------------------------


@command.command("list")
@application_option
@selection_options
@click.option(
    "--messages", "single", is_flag=True, help="List each message, not how many of a kind."
)
@click.option(
    "--limit",
    type=Number(1, 100_000),
    default=50,
    show_default=True,
    help="With --messages: of each queue show so many, 1 to 100000.",
)
@json_option
@click.pass_context
def list_parked(
    ctx: click.Context, /, single: bool, limit: int, as_json: bool, **options: Any
) -> None:
    """Count what is parked by queue, handler, event and error; all of it, the most frequent first.

    \b
    --json: {"queues": [{"queue", "parked": NUMBER, "matching": NUMBER, "overflow": NUMBER,
             "groups": [{"handler", "event", "error", "count", "oldest", "newest"}]}]}
    with --messages, instead of "groups" and "matching":
             "messages": [{"id", "event", "queue", "handler", "attempts", "reason", "error",
             "parked_at"}]
    """
    if not single and given_options(ctx, {"limit": "--limit"}):
        raise click.UsageError("--limit is for --messages; the counts are of all messages")
    selection = selection_of(options)
    with opened(options["queues"]) as found:
        if single:
            _list_messages(found, selection, limit, as_json)
        else:
            _list_groups(found, selection, as_json)
        if not as_json:
            print_overflow(found.letters)


def _list_groups(found: Opened, selection: Selection, as_json: bool) -> None:
    from eventbus.cli.terminal import print_json, print_note

    letters = found.letters
    tally = letters.tally(selection)
    if as_json:
        print_json(
            {
                "queues": [
                    {
                        **_head(found, queue),
                        "matching": tally.messages_of(queue),
                        "groups": shape_of_groups(tally.of_queue(queue)),
                    }
                    for queue in letters.queues
                ]
            }
        )
        return
    parked = sum(letters.counts.values())
    if parked and not tally.total:
        print_note(str(nothing_matches(selection, selection.ids, letters.queues)))
        return
    print_groups(tally, letters.queues)


def _head(found: Opened, queue: str) -> dict[str, Any]:
    letters = found.letters
    return {
        "queue": queue,
        "parked": letters.counts[queue],
        "overflow": letters.overflowing.get(queue, 0),
    }


def _list_messages(found: Opened, selection: Selection, limit: int, as_json: bool) -> None:
    from eventbus.cli.parked import row_of
    from eventbus.cli.terminal import print_json, print_note

    listed = {queue: _first(found, queue, selection, limit + 1) for queue in found.letters.queues}
    if as_json:
        print_json(
            {
                "queues": [
                    {**_head(found, queue), "messages": [row_of(one) for one in some[:limit]]}
                    for queue, some in listed.items()
                ]
            }
        )
        return
    _print_messages([one for some in listed.values() for one in some[:limit]])
    for queue, some in listed.items():
        if len(some) > limit:
            print_note(
                f"{queue}: the first {limit} are shown, {found.letters.counts[queue]} are parked; "
                f"--limit shows more"
            )


def _first(found: Opened, queue: str, selection: Selection, limit: int) -> list[Parked]:
    with closing(found.letters.browse(selection, [queue])) as parked:
        return list(islice(parked, limit))


def _print_messages(parked: Sequence[Parked]) -> None:
    from eventbus.cli.terminal import Column, age, print_records
    from eventbus.outbox.row import now_ms

    now = now_ms()
    print_records(
        (
            Column("id"),
            Column("event", style="bold"),
            Column("handler"),
            Column("tries", align="right"),
            Column("parked", align="right"),
        ),
        [
            (
                one.id,
                one.event,
                one.handler,
                one.attempts,
                None if one.parked_at_ms is None else age(max(now - one.parked_at_ms, 0)),
            )
            for one in parked
        ],
        note="queue: reason",
        notes=[f"{one.queue}: {one.reason}" for one in parked],
        empty="nothing is parked",
    )


@command.command("show")
@application_option
@click.argument("id")
@queue_option
@json_option
def show(id: str, queues: list[str], as_json: bool) -> None:
    """Show all that is known of the parked message ID.

    It may be there several times: once for each handler that gave up on it.

    \b
    --json: {"messages": [{"id", "event", "queue", "handler", "attempts", "reason", "error",
             "parked_at", "contract", "path",
             "first_failure", "last_failure": {"error", "message", "at"}|null,
             "replayed_by", "edited_by", "edited_at", "traceback", "routing_key",
             "content_type", "headers": {}, "body": TEXT|null, "body_base64": TEXT|null,
             "data": {}|null: what an Avro or Protobuf body holds}]}
    """
    from eventbus.cli.bodies import Bodies
    from eventbus.cli.parked import details_of
    from eventbus.cli.terminal import print_json
    from eventbus.workers.operations.dead_letters import Selection

    selection = Selection(ids=(id,))
    with opened(queues) as found:
        parked = list(found.letters.browse(selection))
        if not parked:
            raise nothing_matches(selection, [id], found.letters.queues)
        bodies = Bodies(found.bus)
        details = [details_of(one, bodies) for one in parked]
    if as_json:
        print_json({"messages": details})
        return
    for number, each in enumerate(details):
        if number:
            click.echo()
        _print_details(each)


def _print_details(details: dict[str, Any]) -> None:
    from eventbus.cli.bodies import print_body
    from eventbus.cli.terminal import escape, print_pairs
    from eventbus.message import WORKER_HEADERS

    headers = details.pop("headers")
    traceback = details.pop("traceback")
    body = {name: details.pop(name) for name in ("body", "body_base64", "data")}
    for name in ("first_failure", "last_failure"):
        failure = details[name]
        details[name] = failure and ", ".join(str(part) for part in failure.values() if part)
    print_pairs([(name.replace("_", " "), value) for name, value in details.items()])
    click.echo("headers")
    for name, value in sorted(headers.items()):
        if name not in WORKER_HEADERS:  # shown above, in words
            click.echo(f"  {escape(name)}: {escape(value)}")
    if traceback is not None:
        click.echo("traceback")
        for line in traceback.splitlines():
            click.echo(f"  {escape(line)}")
    print_body(body)


# -- export and delete -----------------------------------------------------------------------------

_force_option = click.option("--force", is_flag=True, help="Overwrite a file that is there.")
_format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="jsonl",
    show_default=True,
    help="A JSON object a line, or CSV for spreadsheets.",
)


@command.command("export")
@application_option
@click.argument("file", default="-")
@selection_options
@limit_option
@_format_option
@_force_option
def export(file: str, limit: int | None, format_name: str, force: bool, **options: Any) -> None:
    """Write parked messages to FILE, or to the standard output; they stay where they are.

    Of all that is parked, or of what the options say. Each object of JSON is as 'dlq show --json'
    gives it; a body that is no text is in base64, and as data where it is Avro or Protobuf. In
    CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    from eventbus.cli.bodies import Bodies
    from eventbus.cli.terminal import print_note

    check_destination(file, force)
    selection = selection_of(options)
    written = 0
    with opened(options["queues"]) as found, closing(found.letters.browse(selection)) as parked:
        first = next(parked, None)
        if first is None and not selection.is_everything:
            raise nothing_matches(selection, selection.ids, found.letters.queues)
        with exporting(file, format_name, force, Bodies(found.bus)) as exporter:
            for one in chain(() if first is None else (first,), parked):
                if limit is not None and written >= limit:
                    break
                exporter.write(one)
                written += 1
    print_note(f"{messages(written)} written{'' if file == '-' else f' to {file}'}")


@command.command("delete")
@application_option
@selection_options
@all_option
@limit_option
@click.option("--export-to", metavar="FILE", help="Write each to FILE before it is deleted.")
@_format_option
@_force_option
@yes_option
@json_option
@click.pass_context
def delete(
    ctx: click.Context,
    /,
    everything: bool,
    limit: int | None,
    export_to: str | None,
    format_name: str,
    force: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Delete parked messages. It cannot be undone: --export-to keeps what they were.

    \b
    --json: {"operation": ID|null, "queues": [{"queue", "deleted": NUMBER}], "deleted": NUMBER}
    """
    from eventbus.cli.progress import shown_operation
    from eventbus.cli.terminal import confirm
    from eventbus.workers.operations.operation import Operation

    require_choice(ctx, everything)
    _check_export(ctx, export_to, force)
    selection = selection_of(options)
    with opened(options["queues"]) as found:
        tally = tally_of(found, selection)
        if tally.total:
            if not as_json and not yes:
                print_groups(tally, found.letters.queues)
            confirm(_question(tally, limit), yes)
        operation = Operation(
            "dlq.delete",
            parameters_of(
                {**options, "limit": limit, "export_to": export_to}, found.letters.queues
            ),
            audit_log(found.bus) if tally.total else None,
            total=tally.total if limit is None else min(limit, tally.total),
        )
        deleted = {}
        if tally.total:
            with shown_operation(operation, "deleting", quiet=as_json, resumable=False):
                destination = (export_to, format_name, force)
                deleted = _delete(found, selection, limit, operation, destination)
    _print_deleted(operation, deleted, as_json)


def _check_export(ctx: click.Context, export_to: str | None, force: bool) -> None:
    if export_to is None:
        given = given_options(ctx, {"format_name": "--format", "force": "--force"})
        if given:
            raise click.UsageError(f"{' and '.join(given)} is for --export-to")
    elif export_to == "-":
        raise click.UsageError("--export-to needs a file; 'dlq export' writes to a pipe")
    else:
        check_destination(export_to, force)


def _question(tally: Tally, limit: int | None) -> str:
    if limit is not None and limit < tally.total:
        return f"Delete {messages(limit)} of {tally.total} for good?"
    return f"Delete {messages(tally.total)} for good?"


def _delete(
    found: Opened,
    selection: Selection,
    limit: int | None,
    operation: Operation,
    destination: tuple[str | None, str, bool],
) -> dict[str, int]:
    from eventbus.cli.bodies import Bodies

    path, format_name, force = destination
    bodies = Bodies(found.bus)
    opening = nullcontext() if path is None else exporting(path, format_name, force, bodies)
    with opening as exporter:

        def decide(parked: Parked) -> bool:
            operation.check()
            chosen = parked in selection
            if chosen and exporter is not None:
                exporter.write(parked)  # before it is deleted: a crash leaves one too many there
            return chosen

        return found.letters.remove(decide, limit, operation)


def _print_deleted(operation: Operation, deleted: dict[str, int], as_json: bool) -> None:
    from eventbus.cli.terminal import print_json, print_line

    if as_json:
        print_json(
            {
                "operation": operation.id if deleted else None,
                "queues": [{"queue": queue, "deleted": n} for queue, n in deleted.items()],
                "deleted": sum(deleted.values()),
            }
        )
        return
    for queue, number in deleted.items():
        if number:
            print_line(f"{messages(number)} of {queue} deleted")
    if not sum(deleted.values()):
        print_line("nothing is parked")


command.add_command(replay)
