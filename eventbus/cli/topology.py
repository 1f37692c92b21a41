"""``eventbus topology``: what the broker is to hold, what it holds, and making it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.options import json_option, yes_option

if TYPE_CHECKING:
    from eventbus.drift import Change, Found
    from eventbus.workers.operations.topology import Apply

_DIFFERENT = 4


@click.group("topology")
@application_option
def command() -> None:
    """Compare exchange, queues and bindings with what the application declares; make them so."""


@command.command("plan")
@application_option
@json_option
def plan(as_json: bool) -> None:
    """Show the difference between what is declared and what the broker holds.

    Changes nothing. Ends with 4 when there is a difference. What RabbitMQ shows depends on its
    management plugin, see EVENTBUS_MANAGEMENT_URL; what could not be seen is said.

    \b
    --json: {"changes": [{"kind", "name", "exchange", "pattern", "action",
             "needs": "--prune"|"--migrate"|"by hand"|null, "held_up": TEXT|null,
             "differences": [{"queue", "argument", "declared", "found"}]}],
             "complete": BOOLEAN, "notes": [TEXT]}
    """
    with _opened(_say) as apply:
        found, changes = apply.look()
    _show(found, changes, as_json)
    if changes:
        raise click.exceptions.Exit(_DIFFERENT)


@command.command("apply")
@application_option
@click.option(
    "--prune",
    is_flag=True,
    help="Also remove bindings that no handler asks for, and queues that nothing declares any "
    "more, where that loses nothing.",
)
@click.option(
    "--migrate",
    is_flag=True,
    help="Also declare queues anew whose arguments differ; their messages are kept.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@yes_option
@json_option
def apply(prune: bool, migrate: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Create what is missing; with --migrate and --prune change and remove as well.

    Asks before it changes or removes. A queue that is being migrated is paused for all workers. An
    apply that was killed goes on where it was when it is run again. Ends with 4 when something is
    left to be done; what is too much counts with --prune only.

    \b
    --json: {"done": [TEXT], "changes": [as of plan, what is left], "complete", "notes"}
    """
    from eventbus.cli.terminal import print_json
    from eventbus.workers.operations.topology import Permissions, required_sight

    done: list[str] = []
    permissions = Permissions(prune, migrate)
    with _opened(done.append if as_json else _say) as applying:
        found, changes = applying.look()
        required_sight(found, permissions)
        allowed = [change for change in changes if permissions.allow(change)]
        if not dry_run:
            _ask(allowed, yes)
            applying.run(found, allowed)
            found, changes = applying.look()
    if as_json:
        print_json({"done": done, **_shape(found, changes)})
    else:
        _show(found, changes, as_json=False)
    if permissions.leaves(changes):
        raise click.exceptions.Exit(_DIFFERENT)


@contextmanager
def _opened(tell: Callable[[str], None]) -> Iterator[Apply]:
    from eventbus.cli.terminal import print_note
    from eventbus.workers.operations.topology import Apply

    bus = the_bus()
    admin = bus.broker.admin()
    try:
        yield Apply(bus, admin, tell, print_note)
    finally:
        admin.close()


def _say(text: str) -> None:
    from eventbus.cli.terminal import print_line

    print_line(text)


def _ask(changes: Sequence[Change], yes: bool) -> None:
    from eventbus.cli.terminal import confirm, print_note

    careful = [change for change in changes if change.needs is not None]
    if not careful:
        return
    for change in careful:
        print_note(f"{change.name}{_pattern(change)}: {change.action}")
    confirm("Do this?" if len(careful) == 1 else f"Do these {len(careful)} things?", yes)


def _pattern(change: Change) -> str:
    return "" if change.pattern is None else f" ({change.pattern})"


def _show(found: Found, changes: Sequence[Change], as_json: bool) -> None:
    from eventbus.cli.terminal import print_json, print_note

    if as_json:
        print_json(_shape(found, changes))
        return
    _print_changes(changes)
    _print_differences(changes)
    for note in found.notes:
        print_note(f"note: {note}")


def _print_changes(changes: Sequence[Change]) -> None:
    from eventbus.cli.terminal import Column, print_table

    print_table(
        (
            Column("name", style="bold"),
            Column("pattern"),
            Column("apply", fold=True),
            Column("needs"),
            Column("held up by", fold=True),
        ),
        [
            (change.name, change.pattern, change.action, change.needs, change.held_up)
            for change in changes
        ],
        empty="the broker holds what the application declares",
    )


def _print_differences(changes: Sequence[Change]) -> None:
    from eventbus.cli.terminal import Column, print_line, print_table
    from eventbus.drift import shown

    differences = [one for change in changes for one in change.differences]
    if not differences:
        return
    print_line("")
    print_table(
        (Column("queue"), Column("argument"), Column("declared"), Column("on the broker")),
        [(one.queue, one.argument, shown(one.declared), shown(one.found)) for one in differences],
    )


def _shape(found: Found, changes: Sequence[Change]) -> dict[str, Any]:
    return {
        "changes": [_change_shape(change) for change in changes],
        "complete": found.complete,
        "notes": list(found.notes),
    }


def _change_shape(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind.value,
        "name": change.name,
        "exchange": change.exchange,
        "pattern": change.pattern,
        "action": change.action,
        "needs": change.needs,
        "held_up": change.held_up,
        "differences": [
            {
                "queue": one.queue,
                "argument": one.argument,
                "declared": one.declared,
                "found": one.found,
            }
            for one in change.differences
        ],
    }
