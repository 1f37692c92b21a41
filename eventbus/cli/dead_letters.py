"""What the commands of ``eventbus dlq`` share: which messages, opening, counting, asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventbus.cli.application import (
    BROKER,
    DATABASE,
    bus_or_settings,
    full_queue_name,
    is_named,
)
from eventbus.cli.options import Moment, Number, given_options, split_list
from eventbus.errors import UnknownName
from eventbus.patterns import check_pattern
from eventbus.topology import dead_letter_queue_name, overflow_queue_name

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.workers.operations.dead_letters import Count, DeadLetters, Selection, Tally
    from eventbus.workers.operations.parked import Group

_Function = TypeVar("_Function", bound=Callable[..., Any])


def queue_option(command: _Function) -> _Function:
    """Add ``-Q/--queue``."""
    return click.option(
        "-Q",
        "--queue",
        "queues",
        multiple=True,
        metavar="NAMES",
        callback=split_list,
        help="Queues whose messages were parked. Without -A full names, such as shop.billing.",
    )(command)


def limit_option(command: _Function) -> _Function:
    """Add ``--limit``."""
    return click.option(
        "--limit",
        type=Number(1, 1_000_000_000),
        help="At most so many, of each queue the oldest first.",
    )(command)


def all_option(command: _Function) -> _Function:
    """Add ``--all``."""
    return click.option("--all", "everything", is_flag=True, help="All that is parked.")(command)


#: The parameters of `selection_options`, and what each is called.
SELECTION = {
    "queues": "--queue",
    "ids": "--id",
    "events": "--event",
    "handlers": "--handler",
    "errors": "--error",
    "text": "--text",
    "since_ms": "--since",
    "until_ms": "--until",
}


def selection_options(command: _Function) -> _Function:
    """Add the options that say which parked messages are meant."""
    for option in reversed(
        (
            queue_option,
            click.option(
                "--id",
                "ids",
                multiple=True,
                metavar="IDS",
                callback=split_list,
                help="Only these events.",
            ),
            click.option(
                "--event",
                "events",
                multiple=True,
                metavar="NAMES",
                callback=split_list,
                help="Only events of these names, or patterns such as 'order.*'.",
            ),
            click.option(
                "--handler", "handlers", multiple=True, help="Only what this handler gave up on."
            ),
            click.option(
                "--error",
                "errors",
                multiple=True,
                help="Only with this error's class, or what 'dlq list' shows as error.",
            ),
            click.option("--text", help="Only with this text in the body or the reason."),
            click.option(
                "--since",
                "since_ms",
                type=Moment(),
                help="Parked at or after: '2h' ago, '2026-11-24T09:30:00Z'.",
            ),
            click.option("--until", "until_ms", type=Moment(), help="Parked before."),
        )
    ):
        command = option(command)
    return command


def selection_of(options: Mapping[str, Any]) -> Selection:
    """The selection that the options of `selection_options` make.

    Raises
    ------
    DeclarationError, click.UsageError
        A pattern is none, or no time lies between ``--since`` and ``--until``.
    """
    from eventbus.workers.operations.dead_letters import Selection

    since_ms, until_ms = options["since_ms"], options["until_ms"]
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise click.UsageError("--since is not before --until; nothing lies between them")
    if options["text"] == "":
        raise click.UsageError("--text '' would be in every message; give a text, or leave it out")
    return Selection(
        ids=tuple(options["ids"]),
        events=tuple(check_pattern(pattern) for pattern in options["events"]),
        handlers=tuple(options["handlers"]),
        errors=tuple(options["errors"]),
        text=options["text"],
        since_ms=since_ms,
        until_ms=until_ms,
    )


def parameters_of(options: Mapping[str, Any], queues: Sequence[str]) -> dict[str, Any]:
    """What of `options` is given, for the audit; with the full names of the `queues`."""
    return {
        name: value
        for name, value in {**options, "queues": list(queues)}.items()
        if value is not None and value is not False and value not in ([], ())
    }


def require_choice(ctx: click.Context, everything: bool) -> None:
    """Refuse to act on all that is parked only because nothing was said.

    Raises
    ------
    click.UsageError
    """
    given = given_options(ctx, SELECTION)
    chosen = [name for name in given if name != "--queue"]
    if everything and chosen:
        raise click.UsageError(f"--all and {', '.join(chosen)} exclude each other")
    if not everything and not given:
        raise click.UsageError(
            f"say which messages: {', '.join(SELECTION.values())}, or --all for all that is parked"
        )


@dataclass(frozen=True)
class Opened:
    """The dead letters that a command is about."""

    bus: EventBus
    letters: DeadLetters


@contextmanager
def opened(queues: Sequence[str]) -> Iterator[Opened]:
    """The dead letters of `queues`, or of all queues of the application.

    Raises
    ------
    click.UsageError
        Neither an application nor a queue is named.
    UnknownName
        A queue that is named has no dead-letter queue.
    """
    from eventbus.workers.operations.dead_letters import DeadLetters

    if not queues and not is_named():
        raise click.UsageError(
            "say which dead-letter queues: name the application with -A, or a queue's full name "
            "with --queue, such as --queue shop.billing"
        )
    bus = bus_or_settings(BROKER, DATABASE)
    names = [full_queue_name(bus, queue.removesuffix(".dlq")) for queue in queues] or [
        subscription.queue for subscription in bus.subscriptions.values()
    ]
    with closing(bus.broker.admin()) as admin:
        yield Opened(bus, DeadLetters(admin, list(dict.fromkeys(names)), required=bool(queues)))


def tally_of(found: Opened, selection: Selection, older_than_ms: int | None = None) -> Tally:
    """Count what is meant.

    Raises
    ------
    UnknownName
        Nothing is, or one of the ids is not parked: a mistyped name must not pass for work done.
    """
    tally = found.letters.tally(selection, older_than_ms=older_than_ms)
    missing = set(selection.ids) - tally.ids
    if missing or (not tally.total and not selection.is_everything):
        raise nothing_matches(selection, sorted(missing), found.letters.queues)
    return tally


def nothing_matches(
    selection: Selection, missing: Sequence[str], queues: Sequence[str]
) -> UnknownName:
    """The error that names what was looked for, and where."""
    where = ", ".join(dead_letter_queue_name(queue) for queue in queues) or "any queue"
    if missing:
        return UnknownName(f"nothing is parked for {', '.join(map(repr, missing))} in {where}")
    return UnknownName(f"nothing is parked for {_in_words(selection)} in {where}")


def _in_words(selection: Selection) -> str:
    from eventbus.cli.terminal import moment

    words = []
    for option, value in (
        ("--event", selection.events),
        ("--handler", selection.handlers),
        ("--error", selection.errors),
        ("--text", selection.text and (selection.text,)),
        ("--since", selection.since_ms is not None and (moment(selection.since_ms),)),
        ("--until", selection.until_ms is not None and (moment(selection.until_ms),)),
    ):
        words += [f"{option} {one!r}" for one in value or ()]
    return " and ".join(words) or "that"


def messages(number: int) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number} message" if number == 1 else f"{number} messages"


def shape_of_groups(groups: Sequence[tuple[Group, Count]]) -> list[dict[str, Any]]:
    """What ``--json`` gives for groups."""
    from eventbus.cli.terminal import moment

    return [
        {
            "handler": group.handler,
            "event": group.event,
            "error": group.error,
            "count": count.messages,
            "oldest": moment(count.oldest_ms),
            "newest": moment(count.newest_ms),
        }
        for group, count in groups
    ]


def print_groups(tally: Tally, queues: Sequence[str]) -> None:
    """Print how many messages of which kind, each queue's largest group first."""
    from eventbus.cli.terminal import Column, age, print_table
    from eventbus.outbox.row import now_ms

    now = now_ms()

    def ago(at_ms: int | None) -> str | None:
        return None if at_ms is None else age(max(now - at_ms, 0))

    print_table(
        (
            Column("queue"),
            Column("handler"),
            Column("event", style="bold"),
            Column("error", fold=True),
            Column("messages", align="right"),
            Column("oldest", align="right"),
            Column("newest", align="right"),
        ),
        [
            (
                *group,
                count.messages,
                ago(count.oldest_ms),
                ago(count.newest_ms),
            )
            for queue in queues
            for group, count in tally.of_queue(queue)
        ],
        empty="nothing is parked",
    )


def print_overflow(letters: DeadLetters) -> None:
    """Say what waits in overflow queues, which is no dead letter."""
    from eventbus.cli.terminal import print_note

    for queue, count in letters.overflowing.items():
        print_note(
            f"{overflow_queue_name(queue)}: {messages(count)} that {queue} had no room for; no "
            f"dead letters, they are fed back as it empties"
        )
