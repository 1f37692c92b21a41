"""``eventbus queue``: what queues hold, and whether workers may have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from eventbus.cli.application import (
    BROKER,
    DATABASE,
    application_option,
    bus_or_settings,
    is_named,
)
from eventbus.cli.options import json_option, yes_option
from eventbus.errors import BrokerUnavailable, UnknownName

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from eventbus.bus import EventBus
    from eventbus.workers.monitoring.pauses import Pause


@click.group("queue")
@application_option
def command() -> None:
    """List queues, pause and resume their consumption, empty them.

    Of the application that -A names; without it full names, such as shop.billing, on the servers
    in EVENTBUS_DATABASE_URL and EVENTBUS_BROKER_URL.
    """


@command.command("list")
@application_option
@json_option
def list_queues(as_json: bool) -> None:
    """List the queues: what they hold, who consumes them, who has paused them.

    Without -A those that a process consumes or that are paused. A server that is away is told
    beside the list; ends with 3 when neither answers.

    \b
    --json: {"queues": [{"queue", "exists", "ready", "consumers", "retrying", "dead_letters",
             "overflow", "workers", "breaker", "paused": {"by", "since", "reason"}|null,
             "handled_per_second", "failed_per_second", "mean_run_ms"}],
             "away": {"database"|"broker": TEXT}}
    """
    from eventbus.cli import panels
    from eventbus.cli.panel_table import print_panel
    from eventbus.cli.status import queue_as_dict
    from eventbus.cli.terminal import print_json, print_note
    from eventbus.workers.monitoring.snapshot import Reader

    with Reader(bus_or_settings(DATABASE, BROKER)) as reader:
        snapshot = reader.read()
    if as_json:
        queues = [queue_as_dict(queue) for queue in snapshot.queues]
        print_json({"queues": queues, "away": snapshot.away})
    else:
        print_panel(panels.queue_panel(snapshot.queues), empty="no queue is known")
        for queue in snapshot.queues:
            if queue.pause is not None:
                print_note(f"{queue.name}: {_told(queue.pause)}")
        for part, why in snapshot.away.items():
            print_note(f"{part}: {why}")
    if len(snapshot.away) == 2:
        raise click.exceptions.Exit(BrokerUnavailable.exit_code)


_names_argument = click.argument("names", nargs=-1, metavar="[NAME]...")
_all_option = click.option("--all", "everything", is_flag=True, help="All queues of -A.")


@command.command("pause")
@application_option
@_names_argument
@_all_option
@click.option("--reason", default="", help="Shown to whoever asks why.")
@json_option
def pause(names: Sequence[str], everything: bool, reason: str, as_json: bool) -> None:
    """Stop the consumption of queues, by all workers, within 2 s.

    It holds until 'queue resume', also when workers and brokers start again, and can be given
    while the broker is away. Handlers that run are not interrupted, and events still arrive: the
    queue fills up.

    \b
    --json: {"queues": [{"queue", "paused": {"by", "since", "reason"}, "changed": BOOLEAN}]}
    """
    from eventbus.cli.terminal import moment, print_json, print_line
    from eventbus.workers.monitoring import pauses
    from eventbus.workers.operations.audit import who

    bus = bus_or_settings(DATABASE)
    engine = _checked_engine(bus)
    by = who()
    done = []
    for queue in _chosen(bus, names, everything, _known_queues(engine)):
        before = pauses.pause(engine, queue, by=by, reason=reason)
        done.append((queue, before))
    _record(bus, "queue.pause", [queue for queue, before in done if before is None], reason)
    if as_json:
        now = {one.queue: one for one in _pauses(engine)}
        print_json(
            {
                "queues": [
                    {
                        "queue": queue,
                        "paused": {
                            "by": now[queue].paused_by,
                            "since": moment(now[queue].paused_at_ms),
                            "reason": now[queue].reason or None,
                        },
                        "changed": before is None,
                    }
                    for queue, before in done
                    if queue in now
                ]
            }
        )
        return
    for queue, before in done:
        if before is None:
            print_line(f"{queue}: paused; workers stop consuming it within 2 s")
        else:
            print_line(f"{queue}: was {_told(before, 'paused already')}")


@command.command("resume")
@application_option
@_names_argument
@_all_option
@json_option
def resume(names: Sequence[str], everything: bool, as_json: bool) -> None:
    """End the pause of queues; with --all of every queue that is paused.

    \b
    --json: {"queues": [{"queue", "changed": BOOLEAN}]}
    """
    from eventbus.cli.terminal import print_json, print_line
    from eventbus.workers.monitoring import pauses

    bus = bus_or_settings(DATABASE)
    engine = _checked_engine(bus)
    paused = {one.queue for one in _pauses(engine)}
    if everything and not names:
        chosen = sorted(paused)
    else:
        chosen = _chosen(bus, names, everything, paused | _known_queues(engine))
    done = [(queue, pauses.resume(engine, queue)) for queue in chosen]
    _record(bus, "queue.resume", [queue for queue, before in done if before is not None])
    if as_json:
        print_json({"queues": [{"queue": q, "changed": b is not None} for q, b in done]})
        return
    for queue, before in done:
        print_line(f"{queue}: goes on" if before is not None else f"{queue}: was not paused")
    if not done:
        print_line("no queue is paused")


@command.command("purge")
@application_option
@click.argument("name")
@yes_option
@json_option
def purge(name: str, yes: bool, as_json: bool) -> None:
    """Delete all messages that are ready in the queue NAME.

    What workers have already been given, what waits for a retry and what was parked stays. The
    events themselves stay in the event log: 'eventbus replay' can bring them back.

    \b
    --json: {"queue", "deleted": NUMBER}
    """
    from eventbus.cli.progress import audit_log
    from eventbus.cli.terminal import confirm, print_json, print_line
    from eventbus.workers.operations.operation import Operation

    bus = bus_or_settings(BROKER, DATABASE)
    queue = _full_name(bus, name, None)
    admin = bus.broker.admin()
    try:
        found = admin.stats([queue])
        if queue not in found:
            raise UnknownName(f"there is no queue {queue!r} on the broker")
        number = found[queue].messages
        deleted = 0
        if number:
            messages = "1 message" if number == 1 else f"{number} messages"
            confirm(f"Delete {messages} of {queue}?", yes)
            log = audit_log(bus)
            with Operation("queue.purge", {"queue": queue}, log=log, total=number) as operation:
                deleted = admin.purge(queue)
                operation.advance(deleted)
    finally:
        admin.close()
    if as_json:
        print_json({"queue": queue, "deleted": deleted})
        return
    print_line(f"{queue}: {deleted} {'message' if deleted == 1 else 'messages'} deleted")


# -- which queues ---------------------------------------------------------------------------------


def _chosen(bus: EventBus, names: Sequence[str], everything: bool, known: set[str]) -> list[str]:
    """Full names of the queues that were asked for, each once."""
    if everything and names:
        raise click.UsageError("--all and names of queues exclude each other")
    if everything and not is_named():
        raise click.UsageError("--all are the queues of an application; name it with -A")
    if everything:
        return [subscription.queue for subscription in bus.subscriptions.values()]
    if not names:
        raise click.UsageError("name a queue, such as 'billing', or give --all")
    return list(dict.fromkeys(_full_name(bus, name, known) for name in names))


def _full_name(bus: EventBus, name: str, known: set[str] | None) -> str:
    """The full name of the queue `name`.

    Parameters
    ----------
    known:
        Full names that are right although this application does not declare them; with None, and
        without an application where nothing is known, any full name is.
    """
    if known and name in known:
        return name
    try:
        return bus.subscription(name).queue
    except UnknownName:
        if "." in name and (known is None or not (known or is_named())):
            return name
        if not is_named() and "." not in name:
            raise UnknownName(
                f"{name!r} is no full name of a queue, such as shop.billing; or name the "
                f"application with -A"
            ) from None
        declared = [subscription.queue for subscription in bus.subscriptions.values()]
        raise UnknownName.among("queue", name, {*declared, *(known or ())}) from None


def _known_queues(engine: Engine) -> set[str]:
    """The queues that processes consume."""
    from eventbus.database import reading
    from eventbus.workers.monitoring import processes

    with reading(engine) as connection:
        return {queue for row in processes.read(connection) for queue in row.report.queues}


def _pauses(engine: Engine) -> list[Pause]:
    from eventbus.database import reading
    from eventbus.workers.monitoring.pauses import read_pauses

    with reading(engine) as connection:
        return read_pauses(connection)


def _checked_engine(bus: EventBus) -> Engine:
    from eventbus.cli import start

    start.check_database(bus.engine)
    return bus.engine


def _record(bus: EventBus, kind: str, queues: list[str], reason: str | None = None) -> None:
    """Note in the audit who has paused or resumed what."""
    from eventbus.cli.progress import audit_log
    from eventbus.workers.operations.operation import Operation

    if not queues:
        return
    parameters = {"queues": queues, **({"reason": reason} if reason else {})}
    with Operation(kind, parameters, log=audit_log(bus), total=len(queues)) as operation:
        operation.advance(len(queues))


def _told(pause: Pause, state: str = "paused") -> str:
    """Since when, by whom and why, in words."""
    from eventbus.cli.terminal import escape, moment

    because = f": {escape(pause.reason)}" if pause.reason else ""
    return f"{state} since {moment(pause.paused_at_ms)} by {pause.paused_by}{because}"
