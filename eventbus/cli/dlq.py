"""``eventbus dlq``: what was parked, why, and back to its queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from eventbus.cli.application import (
    BROKER,
    DATABASE,
    application_option,
    bus_or_settings,
    is_named,
)
from eventbus.cli.options import Number, json_option, split_list, yes_option
from eventbus.errors import UnknownName
from eventbus.topology import dead_letter_queue_name

if TYPE_CHECKING:
    from eventbus.brokers.port import Admin
    from eventbus.bus import EventBus
    from eventbus.cli.parked import Parked
    from eventbus.message import Message

#: Characters of a body that a terminal is shown; --json gives all of it.
_SHOWN_BODY = 4_000

_queue_option = click.option(
    "-Q",
    "--queue",
    "queues",
    multiple=True,
    metavar="NAMES",
    callback=split_list,
    help="Queues whose messages were parked. Without -A full names, such as shop.billing.",
)


@click.group("dlq")
@application_option
def command() -> None:
    """List, show and replay the messages in the dead-letter queues.

    Of the application that -A names; without it of the queues that --queue names, on the broker
    in EVENTBUS_BROKER_URL or EVENTBUS_DATABASE_URL.
    """


@dataclass(frozen=True)
class _DeadLetters:
    """The dead-letter queues that a command is about."""

    bus: EventBus
    admin: Admin
    #: Full name of each queue, and how many messages are parked from it.
    counts: dict[str, int]

    def browse(self, queue: str, limit: int) -> Iterator[Parked]:
        """The first `limit` messages parked from `queue`."""
        from eventbus.cli.parked import read_parked

        for message in self.admin.browse(dead_letter_queue_name(queue), limit):
            yield read_parked(message, queue)

    def all(self) -> Iterator[Parked]:
        """Every parked message."""
        for queue, count in self.counts.items():
            if count:
                yield from self.browse(queue, count)


@contextmanager
def _dead_letters(queues: Sequence[str]) -> Iterator[_DeadLetters]:
    if not queues and not is_named():
        raise click.UsageError(
            "say which dead-letter queues: name the application with -A, or a queue's full name "
            "with --queue, such as --queue shop.billing"
        )
    bus = bus_or_settings(BROKER, DATABASE)
    names = [_full_name(bus, queue) for queue in queues] or [
        subscription.queue for subscription in bus.subscriptions.values()
    ]
    admin = bus.broker.admin()
    try:
        stats = admin.stats([dead_letter_queue_name(name) for name in names])
        counts = {}
        for name in names:
            found = stats.get(dead_letter_queue_name(name))
            if found is None and queues:
                raise UnknownName(
                    f"there is no queue {dead_letter_queue_name(name)!r} on the broker"
                )
            counts[name] = found.messages if found is not None else 0
        yield _DeadLetters(bus, admin, counts)
    finally:
        admin.close()


def _full_name(bus: EventBus, queue: str) -> str:
    """The full name of `queue`; one that is no longer declared may still have parked messages."""
    name = queue.removesuffix(".dlq")
    try:
        return bus.subscription(name).queue
    except UnknownName:
        if "." in name:
            return name
        if is_named():
            raise
        raise UnknownName(
            f"{queue!r} is no full name of a queue, such as shop.billing; or name the application "
            f"with -A"
        ) from None


@command.command("list")
@application_option
@_queue_option
@click.option(
    "--limit",
    type=Number(1, 100_000),
    default=50,
    show_default=True,
    help="Messages to look at in each queue, 1 to 100000.",
)
@click.option("--groups", is_flag=True, help="Count by queue, handler and error instead.")
@json_option
def list_parked(queues: list[str], limit: int, groups: bool, as_json: bool) -> None:
    """List what is parked, oldest first.

    \b
    --json: {"queues": [{"queue", "parked": NUMBER, "messages": [{"id", "event", "queue",
             "handler", "attempts", "reason", "error", "parked_at"}]}]}
    with --groups, "groups": [{"handler", "event", "error", "count"}] instead of "messages"
    """
    with _dead_letters(queues) as found:
        listed = {
            queue: list(found.browse(queue, min(limit, count))) if count else []
            for queue, count in found.counts.items()
        }
        counts = found.counts
    if groups:
        _print_groups(counts, listed, as_json)
    else:
        _print_messages(counts, listed, as_json)


def _print_messages(counts: dict[str, int], listed: dict[str, list[Parked]], as_json: bool) -> None:
    from eventbus.cli.terminal import Column, age, print_json, print_note, print_records
    from eventbus.outbox.row import now_ms

    if as_json:
        print_json(
            {
                "queues": [
                    {"queue": queue, "parked": counts[queue], "messages": [m.row() for m in found]}
                    for queue, found in listed.items()
                ]
            }
        )
        return
    now = now_ms()
    messages = [message for found in listed.values() for message in found]
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
                message.id,
                message.event,
                message.handler,
                message.attempts,
                None if message.parked_at_ms is None else age(max(now - message.parked_at_ms, 0)),
            )
            for message in messages
        ],
        note="queue: reason",
        notes=[f"{message.queue}: {message.reason}" for message in messages],
        empty="nothing is parked",
    )
    for queue, found in listed.items():
        if len(found) < counts[queue]:
            print_note(f"{queue}: {len(found)} of {counts[queue]} shown; --limit shows more")


def _print_groups(counts: dict[str, int], listed: dict[str, list[Parked]], as_json: bool) -> None:
    from eventbus.cli.terminal import Column, print_json, print_note, print_table

    grouped = {
        queue: Counter((m.handler, m.event, _kind(m)) for m in found).most_common()
        for queue, found in listed.items()
    }
    if as_json:
        print_json(
            {
                "queues": [
                    {
                        "queue": queue,
                        "parked": counts[queue],
                        "groups": [
                            {"handler": handler, "event": event, "error": error, "count": count}
                            for (handler, event, error), count in groups
                        ],
                    }
                    for queue, groups in grouped.items()
                ]
            }
        )
        return
    print_table(
        (
            Column("queue"),
            Column("handler"),
            Column("event", style="bold"),
            Column("error", fold=True),
            Column("messages", align="right"),
        ),
        [
            (queue, handler, event, error, count)
            for queue, groups in grouped.items()
            for (handler, event, error), count in groups
        ],
        empty="nothing is parked",
    )
    for queue, found in listed.items():
        if len(found) < counts[queue]:
            print_note(f"{queue}: the oldest {len(found)} of {counts[queue]} are counted")


def _kind(message: Parked) -> str:
    """The error's class, or where there was none the reason up to its colon."""
    return message.error or message.reason.partition(":")[0]


