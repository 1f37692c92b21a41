"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .books import Counts, Finding

#: Seconds between two lines about the counts where there is no terminal.
PLAIN_INTERVAL = 2.0

_GOOD, _BAD = "green", "bold red"


@dataclass
class State:
    """What the screen shows of the moment; the story writes it.

    Parameters
    ----------
    now:
        What is happening, in words.
    services:
        Service to how it is, in words.
    troubled:
        Services that are worse off than usual.
    """

    orders: int
    now: str = ""
    counts: Counts = field(default_factory=Counts)
    failures: int = 0
    services: dict[str, str] = field(default_factory=dict)
    troubled: set[str] = field(default_factory=set)

    def rows(self) -> list[tuple[str, int, str, int]]:
        """Each service: its name, what it has done, in which words, what waits for it."""
        counts = self.counts
        return [
            ("checkout", counts.placed, "orders placed", 0),
            ("billing", counts.charges, "charged", max(counts.placed - counts.charges, 0)),
            ("inventory", counts.reservations, "reserved", counts.placed - counts.reservations),
            ("email", counts.mails, "e-mails sent", max(counts.charges - counts.mails, 0)),
        ]


class Screen:
    """Shows a `State` for as long as its ``with`` block lasts, and what has happened above it."""

    def __init__(self, state: State, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.state = state
        self._begin = time.monotonic()
        self._next_plain_line = 0.0
        self._last_plain_line = ""
        self._live = Live(
            console=self.console,
            get_renderable=self._picture,
            refresh_per_second=8,
            transient=True,
        )

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Tell what has happened; it stays on the screen."""
        seconds = f"{time.monotonic() - self._begin:5.1f} s"
        if not self.console.is_terminal:
            self.console.print(f"{seconds}  {text}", soft_wrap=True, markup=False)
            return
        line = Table.grid(padding=(0, 2))
        line.add_row(Text(seconds, style="dim"), Text(text, style=style))
        self.console.print(line)

    def refresh(self) -> None:
        """Show the state again: needed where no terminal does so by itself."""
        if self.console.is_terminal or time.monotonic() < self._next_plain_line:
            return
        self._next_plain_line = time.monotonic() + PLAIN_INTERVAL
        done = ", ".join(f"{count} {words}" for _, count, words, _ in self.state.rows())
        if done != self._last_plain_line:
            self._last_plain_line = done
            self.say(f"  {done}, {self.state.failures} checkout failures")

    def _picture(self) -> Group:
        state = self.state
        return Group(
            "",
            _progress(state),
            Padding(_services(state), (1, 0, 1, 2)),
            Padding(Text.assemble(("Now  ", "bold"), state.now), (0, 2)),
        )


def _progress(state: State) -> Padding:
    finished = state.counts.mails
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True, justify="right")
    placed = f"{state.counts.placed:>4} of {state.orders}"
    mailed = f"{finished:>4} of {state.orders}"
    bar.add_row("ordered  ", _bar(state.counts.placed, state.orders), placed)
    bar.add_row("all done ", _bar(finished, state.orders), mailed)
    return Padding(bar, (0, 2))


def _bar(completed: int, total: int) -> ProgressBar:
    return ProgressBar(
        total=total, completed=completed, complete_style="cyan", finished_style="green"
    )


def _services(state: State) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("service")
    table.add_column("done", justify="right")
    table.add_column("")
    table.add_column("waiting", justify="right")
    table.add_column("state")
    for service, count, words, waiting in state.rows():
        style = "yellow" if service in state.troubled else ""
        how = Text(state.services.get(service, "starting"), style=style)
        if service == "checkout" and state.counts.placed:
            how.append(f", {state.failures} failures", _BAD if state.failures else _GOOD)
        backlog = Text(str(waiting or "·"), style="yellow" if waiting else "dim")
        table.add_row(service, str(count), words, backlog, how)
    return table


def verdict(findings: Sequence[Finding], accidents: Sequence[tuple[str, bool]]) -> Table:
    """The counts, one line each, with what they must be; then whether the accidents happened."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column()
    for finding in findings:
        table.add_row(str(finding.found), finding.text, _mark(finding))
    for text, happened in accidents:
        table.add_row("", text, Text("ok", _GOOD) if happened else Text("WRONG", _BAD))
    return table


def _mark(finding: Finding) -> Text:
    if finding.good:
        return Text("ok", _GOOD)
    return Text(f"WRONG, not {finding.expected}", _BAD)
