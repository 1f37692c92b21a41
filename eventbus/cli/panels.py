"""What `status`, `top` and `queue list` show of a snapshot: words, cells and styles, no terminal.

A `Cell` is a text and a style as rich has them. Texts are escaped where they are printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from eventbus.cli.terminal import Column, age

if TYPE_CHECKING:
    from eventbus.workers.monitoring.problems import Problem
    from eventbus.workers.monitoring.processes import ProcessRow
    from eventbus.workers.monitoring.rates import QueueRates
    from eventbus.workers.monitoring.snapshot import QueueState, Snapshot

GOOD = "green"
BAD = "bold red"
WARN = "yellow"
DIM = "dim"


class Cell(NamedTuple):
    """One cell; `style` as rich has them."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Panel:
    """A table.

    Parameters
    ----------
    columns:
        In order; the one that folds has the names, which may be shortened.
    least:
        For each column how much it is missed where there is no room for all: 0 stays always.
    """

    columns: tuple[Column, ...]
    least: tuple[int, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def texts(self) -> list[list[str]]:
        """The cells without their styles."""
        return [[cell.text for cell in row] for row in self.rows]


UNKNOWN = Cell("?", DIM)
_NONE = Cell("-", DIM)

_QUEUE_COLUMNS = (
    (Column("queue", fold=True), 0),
    (Column("state"), 0),
    (Column("ready", "right"), 0),
    (Column("consumers", "right"), 3),
    (Column("handled/s", "right"), 0),
    (Column("failed/s", "right"), 1),
    (Column("mean run", "right"), 4),
    (Column("retry", "right"), 1),
    (Column("dead", "right"), 0),
    (Column("overflow", "right"), 2),
)

_PROCESS_COLUMNS = (
    (Column("kind"), 0),
    (Column("name", fold=True), 0),
    (Column("host"), 2),
    (Column("pid", "right"), 2),
    (Column("pool"), 3),
    (Column("running", "right"), 1),
    (Column("waiting", "right"), 4),
    (Column("done/s", "right"), 1),
    (Column("state"), 0),
    (Column("up", "right"), 1),
    (Column("seen", "right"), 3),
)


def queue_panel(queues: Iterable[QueueState], *, short: bool = False) -> Panel:
    """One row a subscription; with `short` numbers have at most five characters."""
    columns, least = zip(*_QUEUE_COLUMNS, strict=True)
    return Panel(columns, least, tuple(_queue_row(queue, short) for queue in queues))


def _queue_row(queue: QueueState, short: bool) -> tuple[Cell, ...]:
    return (
        Cell(queue.name, "bold"),
        queue_state(queue),
        _count(queue.ready, short),
        _count(queue.consumers, short),
        *_rates(queue.rates),
        _count(queue.retrying, short, WARN),
        _count(queue.dead_letters, short, BAD),
        _count(queue.overflow, short, BAD),
    )


def _rates(rates: QueueRates | None) -> tuple[Cell, Cell, Cell]:
    if rates is None:
        return _NONE, _NONE, _NONE
    mean = rates.mean_run_ms
    return (
        Cell(rate(rates.handled), "" if rates.handled else DIM),
        Cell(rate(rates.failed), WARN if rates.failed else DIM),
        _NONE if mean is None else Cell(duration(mean)),
    )


def queue_state(queue: QueueState) -> Cell:
    """In one word or two what a queue does; the most important of what could be said."""
    if queue.pause is not None:
        return Cell("paused", WARN)
    if queue.breaker != "closed":
        return Cell(f"breaker {queue.breaker}", BAD)
    if queue.exists is None:
        return UNKNOWN
    if not queue.exists:
        return Cell("missing", BAD)
    if not queue.consumers:
        return Cell("no consumer", BAD)
    return Cell("consumed", GOOD)


def process_panel(processes: Iterable[ProcessRow], now: float) -> Panel:
    """One row a process; `now` in seconds since the epoch."""
    columns, least = zip(*_PROCESS_COLUMNS, strict=True)
    return Panel(columns, least, tuple(_process_row(row, now) for row in processes))


def _process_row(row: ProcessRow, now: float) -> tuple[Cell, ...]:
    report = row.report
    done = row.rates.published or row.rates.all_queues.handled
    up = age(max(int((now - report.started_at) * 1000), 0)) or "-"
    return (
        Cell(report.kind),
        Cell(report.name, "bold"),
        Cell(report.host),
        Cell(str(report.pid)),
        Cell(pool(row)),
        Cell(str(report.running), "" if report.running else DIM),
        Cell(str(report.waiting), "" if report.waiting else DIM),
        Cell(rate(done), "" if done else DIM),
        process_state(row),
        Cell("-", DIM) if row.gone else Cell(up),
        _seen(row),
    )


def _seen(row: ProcessRow) -> Cell:
    from eventbus.workers.monitoring.processes import RATES_MS

    late = DIM if row.seen_ms <= RATES_MS else WARN
    # In whole seconds: what changes with each look should mean something.
    return Cell(f"{age(max(row.seen_ms // 1000 * 1000, 1000))} ago", BAD if row.gone else late)


def pool(row: ProcessRow) -> str:
    """How a worker runs its handlers: ``threads x 8``; ``prefork x 2 (1 starting)``."""
    report = row.report
    if report.pool is None:
        return "-"
    text = f"{report.pool} x {report.concurrency}"
    starting = sum(not child.ready for child in report.children)
    return f"{text} ({starting} not ready)" if starting else text


def process_state(row: ProcessRow) -> Cell:
    """In one word what a process does."""
    if row.gone:
        return Cell("gone", BAD)
    report = row.report
    if report.state != "running":
        return Cell(report.state, WARN)
    return Cell("ready", GOOD) if report.ready else Cell("not ready", BAD)


def verdict(snapshot: Snapshot, problems: Sequence[Problem]) -> Cell:
    """The one sentence that matters."""
    count = sum(not problem.notice for problem in problems)
    if count:
        return Cell("1 problem" if count == 1 else f"{count} problems", BAD)
    processes = len(snapshot.living)
    return Cell(
        f"all is well: {processes} {'process' if processes == 1 else 'processes'}, "
        f"{len(snapshot.queues)} {'queue' if len(snapshot.queues) == 1 else 'queues'}",
        GOOD,
    )


def outbox_cells(snapshot: Snapshot) -> list[tuple[str, Cell]]:
    """The numbers of the outbox with their names; what is zero and should be is left out."""
    depth = snapshot.outbox
    if depth is None:
        return [("pending", UNKNOWN)]
    cells = [("pending", Cell(f"{depth.pending:,}", "" if depth.pending else DIM))]
    if depth.pending:
        cells.append(("oldest", Cell(age(depth.oldest_age_ms) or "-")))
    for name, number, style in (
        ("held", depth.held, WARN),
        ("delayed", depth.delayed, ""),
        ("failed", depth.failed, BAD),
        ("unrouted", depth.unrouted, WARN),
    ):
        if number:
            cells.append((name, Cell(f"{number:,}", style)))
    return cells


def rate_cells(snapshot: Snapshot) -> list[tuple[str, Cell]]:
    """The rates of everything together, with their names."""
    if snapshot.processes is None:
        return [(name, UNKNOWN) for name in ("published", "handled", "failed")]
    rates = snapshot.rates
    queues = rates.all_queues
    return [
        ("published", Cell(f"{rate(rates.published)}/s", "" if rates.published else DIM)),
        ("handled", Cell(f"{rate(queues.handled)}/s", "" if queues.handled else DIM)),
        ("failed", Cell(f"{rate(queues.failed)}/s", WARN if queues.failed else DIM)),
    ]


def problem_lines(problems: Iterable[Problem]) -> list[Cell]:
    """One line each: ``!`` a problem, ``i`` what is only to be known."""
    return [
        Cell(
            f"{'i' if problem.notice else '!'} {problem.text}"
            + (f"  ->  {problem.remedy}" if problem.remedy else ""),
            WARN if problem.notice else BAD,
        )
        for problem in problems
    ]


def rate(value: float) -> str:
    """A rate in at most five characters: ``0``, ``3.4``, ``250``, ``12.3k``."""
    if value == 0:
        return "0"
    return f"{value:.1f}" if value < 99.95 else short_number(round(value))


def short_number(number: int) -> str:
    """A number in at most five characters: ``9999``, ``12.3k``, ``456k``, ``1.2M``."""
    if number < 10_000:
        return str(number)
    for unit, size in (("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)):
        if number < size * 99.95:
            return f"{number / size:.1f}{unit}"
        if number < size * 999.5:
            return f"{number / size:.0f}{unit}"
    return "many"


def duration(milliseconds: float) -> str:
    """A run time: ``<0.1 ms``, ``0.3 ms``, ``12 ms``, ``1.5 s``, ``3 min``."""
    if milliseconds < 0.1:
        return "<0.1 ms"
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 120_000:
        return f"{milliseconds / 1000:.1f} s"
    return age(int(milliseconds)) or ""


def _count(number: int | None, short: bool, style: str = "") -> Cell:
    if number is None:
        return _NONE
    text = short_number(number) if short else str(number)
    return Cell(text, style) if number else Cell(text, DIM)
