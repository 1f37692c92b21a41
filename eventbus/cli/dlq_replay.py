"""``eventbus dlq replay``: parked messages back to their queues."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import BROKER, DATABASE, application_option, bus_or_settings
from eventbus.cli.dead_letters import (
    SELECTION,
    Opened,
    all_option,
    limit_option,
    messages,
    opened,
    parameters_of,
    print_groups,
    require_choice,
    selection_of,
    selection_options,
    shape_of_groups,
    tally_of,
)
from eventbus.cli.options import (
    Duration,
    Number,
    Rate,
    Ratio,
    given_options,
    json_option,
    yes_option,
)
from eventbus.cli.progress import audit_log
from eventbus.errors import EventBusError, OperationInterrupted, OperationStopped, UnknownName

if TYPE_CHECKING:
    from eventbus.message import Message
    from eventbus.workers.operations.audit import OperationRecord
    from eventbus.workers.operations.dead_letters import Selection, Tally
    from eventbus.workers.operations.operation import Operation
    from eventbus.workers.operations.replay_dead_letters import Canary, Replay

KIND = "dlq.replay"

#: What a resumed replay has from its beginning.
_FIXED = {
    **SELECTION,
    "everything": "--all",
    "limit": "--limit",
    "canary": "--canary",
    "edit": "--edit",
    "dry_run": "--dry-run",
    "allow_repeats": "--allow-repeats",
}
#: What a resumed replay may do otherwise.
_CHANGEABLE = ("rate", "stop_on_failures", "canary_wait")


@click.command("replay")
@application_option
@selection_options
@all_option
@limit_option
@click.option("--dry-run", is_flag=True, help="Count what would be moved; move nothing.")
@click.option("--rate", type=Rate(), help="Messages per second at most, such as 500.")
@click.option(
    "--canary",
    type=Number(1, 1_000),
    help="Move so many first, wait until they are handled or parked again, then go on or stop.",
)
@click.option(
    "--canary-wait",
    type=Duration("1s", "1h"),
    default="60s",
    show_default=True,
    help="How long to wait for them.",
)
@click.option(
    "--stop-on-failures",
    type=Ratio(),
    help="Stop once more than this share of them has come back, such as 0.1.",
)
@click.option(
    "--allow-repeats",
    is_flag=True,
    help="Also what was parked longer than idempotency_ttl ago: its effects may happen twice.",
)
@click.option("--edit", is_flag=True, help="Edit the data of each, at most 20, in $EDITOR first.")
@click.option("--resume", metavar="ID", help="Go on with a replay that was interrupted.")
@yes_option
@json_option
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    resume: str | None,
    everything: bool,
    dry_run: bool,
    edit: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Move parked messages back to their queue, with a fresh count of attempts.

    Only the handler that gave up runs again; of a message that no handler was given, all of the
    queue do. What fails again is parked again, and is not moved a second time by this replay.
    Ctrl-C ends it where nothing is under way; --resume goes on.

    \b
    --json: {"operation": ID|null, "state", "queues": [{"queue", "replayed": NUMBER}],
             "replayed", "returned", "left_older": NUMBER,
             "canary": {"sent", "handled", "returned": NUMBER}|null}
    with --dry-run: {"queues": [{"queue", "matching", "groups": [...]}], "matching", "older"}
    """
    _refuse_contradictions(ctx, resume, everything, dry_run, edit)
    record = None if resume is None else _resumed(resume)
    if record is not None:
        changed = given_options(ctx, {name: name for name in _CHANGEABLE})
        before = {**options, **record.parameters}
        options = {**before, **{name: options[name] for name in changed}}
    with opened(options["queues"]) as found:
        replaying = _Replaying(found, selection_of(options), options, record, yes, as_json)
        if dry_run:
            replaying.print_dry_run()
        else:
            replaying.run(edit)


def _refuse_contradictions(
    ctx: click.Context, resume: str | None, everything: bool, dry_run: bool, edit: bool
) -> None:
    if resume is not None:
        given = given_options(ctx, _FIXED)
        if given:
            raise click.UsageError(
                f"--resume goes on with what was chosen at first; leave out {', '.join(given)}"
            )
        return
    require_choice(ctx, everything)
    if dry_run and edit:
        raise click.UsageError("--dry-run and --edit exclude each other")
    if ctx.params["canary"] is None and given_options(ctx, {"canary_wait": "--canary-wait"}):
        raise click.UsageError("--canary-wait is for --canary")


