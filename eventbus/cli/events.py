"""``eventbus events``: the events that the application declares, and publishing one by hand."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.destination import check_destination, destination
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.catalog.entries import Catalog, EventEntry, FieldEntry

FORMATS = ("text", "json", "mermaid", "html")

#: A catalog of thousands of events.
_CATALOG_MAX_BYTES = 64 * 1024 * 1024


@click.group("events")
@application_option
def command() -> None:
    """List the declared events, or publish one."""


@command.command("list")
@application_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="text, JSON, a Mermaid flowchart, or a static HTML page.",
)
@click.option(
    "--with",
    "others",
    multiple=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Add another service's catalog, as its own --json has written it; may be repeated.",
)
@click.option(
    "--registry", "with_registry", is_flag=True, help="Add the readers that the registry knows."
)
@click.option(
    "-o", "--output", metavar="FILE", help="Write to FILE instead of the standard output."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
def list_events(
    format_name: str,
    others: tuple[str, ...],
    with_registry: bool,
    output: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """List the events that the application declares: who publishes and who consumes them.

    \b
    --json: {"services": [...],
             "events": [{"name", "publisher", "summary", "format", "version", "style", "reason",
               "deprecated", "class",
               "fields": [{"name", "type", "required", "deprecated"}],
               "handlers": [{"service", "name", "queue"}]}],
             "consumers": [{"service", "queue", "handler", "patterns", "events"}]}
    """
    from eventbus.catalog.application import catalog_of

    check_destination(output, force)
    bus = the_bus()
    catalog = catalog_of(bus)
    if with_registry:
        catalog = catalog.with_others([_read_by_others(bus, catalog)])
    catalog = catalog.with_others(_read_catalog(path) for path in others)
    chosen = "json" if as_json else format_name
    with destination(output, force) as stream, redirect_stdout(stream):
        _SHOWN[chosen](catalog)


def _read_by_others(bus: EventBus, catalog: Catalog) -> Catalog:
    from eventbus.catalog.readers import known_readers
    from eventbus.contracts.registry import open_registry

    return known_readers(open_registry(bus), [event.name for event in catalog.events])


def _read_catalog(path: str) -> Catalog:
    from eventbus.catalog.entries import Catalog

    return Catalog.from_json(_parsed(f"@{path}", _CATALOG_MAX_BYTES), path)


def _show_text(catalog: Catalog) -> None:
    from eventbus.cli.terminal import Column, print_table

    print_table(
        (
            Column("event", style="bold"),
            Column("publisher"),
            Column("contract"),
            Column("fields", fold=True),
            Column("handlers", fold=True),
        ),
        [
            (
                event.name,
                event.publisher,
                _contract_text(event),
                ", ".join(_field_text(field) for field in event.fields),
                ", ".join(
                    f"{one.handler} ({one.queue})" for one in catalog.consumers_of(event.name)
                )
                or None,
            )
            for event in catalog.events
        ],
        styles=["yellow" if event.deprecated else "" for event in catalog.events],
        empty="the application declares no event",
    )


def _show_json(catalog: Catalog) -> None:
    from eventbus.cli.terminal import print_json

    print_json(catalog.to_json())


def _show_mermaid(catalog: Catalog) -> None:
    from eventbus.catalog.mermaid import mermaid

    click.echo(mermaid(catalog), nl=False)


def _show_page(catalog: Catalog) -> None:
    from eventbus.catalog.page import page

    now = datetime.now(timezone.utc)
    click.echo(page(catalog, f"{now:%Y-%m-%d %H:%M} UTC"))


_SHOWN = {"text": _show_text, "json": _show_json, "mermaid": _show_mermaid, "html": _show_page}


def _contract_text(event: EventEntry) -> str:
    """``json v3, snapshot, deprecated``."""
    words = [event.format if event.version is None else f"{event.format} v{event.version}"]
    if event.style != "thin":
        words.append(event.style)
    if event.deprecated:
        words.append("deprecated")
    return ", ".join(words)


def _field_text(field: FieldEntry) -> str:
    return f"{field.name}{'' if field.required else '?'}: {field.type}"


@command.command("publish")
@application_option
@click.argument("name")
@click.argument("data", metavar="JSON")
@click.option("--key", help="Events with the same key leave the outbox in order.")
@json_option
def publish(name: str, data: str, key: str | None, as_json: bool) -> None:
    """Write event NAME with the fields in JSON to the outbox; print its id.

    JSON is an object, @FILE reads it from a file and - from the standard input. A field that the
    event does not declare is refused. The dispatcher publishes it like any other event.

    \b
    --json: {"id", "event", "key"}
    """
    from eventbus import database
    from eventbus.cli.start import check_database
    from eventbus.cli.terminal import escape, print_json, print_line
    from eventbus.deprecation import deprecations_in

    bus = the_bus()
    # The class that is published, where a handler here reads the event with another one.
    event_class = bus.published_events.get(name) or bus.event_class(name)
    event = event_class.__read_strict__(_parsed(data, bus.settings.max_message_bytes))
    for text in deprecations_in(event):
        click.echo(f"Warning: {escape(text)}", err=True)
    check_database(bus.engine)
    with database.writing(bus.engine) as connection:
        event_id = bus.publish(event, session=connection, key=key)
    if as_json:
        print_json({"id": event_id, "event": name, "key": key})
    else:
        print_line(event_id)


def _parsed(data: str, max_bytes: int) -> Any:
    """The JSON value that the argument gives or names.

    Raises
    ------
    click.UsageError
        It cannot be read, or is no JSON that a consumer would take.
    """
    from eventbus.envelope import CONTENT_TYPE, load_data
    from eventbus.errors import UndecodableMessage
    from eventbus.message import Message

    source, body = _read(data, max_bytes + 1)
    try:
        return load_data(Message(body, "", content_type=CONTENT_TYPE), max_bytes)
    except UndecodableMessage as error:
        raise click.UsageError(f"{source}: {error}") from None


def _read(data: str, limit: int) -> tuple[str, bytes]:
    """Where the JSON comes from, in words, and its bytes, up to `limit`."""
    if data == "-":
        return "standard input", sys.stdin.buffer.read(limit)
    if not data.startswith("@"):
        return "JSON", data.encode("utf-8", "surrogateescape")
    try:
        with open(data[1:], "rb") as file:
            return data, file.read(limit)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise click.UsageError(f"{data} cannot be read: {reason}") from None