@command.command("show")
@application_option
@click.argument("id")
@_queue_option
@json_option
def show(id: str, queues: list[str], as_json: bool) -> None:  # noqa: A002 - the argument's name
    """Show all that is known of the parked message ID.

    It may be there several times: once for each handler that gave up on it.

    \b
    --json: {"messages": [{"id", "event", "queue", "handler", "attempts", "reason", "error",
             "parked_at", "traceback", "routing_key", "content_type", "headers": {},
             "body": TEXT|null, "body_base64": TEXT|null}]}
    """
    from eventbus.cli.terminal import print_json

    with _dead_letters(queues) as found:
        messages = [message for message in found.all() if message.id == id]
        if not messages:
            raise _not_parked([id], found)
    if as_json:
        print_json({"messages": [message.details() for message in messages]})
        return
    for number, message in enumerate(messages):
        if number:
            click.echo()
        _print_details(message)


def _print_details(parked: Parked) -> None:
    from eventbus.cli.terminal import escape, print_pairs
    from eventbus.message import WORKER_HEADERS

    details = parked.details()
    headers = details.pop("headers")
    traceback, body = details.pop("traceback"), details.pop("body")
    encoded = details.pop("body_base64")
    print_pairs(list(details.items()))
    click.echo("headers")
    for name, value in sorted(headers.items()):
        if name not in WORKER_HEADERS:  # shown above, in words
            click.echo(f"  {escape(name)}: {escape(value)}")
    if traceback is not None:
        click.echo("traceback")
        for line in traceback.splitlines():
            click.echo(f"  {escape(line)}")
    click.echo("body" if encoded is None else "body (base64)")
    for line in _shown_body(body if encoded is None else encoded):
        click.echo(f"  {escape(line)}")


