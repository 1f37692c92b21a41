"""``eventbus replay``: events of the log again, to one subscription."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import (
    BROKER,
    DATABASE,
    application_option,
    bus_or_settings,
    full_queue_name,
)
from eventbus.cli.options import (
    Moment,
    Number,
    Rate,
    given_options,
    json_option,
    split_list,
    yes_option,
)
from eventbus.errors import UnknownName
from eventbus.patterns import check_pattern, matches

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.outbox.event_log import EventLog, Selection
    from eventbus.subscription import Subscription
    from eventbus.workers.operations.audit import OperationRecord
    from eventbus.workers.operations.operation import Operation

KIND = "replay"

#: How long the broker may take to let us in.
_READY_SECONDS = 15.0
#: Names that a sentence lists at most.
_NAMES_SHOWN = 8


@click.command("replay")
@application_option
@click.option("-Q", "--queue", help="The one queue to send to. Without -A its full name.")
@click.option(
    "-e",
    "--event",
    "patterns",
    multiple=True,
    metavar="NAMES",
    callback=split_list,
    help="Event names or patterns such as 'order.*'. Default: all that the queue's handlers take.",
)
@click.option("--handler", help="Only this handler of the queue runs. Default: all that match.")
@click.option("--key", "keys", multiple=True, help="Only events with this key; repeatable.")
@click.option(
    "--since", "since_ms", type=Moment(), help="Published at or after: '2h', '2026-11-24'."
)
@click.option("--until", "until_ms", type=Moment(), help="Published before. Default: now.")
@click.option("--rate", type=Rate(), help="Events per second at most, such as 500.")
@click.option(
    "--max-depth",
    type=Number(1, 1_000_000_000),
    default=10_000,
    show_default=True,
    help="Wait while the queue holds more messages than this.",
)
@click.option("--dry-run", is_flag=True, help="Count what would be sent; send nothing.")
@click.option("--resume", metavar="ID", help="Go on with a replay that was interrupted.")
@yes_option
@json_option
def command(
    dry_run: bool,
    resume: str | None,
    yes: bool,
    as_json: bool,
    rate: float | None,
    **options: Any,
) -> None:
    """Send published events again, from the event log, to one queue only.

    Fills a new consumer from history, and makes up for what a broker has lost: no other queue gets
    anything. Events keep their ids, so a handler that has done one within idempotency_ttl does not
    do it again. They go in the order in which they were published. What is published from now on
    is not part of it: the queue's bindings bring it.

    Ctrl-C ends it after the batch that is under way; --resume goes on from there.

    \b
    --json: {"operation": ID|null, "queue", "events": {NAME: NUMBER}, "left_out": {NAME: NUMBER},
             "forgotten": NUMBER, "sent": NUMBER, "failed": NUMBER}
    """
    from eventbus.outbox.event_log import EventLog
    from eventbus.workers.operations.audit import OperationLog

    bus = bus_or_settings(DATABASE, BROKER)
    record = None
    if resume is not None:
        _refuse_beside_resume(click.get_current_context())
        record = _resumed(OperationLog(bus.engine), resume)
        options, rate = dict(record.parameters["options"]), record.parameters["rate"]
    if not options["queue"]:
        raise click.UsageError("say which queue is to get the events: --queue NAME")
    plan = _plan(bus, EventLog(bus.engine), options, record)
    if not dry_run:
        _send(bus, plan, rate, record, yes=yes, as_json=as_json)
    elif as_json:
        _print_result(plan, None, as_json)
    else:
        _print_plan(plan)


def _refuse_beside_resume(ctx: click.Context) -> None:
    given = given_options(ctx, _FIXED)
    if given:
        raise click.UsageError(
            f"--resume goes on with what was chosen at first; leave out {', '.join(given)}"
        )


#: What a resumed replay has from its beginning.
_FIXED = {
    "queue": "--queue",
    "patterns": "--event",
    "handler": "--handler",
    "keys": "--key",
    "since_ms": "--since",
    "until_ms": "--until",
    "rate": "--rate",
    "max_depth": "--max-depth",
}


def _resumed(log: Any, operation_id: str) -> OperationRecord:
    from eventbus.workers.operations.operation import resumable

    return resumable(log.find(operation_id), KIND)


# -- what is to be sent ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What is sent, and what is to be told of it.

    Parameters
    ----------
    counts:
        Event name to how many are to be sent.
    left_out:
        The same of what was asked for and no handler of the queue takes.
    forgotten:
        How many are older than idempotency keys are remembered.
    """

    queue: str
    options: Mapping[str, Any]
    log: EventLog
    selection: Selection
    now_ms: int
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    forgotten: int

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def _plan(
    bus: EventBus, log: EventLog, options: Mapping[str, Any], record: OperationRecord | None
) -> _Plan:
    from eventbus.outbox.event_log import Selection
    from eventbus.workers.operations.replay import read_position

    queue, subscription = _target(bus, options["queue"])
    _check_handler(subscription, options["handler"])
    patterns = [check_pattern(pattern) for pattern in options["patterns"]]
    if subscription is None and not patterns:
        raise click.UsageError(
            f"queue {queue!r} is not declared by this application, so say which events it is to "
            f"get: --event 'order.*', or --event '#' for all"
        )
    # Fixed now, also for a later run that goes on: what comes after is the bindings' business.
    now = log.now_ms() if record is None else int(record.parameters["now_ms"])
    wanted = Selection(
        keys=tuple(options["keys"]) or None,
        since_ms=options["since_ms"],
        until_ms=now if options["until_ms"] is None else min(options["until_ms"], now),
    )
    if wanted.since_ms is not None and wanted.since_ms >= (wanted.until_ms or 0):
        raise click.UsageError("--since is not before --until; nothing lies between them")
    after = None if record is None else read_position(record.position)
    ttl_ms = int(bus.settings.idempotency_ttl.total_seconds() * 1000)
    counted = log.counts(wanted, after, old_before_ms=now - ttl_ms)
    found = {name: each.events for name, each in counted.items()}
    asked = {name: n for name, n in found.items() if _is_asked(patterns, name)}
    taken = {name: n for name, n in asked.items() if _is_taken(subscription, options, name)}
    if not taken and record is None:
        raise UnknownName(_nothing(found, asked, queue))
    return _Plan(
        queue=queue,
        options=options,
        log=log,
        selection=replace(wanted, names=tuple(taken)),
        now_ms=now,
        counts=taken,
        left_out={name: n for name, n in asked.items() if patterns and name not in taken},
        forgotten=sum(counted[name].old for name in taken),
    )


