"""``eventbus status``: what runs, what waits, what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventbus.cli.application import BROKER, DATABASE, application_option, bus_or_settings
from eventbus.cli.options import Duration, Number, json_option

if TYPE_CHECKING:
    from eventbus.workers.monitoring.problems import Problem, Thresholds
    from eventbus.workers.monitoring.processes import ProcessRow
    from eventbus.workers.monitoring.rates import Rates
    from eventbus.workers.monitoring.snapshot import QueueState, Snapshot

_Function = TypeVar("_Function", bound=Callable[..., Any])

_NOTHING_REACHED = 3
_PROBLEMS = 4


def threshold_options(command: _Function) -> _Function:
    """Add the options that say from when on something is a problem; see `make_thresholds`."""
    for option in reversed(
        (
            click.option(
                "--max-age",
                type=Duration("1s", "365d"),
                default="60s",
                show_default=True,
                help="A problem: the oldest event in the outbox is older.",
            ),
            click.option(
                "--max-ready",
                type=Number(0, 1_000_000_000),
                default=10_000,
                show_default=True,
                help="A problem: more messages are ready in one queue.",
            ),
            click.option(
                "--max-dead-letters",
                type=Number(0, 1_000_000_000),
                default=0,
                show_default=True,
                help="A problem: more are in one dead-letter or overflow queue.",
            ),
        )
    ):
        command = option(command)
    return command


def make_thresholds(max_age: timedelta, max_ready: int, max_dead_letters: int) -> Thresholds:
    """What `threshold_options` gave."""
    from eventbus.workers.monitoring.problems import Thresholds

    return Thresholds(
        outbox_age_ms=int(max_age.total_seconds() * 1000),
        ready=max_ready,
        dead_letters=max_dead_letters,
    )


@click.command("status")
@application_option
@click.option("--check", is_flag=True, help="End with 4 when there is a problem, for monitoring.")
@threshold_options
@json_option
def command(check: bool, as_json: bool, **thresholds: Any) -> None:
    """Show the outbox, rates, queues and processes; what is wrong comes first.

    Without -A on the servers in EVENTBUS_DATABASE_URL and EVENTBUS_BROKER_URL; then only queues
    that a process consumes or that are paused are known. A server that is away is shown as such;
    ends with 3 when neither answers.

    \b
    --json: {"service", "taken_at", "ok": BOOLEAN, "problems": [{"kind", "subject", "text",
             "remedy", "notice"}], "away": {"database"|"broker": TEXT}, "outbox": {}|null,
             "rates": {}|null, "queues": [{}], "processes": [{}]|null}
    """
    from eventbus.cli.terminal import print_json
    from eventbus.workers.monitoring.problems import count_problems, find_problems
    from eventbus.workers.monitoring.snapshot import Reader

    with Reader(bus_or_settings(DATABASE, BROKER)) as reader:
        snapshot = reader.read()
    problems = find_problems(snapshot, make_thresholds(**thresholds))
    if as_json:
        print_json(as_dict(snapshot, problems))
    else:
        _print(snapshot, problems)
    if len(snapshot.away) == 2:
        raise click.exceptions.Exit(_NOTHING_REACHED)
    if check and count_problems(problems):
        raise click.exceptions.Exit(_PROBLEMS)


def _print(snapshot: Snapshot, problems: Sequence[Problem]) -> None:
    from eventbus.cli import panels
    from eventbus.cli.panel_table import print_panel
    from eventbus.cli.terminal import print_styled

    print_styled(*panels.verdict(snapshot, problems))
    for line in panels.problem_lines(problems):
        print_styled(line.text, line.style, indent=2)
    click.echo()
    for title, cells in (
        ("outbox", panels.outbox_cells(snapshot)),
        ("rates", panels.rate_cells(snapshot)),
    ):
        click.echo(f"{title:<8}" + "  ".join(f"{name} {cell.text}" for name, cell in cells))
    click.echo()
    print_panel(panels.queue_panel(snapshot.queues), empty="no queue is known")
    if snapshot.processes is not None:
        click.echo()
        processes = panels.process_panel(snapshot.processes, snapshot.taken_at)
        print_panel(processes, empty="no process runs")


def as_dict(snapshot: Snapshot, problems: Sequence[Problem]) -> dict[str, Any]:
    """A snapshot and its verdict as `status --json` and `top --json` print them."""
    from eventbus.cli.terminal import moment
    from eventbus.workers.monitoring.problems import count_problems

    known = snapshot.processes is not None
    return {
        "service": snapshot.service,
        "taken_at": moment(int(snapshot.taken_at * 1000)),
        "ok": count_problems(problems) == 0,
        "problems": [dataclasses.asdict(problem) for problem in problems],
        "away": snapshot.away,
        "outbox": None if snapshot.outbox is None else dataclasses.asdict(snapshot.outbox),
        "rates": _rates(snapshot.rates) if known else None,
        "queues": [queue_as_dict(queue) for queue in snapshot.queues],
        "processes": [_process(row) for row in snapshot.processes or ()] if known else None,
    }


def _rates(rates: Rates) -> dict[str, float]:
    """Per second."""
    queues = rates.all_queues
    return {
        "published": round(rates.published, 3),
        "handled": round(queues.handled, 3),
        "failed": round(queues.failed, 3),
    }


def queue_as_dict(queue: QueueState) -> dict[str, Any]:
    """One queue, as `queue list --json` prints it too."""
    from eventbus.cli.terminal import moment

    pause, rates = queue.pause, queue.rates
    return {
        "queue": queue.name,
        "exists": queue.exists,
        "ready": queue.ready,
        "consumers": queue.consumers,
        "retrying": queue.retrying,
        "dead_letters": queue.dead_letters,
        "overflow": queue.overflow,
        "workers": queue.workers,
        "breaker": queue.breaker,
        "paused": None
        if pause is None
        else {
            "by": pause.paused_by,
            "since": moment(pause.paused_at_ms),
            "reason": pause.reason or None,
        },
        "handled_per_second": _rounded(rates.handled if rates else None),
        "failed_per_second": _rounded(rates.failed if rates else None),
        "mean_run_ms": _rounded(rates.mean_run_ms if rates else None),
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)


def _process(row: ProcessRow) -> dict[str, Any]:
    from eventbus.cli.terminal import moment

    report = row.report
    return {
        "id": row.id,
        "service": report.service,
        "kind": report.kind,
        "name": report.name,
        "host": report.host,
        "pid": report.pid,
        "started_at": moment(int(report.started_at * 1000)),
        "last_seen_ms": row.seen_ms,
        "gone": row.gone,
        "state": report.state,
        "ready": report.ready,
        "trouble": report.trouble,
        "beat_age_ms": row.beat_age_ms,
        "pool": report.pool,
        "concurrency": report.concurrency,
        "running": report.running,
        "waiting": report.waiting,
        "held": report.held,
        "children": [
            {
                "pid": child.pid,
                "state": child.state,
                "ready": child.ready,
                "running": child.running,
                "trouble": child.trouble,
            }
            for child in report.children
        ],
        "rates": _rates(row.rates),
    }