def _shown_body(body: str) -> list[str]:
    if len(body) <= _SHOWN_BODY:
        return body.splitlines() or ["(empty)"]
    return [
        *body[:_SHOWN_BODY].splitlines(),
        f"... {len(body) - _SHOWN_BODY} characters more; --json shows all",
    ]


@command.command("replay")
@application_option
@_queue_option
@click.option(
    "--id", "ids", multiple=True, metavar="IDS", callback=split_list, help="Only these events."
)
@click.option("--handler", "handlers", multiple=True, help="Only what this handler gave up on.")
@click.option("--all", "everything", is_flag=True, help="All that is parked.")
@yes_option
@json_option
def replay(
    queues: list[str],
    ids: list[str],
    handlers: tuple[str, ...],
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Move parked messages back to their queue, with a fresh count of attempts.

    Only the handler that gave up runs again; of a message that no handler was given, all of the
    queue do. What is replayed after idempotency_ttl may take effect a second time, where an
    effect had happened.

    \b
    --json: {"queues": [{"queue", "replayed": NUMBER}], "replayed": NUMBER}
    """
    from eventbus.cli.terminal import confirm, print_json, print_line

    if not (ids or handlers or everything):
        raise click.UsageError("say which messages: --id, --handler or --all")
    if everything and (ids or handlers):
        raise click.UsageError("--all and --id or --handler exclude each other")
    wanted = _Wanted(frozenset(ids), frozenset(handlers))
    with _dead_letters(queues) as found:
        counts = dict(found.counts) if everything else _count(found, wanted)
        if any(counts.values()):
            confirm(_question(counts), yes)
        replayed = {queue: _replay(found, queue, wanted) for queue, n in counts.items() if n}
    total = sum(replayed.values())
    if as_json:
        queues_moved = [{"queue": queue, "replayed": n} for queue, n in replayed.items()]
        print_json({"queues": queues_moved, "replayed": total})
        return
    for queue, number in replayed.items():
        print_line(f"{_messages(number)} moved back to {queue}")
    if not replayed:
        print_line("nothing is parked")


@dataclass(frozen=True)
class _Wanted:
    """Which messages to replay; an empty set means any."""

    ids: frozenset[str]
    handlers: frozenset[str]

    def __contains__(self, parked: Parked) -> bool:
        return (not self.ids or parked.id in self.ids) and (
            not self.handlers or parked.handler in self.handlers
        )


def _count(found: _DeadLetters, wanted: _Wanted) -> dict[str, int]:
    """How many messages of each queue are wanted.

    Raises
    ------
    UnknownName
        One of the ids, or all that is wanted, is not parked: a mistyped name must not pass for
        work done.
    """
    chosen = [parked for parked in found.all() if parked in wanted]
    missing = wanted.ids - {parked.id for parked in chosen}
    if missing or not chosen:
        raise _not_parked(sorted(missing or wanted.handlers), found)
    counted = Counter(parked.queue for parked in chosen)
    return {queue: counted[queue] for queue in found.counts}


def _question(counts: dict[str, int]) -> str:
    parts = [f"{_messages(number)} to {queue}" for queue, number in counts.items() if number]
    return f"Move {', '.join(parts)}?"


def _messages(number: int) -> str:
    return f"{number} message" if number == 1 else f"{number} messages"


def _replay(found: _DeadLetters, queue: str, wanted: _Wanted) -> int:
    from eventbus.cli.parked import read_parked

    def decide(message: Message) -> Message | None:
        parked = read_parked(message, queue)
        return parked.for_replay() if parked in wanted else None

    return found.admin.transfer(
        dead_letter_queue_name(queue), decide, queue, limit=found.counts[queue]
    )


def _not_parked(names: Iterable[str], found: _DeadLetters) -> UnknownName:
    queues = ", ".join(dead_letter_queue_name(queue) for queue in found.counts)
    shown = ", ".join(repr(name) for name in names)
    return UnknownName(f"nothing is parked for {shown} in {queues or 'any queue'}")