def _target(bus: EventBus, queue: str) -> tuple[str, Subscription | None]:
    """The queue's full name, and its subscription where this application declares it."""
    name = full_queue_name(bus, queue)
    declared = {subscription.queue: subscription for subscription in bus.subscriptions.values()}
    return name, declared.get(name)


def _check_handler(subscription: Subscription | None, handler: str | None) -> None:
    if subscription is None or handler is None:
        return
    names = [one.name for one in subscription.handlers]
    if handler not in names:
        raise UnknownName.among("handler", handler, names)


def _is_asked(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(matches(pattern, name) for pattern in patterns)


def _is_taken(subscription: Subscription | None, options: Mapping[str, Any], name: str) -> bool:
    if subscription is None:
        return True
    return any(
        handler.accepts(name)
        for handler in subscription.handlers
        if options["handler"] in (None, handler.name)
    )


def _nothing(found: Mapping[str, int], asked: Mapping[str, int], queue: str) -> str:
    if asked:
        return f"no handler of queue {queue!r} takes {_listed(asked)}; nothing is sent"
    if found:
        return f"no event of the log has such a name; there it has {_listed(found)}"
    return (
        "the event log holds no such event: look at --key, --since and --until, and at the "
        "setting event_log_retention"
    )


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:_NAMES_SHOWN]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


# -- sending ---------------------------------------------------------------------------------------


def _send(
    bus: EventBus,
    plan: _Plan,
    rate: float | None,
    record: OperationRecord | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    from eventbus.cli.progress import shown_operation
    from eventbus.cli.terminal import confirm, print_note
    from eventbus.errors import BrokerUnavailable
    from eventbus.workers.operations.audit import OperationLog
    from eventbus.workers.operations.operation import Limits, Operation
    from eventbus.workers.operations.replay import Replay, Target, read_position

    with closing(bus.broker.admin()) as admin:
        if plan.queue not in admin.stats([plan.queue]):
            raise UnknownName(
                f"queue {plan.queue!r} is not on the broker; run its worker once, or "
                f"'eventbus topology apply'"
            )
        if plan.left_out:
            print_note(f"left out, as no handler of the queue takes it: {_listed(plan.left_out)}")
        confirm(_question(plan), yes)
        operation = Operation(
            KIND,
            {"options": dict(plan.options), "rate": rate, "now_ms": plan.now_ms},
            OperationLog(bus.engine),
            Limits(rate=rate),
            plan.total,
            record,
        )
        target = Target(plan.queue, plan.options["handler"], plan.options["max_depth"])
        with closing(bus.broker.publisher(f"{bus.service}.replay")) as publisher:
            if not publisher.wait_ready(_READY_SECONDS):
                raise BrokerUnavailable(f"not publishing: {publisher.trouble}")
            replay = Replay(plan.log, publisher, admin, target, plan.selection, plan.now_ms)
            with shown_operation(operation, f"to {plan.queue}", quiet=as_json):
                replay.run(operation, read_position(operation.record.position))
    _print_result(plan, operation, as_json)


def _question(plan: _Plan) -> str:
    question = f"Send {plan.total} events to {plan.queue}?"
    if plan.forgotten:
        question = (
            f"{plan.forgotten} of them are older than idempotency_ttl: a handler that has done "
            f"them may do them again. {question}"
        )
    return question


def _print_plan(plan: _Plan) -> None:
    from eventbus.cli.terminal import Column, print_note, print_table

    columns = (Column("event", style="bold"), Column("events", align="right"))
    print_table(columns, list(plan.counts.items()), empty="nothing is left to send")
    if plan.left_out:
        print_note(f"left out, as no handler of the queue takes it: {_listed(plan.left_out)}")
    if plan.forgotten:
        print_note(
            f"{plan.forgotten} are older than idempotency_ttl: a handler that has done them may "
            f"do them again"
        )
    print_note(f"{plan.total} events would be sent to {plan.queue}; nothing was")


def _print_result(plan: _Plan, operation: Operation | None, as_json: bool) -> None:
    from eventbus.cli.terminal import print_json, print_line

    record = None if operation is None else operation.record
    sent = 0 if record is None else record.done - record.failed
    failed = 0 if record is None else record.failed
    if as_json:
        print_json(
            {
                "operation": None if record is None else record.id,
                "queue": plan.queue,
                "events": dict(plan.counts),
                "left_out": dict(plan.left_out),
                "forgotten": plan.forgotten,
                "sent": sent,
                "failed": failed,
            }
        )
        return
    print_line(f"{sent} events sent to {plan.queue}")
    if failed:
        print_line(f"{failed} rows of the log hold no event that can be sent; the log names them")
