"""The picture that ``eventbus top`` shows: a snapshot and its history, cut to a terminal's size.

Everything is computed as lines of text with styles; nothing here writes to a terminal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from rich.text import Text

from eventbus.cli import panels
from eventbus.cli.panel_table import table_lines
from eventbus.cli.panels import DIM, WARN, Cell
from eventbus.cli.terminal import escape

if TYPE_CHECKING:
    from eventbus.workers.monitoring.problems import Problem
    from eventbus.workers.monitoring.snapshot import QueueState, Snapshot

#: Samples kept: as many as the widest terminal has room for.
HISTORY = 300

_BARS = " ▁▂▃▄▅▆▇█"
_ASCII_BARS = " _.:-=+*#"

#: Lines of a course at least, their number, and lines of one at most.
_COURSES = 4
_HIGHEST_COURSE = 4
#: Columns on the left and on the right of a course.
_BEFORE_COURSE = 22
_AFTER_COURSE = 11


@dataclass
class History:
    """The course of a few numbers, oldest first."""

    published: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    handled: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    failed: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    waiting: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def add(self, snapshot: Snapshot) -> None:
        """Note what `snapshot` says; what cannot be read leaves no mark."""
        if snapshot.processes is not None:
            rates = snapshot.rates
            self.published.append(rates.published)
            self.handled.append(rates.all_queues.handled)
            self.failed.append(rates.all_queues.failed)
        total = waiting(snapshot)
        if total is not None:
            self.waiting.append(total)


def waiting(snapshot: Snapshot) -> int | None:
    """Events in the outbox and messages ready in the queues; None where both are not known."""
    numbers = [queue.ready for queue in snapshot.queues if queue.ready is not None]
    if snapshot.outbox is not None:
        numbers.append(snapshot.outbox.pending)
    return sum(numbers) if numbers else None


@dataclass(frozen=True)
class Frame:
    """What one picture is made of.

    Parameters
    ----------
    age_seconds:
        How old the snapshot is: a server that hangs leaves it old.
    unicode:
        The terminal can show more than ASCII.
    """

    snapshot: Snapshot
    problems: Sequence[Problem]
    history: History
    age_seconds: float = 0.0
    interval_seconds: float = 1.0
    unicode: bool = True


def draw(frame: Frame, width: int, height: int) -> list[Text]:
    """The lines of the picture: exactly `height`, none wider than `width`."""
    snapshot = frame.snapshot
    queues = panels.queue_panel(_worst_first(snapshot.queues), short=True)
    processes = panels.process_panel(snapshot.processes or (), snapshot.taken_at)
    lines = [_title(frame, width), *_problems(frame, most=max(height // 6, 3)), Text()]
    lines.append(_outbox(snapshot))
    # A blank line and a heading for each table, and one line for each course.
    room = max(height - len(lines) - _COURSES - 4, 2)
    for_queues, for_processes = share(room, len(queues.rows), len(processes.rows))
    spare = room - for_queues - for_processes
    lines += _courses(frame, width, min(spare // _COURSES, _HIGHEST_COURSE))
    lines += [Text(), *table_lines(queues, "no queue is known", width, for_queues)]
    nobody = "the database is away" if snapshot.processes is None else "no process runs"
    lines += [Text(), *table_lines(processes, nobody, width, for_processes)]
    lines += [Text() for _ in range(height - len(lines))]
    return [_cut(line, width, frame.unicode) for line in lines[:height]]


def share(room: int, first: int, second: int) -> tuple[int, int]:
    """How many lines two lists of those lengths get of `room`: what one spares the other has."""
    half = room // 2
    for_second = min(max(second, 1), max(room - max(first, 1), half))
    return min(max(first, 1), max(room - for_second, 1)), for_second


def _worst_first(queues: Iterable[QueueState]) -> list[QueueState]:
    return sorted(queues, key=lambda queue: panels.queue_state(queue).style == panels.GOOD)


# -- the parts ------------------------------------------------------------------------------------


def _title(frame: Frame, width: int) -> Text:
    snapshot = frame.snapshot
    verdict = panels.verdict(snapshot, frame.problems)
    late = frame.age_seconds > 2 * frame.interval_seconds + 1
    clock = datetime.fromtimestamp(snapshot.taken_at, timezone.utc).strftime("%H:%M:%SZ")
    right = f"as of {frame.age_seconds:.0f} s ago  q quits" if late else f"{clock}  q quits"
    line = Text(" eventbus ", style="reverse bold")
    line.append(f" {escape(snapshot.service)}  ", style="bold")
    line.append(escape(verdict.text), style=verdict.style)
    _cut(line, max(width - len(right) - 2, 0), frame.unicode)
    line.append(" " * max(width - line.cell_len - len(right), 0))
    line.append(right, style=WARN if late else DIM)
    return line


def _problems(frame: Frame, most: int) -> Iterator[Text]:
    lines = panels.problem_lines(frame.problems)
    shown = lines if len(lines) <= most else lines[: most - 1]
    for cell in shown:
        yield Text(f" {escape(cell.text)}", style=cell.style)
    if len(shown) < len(lines):
        more = len(lines) - len(shown)
        yield Text(f" {more} more; 'eventbus status' shows all", style=DIM)


def _outbox(snapshot: Snapshot) -> Text:
    line = Text(" outbox     ", style="bold")
    for name, cell in panels.outbox_cells(snapshot):
        line.append(f"{name} ", style=f"not bold {DIM}")
        line.append(f"{escape(cell.text)}   ", style=f"not bold {cell.style}")
    return line


def _courses(frame: Frame, width: int, spare: int) -> Iterator[Text]:
    """For each number that has a course a line with its value, its course and its top.

    With `spare` lines for each they are higher, and stand apart.
    """
    apart = spare > 1
    high = spare if apart else 1 + spare
    history = frame.history
    number = waiting(frame.snapshot)
    total = panels.UNKNOWN if number is None else Cell(panels.short_number(number))
    for (name, cell), course, style in zip(
        [*panels.rate_cells(frame.snapshot), ("waiting", total)],
        (history.published, history.handled, history.failed, history.waiting),
        ("cyan", "green", WARN, "blue"),
        strict=True,
    ):
        if apart:
            yield Text()
        yield from _course(name, cell, course, style, width, high, frame.unicode)


def _course(
    name: str,
    cell: Cell,
    course: Sequence[float],
    style: str,
    width: int,
    high: int,
    unicode: bool,
) -> Iterator[Text]:
    top = max(course, default=0.0)
    bars = chart(course, max(width - _BEFORE_COURSE - _AFTER_COURSE, 0), high, unicode)
    for number, row in enumerate(bars):
        line = Text()
        if number == high - 1:
            line.append(f" {name:<10} ", style="bold")
            line.append(f"{escape(cell.text):>8}  ", style=cell.style)
        else:
            line.append(" " * _BEFORE_COURSE)
        line.append(row, style=style)
        if number == 0:
            shown = panels.short_number(round(top)) if top == round(top) else panels.rate(top)
            line.append(f" max {shown}", style=DIM)
        yield line


def chart(values: Sequence[float], width: int, high: int, unicode: bool = True) -> list[str]:
    """The last `width` of `values` as bars of `high` lines, the first line is the top one.

    The highest of all values is full, and a little is more than nothing.
    """
    bars = _BARS if unicode else _ASCII_BARS
    shown = list(values)[-width:] if width else []
    top = max(values, default=0.0)
    steps = len(bars) - 1
    levels = [
        0 if value <= 0 else max(1, min(round(value / top * steps * high), steps * high))
        for value in shown
    ]
    rows = []
    for row in reversed(range(high)):
        floor = "_" if not unicode else "▁"
        blank = floor if row == 0 else " "
        drawn = "".join(
            bars[min(level - row * steps, steps)] if level > row * steps else blank
            for level in levels
        )
        rows.append(drawn.rjust(width))
    return rows


def _cut(line: Text, width: int, unicode: bool) -> Text:
    line.truncate(width, overflow="ellipsis" if unicode else "crop")
    return line
