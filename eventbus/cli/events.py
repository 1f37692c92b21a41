"""``eventbus events``: the events that the application declares, and publishing one by hand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.event import Event


@click.group("events")
@application_option
def command() -> None:
    """List the declared events, or publish one."""


@command.command("list")
@application_option
@json_option
def list_events(as_json: bool) -> None:
    """List the events that the application declares, with their fields and handlers.

    \b
    --json: {"events": [{"name", "class", "fields": [{"name", "type", "required"}],
             "handlers": [{"name", "queue"}]}]}
    """
    from eventbus.cli.terminal import Column, print_json, print_table

    bus = the_bus()
    events = [_described(bus, name, cls) for name, cls in sorted(bus.events.items())]
    if as_json:
        print_json({"events": events})
        return
    print_table(
        (Column("event", style="bold"), Column("fields", fold=True), Column("handlers", fold=True)),
        [
            (
                event["name"],
                ", ".join(_field_text(field) for field in event["fields"]),
                ", ".join(
                    f"{handler['name']} ({handler['queue']})" for handler in event["handlers"]
                )
                or None,
            )
            for event in events
        ],
        empty="the application declares no event",
    )


def _described(bus: EventBus, name: str, cls: type[Event]) -> dict[str, Any]:
    return {
        "name": name,
        "class": f"{cls.__module__}.{cls.__qualname__}",
        "fields": [
            {
                "name": field.data_key or attribute,
                "type": type(field).__name__.lower(),
                "required": bool(field.required),
            }
            for attribute, field in cls.__schema__.fields.items()
        ],
        "handlers": [
            {"name": handler.name, "queue": subscription.queue}
            for subscription in bus.subscriptions.values()
            for handler in subscription.handlers
            if handler.accepts(name)
        ],
    }


def _field_text(field: dict[str, Any]) -> str:
    return f"{field['name']}: {field['type']}{'' if field['required'] else '?'}"


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
    from eventbus.cli.terminal import print_json, print_line

    bus = the_bus()
    event = bus.event_class(name).__read_strict__(_parsed(data, bus.settings.max_message_bytes))
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