def _resumed(operation_id: str) -> OperationRecord:
    from eventbus.workers.operations.operation import resumable

    log = audit_log(bus_or_settings(BROKER, DATABASE))
    if log is None:
        raise click.UsageError(
            "--resume needs the database that the replay was noted in; without it, run the same "
            "replay again: what was moved is moved, the rest is still there"
        )
    record = resumable(log.find(operation_id), KIND)
    if record.parameters.get("edit"):
        raise click.UsageError(
            f"operation {record.id} was an --edit, whose edits are not kept; run it again with "
            f"--edit: what was moved is moved, the rest is as it was"
        )
    return record


@dataclass
class _Replaying:
    """One call of the command."""

    found: Opened
    selection: Selection
    options: Mapping[str, Any]
    record: OperationRecord | None
    yes: bool
    as_json: bool
    #: What was parked before is left; None where it is to be moved all the same.
    older_than_ms: int | None = field(init=False)

    def __post_init__(self) -> None:
        from eventbus.outbox.row import now_ms

        ttl: timedelta = self.found.bus.settings.idempotency_ttl
        self.older_than_ms = now_ms() - int(ttl.total_seconds() * 1000)

    # -- before ----------------------------------------------------------------------------------

    def print_dry_run(self) -> None:
        from eventbus.cli.terminal import print_json, print_note

        tally = tally_of(self.found, self.selection, self.older_than_ms)
        queues = self.found.letters.queues
        if self.as_json:
            print_json(
                {
                    "queues": [
                        {
                            "queue": queue,
                            "matching": tally.messages_of(queue),
                            "groups": shape_of_groups(tally.of_queue(queue)),
                        }
                        for queue in queues
                    ],
                    "matching": tally.total,
                    "older": tally.older,
                }
            )
            return
        print_groups(tally, queues)
        if tally.older:
            print_note(self._about_older(tally.older))
        print_note(f"{messages(self._limited(tally.total))} would be moved; nothing was")

    def _limited(self, total: int) -> int:
        limit = self.options["limit"]
        return total if limit is None else min(total, limit)

    def _about_older(self, number: int) -> str:
        return (
            f"{messages(number)} {'was' if number == 1 else 'were'} parked longer ago than "
            f"idempotency_ttl: an effect that had happened may happen a second time"
        )

    def run(self, edit: bool) -> None:
        """Ask, and do it."""
        self._check_targets()
        if self.options["allow_repeats"]:
            self.older_than_ms = None
        tally = self._tally(edit)
        total = self._limited(
            sum(self.found.letters.counts.values()) if tally is None else tally.total
        )
        if tally is not None and tally.total:
            self._ask(tally, edit)
        operation = self._operation(total, edit)
        edits = self._edit(operation) if edit else None
        if (total or self.record is not None) and edits != {}:
            self._operate(operation, edits)
        elif self.as_json:
            self._print_result(operation, None)
        else:
            click.echo("nothing is parked" if edits is None else "nothing was edited")

    def _check_targets(self) -> None:
        """Before anything is asked: the queues to which it would go must be there."""
        letters = self.found.letters
        wanted = [queue for queue in letters.queues if letters.counts[queue]]
        missing = sorted(set(wanted) - set(letters.admin.stats(wanted)))
        if missing:
            raise UnknownName(
                f"{', '.join(map(repr, missing))} is gone, so its dead letters cannot go back to "
                f"it; 'eventbus topology apply' declares it again"
            )

    def _tally(self, edit: bool) -> Tally | None:
        """Count what is meant; None where nobody asks for it and nothing depends on it."""
        if self.selection.is_everything and self.yes and not edit:
            return None
        if self.record is not None:
            return self.found.letters.tally(self.selection, older_than_ms=self.older_than_ms)
        return tally_of(self.found, self.selection, self.older_than_ms)

    def _ask(self, tally: Tally, edit: bool) -> None:
        from eventbus.cli.terminal import confirm, escape

        if tally.older and not self.yes and sys.stdin.isatty() and sys.stderr.isatty():
            question = f"{self._about_older(tally.older)}. Move them as well?"
            if click.confirm(escape(question), err=True):
                self.older_than_ms = None
        if not edit:
            counts = {queue: tally.messages_of(queue) for queue in self.found.letters.queues}
            parts = [f"{messages(number)} to {queue}" for queue, number in counts.items() if number]
            limit = self.options["limit"]
            most = "" if limit is None or limit >= tally.total else f", at most {limit}"
            confirm(f"Move {', '.join(parts)}{most}?", self.yes)

    def _operation(self, total: int, edit: bool) -> Operation:
        from eventbus.workers.operations.operation import Limits, Operation

        limits = Limits(self.options["rate"], self.options["stop_on_failures"])
        log = audit_log(self.found.bus) if total or self.record is not None else None
        options = {name: value for name, value in self.options.items() if name != "canary_wait"}
        parameters = parameters_of(options, self.found.letters.queues)
        if edit:
            parameters["edit"] = True
        return Operation(KIND, parameters, log, limits, total, self.record)

    # -- editing ---------------------------------------------------------------------------------

    def _edit(self, operation: Operation) -> dict[str, Message]:
        from eventbus.cli.editing import edit_all
        from eventbus.workers.operations.edited_dead_letters import MOST_EDITED

        limit = min(self.options["limit"] or MOST_EDITED + 1, MOST_EDITED + 1)
        with closing(self.found.letters.browse(self.selection)) as parked:
            chosen = list(islice(parked, limit))
        if len(chosen) > MOST_EDITED:
            raise click.UsageError(
                f"--edit is for at most {MOST_EDITED} messages; name some with --id, or give "
                f"--limit"
            )
        return edit_all(self.found.bus, chosen, operation, self.yes)

    # -- doing it --------------------------------------------------------------------------------

    def _operate(self, operation: Operation, edits: Mapping[str, Message] | None) -> None:
        from eventbus.cli.progress import shown_operation
        from eventbus.cli.terminal import print_note
        from eventbus.workers.operations.replay_dead_letters import Plan, Replay

        limit = self.options["limit"]
        if limit is not None and self.record is not None:
            limit = max(0, limit - self.record.done)
        wait: timedelta = self.options["canary_wait"]
        had_canary = self.record is not None and "canary" in self.record.notes
        plan = Plan(
            self.selection,
            limit,
            self.older_than_ms,
            None if had_canary else self.options["canary"],
            wait.total_seconds(),
            edits,
        )
        run = Replay(self.found.bus, self.found.letters, plan, operation, self._goes_on)
        try:
            with shown_operation(operation, "replaying", quiet=self.as_json):
                run.run()
        except (OperationInterrupted, OperationStopped, KeyboardInterrupt):
            self._print_result(operation, run)
            raise
        except EventBusError:
            print_note(
                f"{messages(sum(run.moved.values()))} moved before; the rest is where it was. Go "
                f"on with: --resume {operation.id}"
            )
            raise
        self._print_result(operation, run)

    def _goes_on(self, canary: Canary) -> bool:
        from eventbus.cli.terminal import escape

        if self.yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        return click.confirm(escape(f"{_about_canary(canary)}. Go on?"), err=True)

    def _print_result(self, operation: Operation, run: Replay | None) -> None:
        from eventbus.cli.terminal import print_json, print_line, print_note

        moved = {} if run is None else run.moved
        older = 0 if run is None else sum(run.left_older.values())
        canary = None if run is None else run.canary
        record = operation.record
        if self.as_json:
            print_json(
                {
                    "operation": None if run is None else operation.id,
                    "state": "done" if run is None else record.state,
                    "queues": [{"queue": queue, "replayed": n} for queue, n in moved.items()],
                    "replayed": sum(moved.values()),
                    "returned": record.failed,
                    "left_older": older,
                    "canary": None if canary is None else dict(canary.__dict__),
                }
            )
            return
        if canary is not None:
            print_line(_about_canary(canary))
        for queue, number in moved.items():
            print_line(f"{messages(number)} moved back to {queue}")
        if not moved:
            print_line("nothing was moved")
        if older:
            print_note(
                f"{self._about_older(older)}, so they were left; --allow-repeats moves them too"
            )
        missing = (record.total or 0) - record.done - older
        if run is not None and record.state == "done" and record.runs == 1 and missing > 0:
            print_note(
                f"{missing} fewer than were counted: somebody else has moved them, or is looking "
                f"at them; run it again"
            )
        if record.failed and canary is None:
            print_note(f"{messages(record.failed)} came back so far")


def _about_canary(canary: Canary) -> str:
    if canary.handled is None:
        return (
            f"canary: {messages(canary.sent)}, of which {canary.returned} came back; how many are "
            f"handled is known only with -A"
        )
    return (
        f"canary: {messages(canary.sent)}, {canary.handled} handled, {canary.returned} came back, "
        f"{canary.undecided} undecided"
    )
