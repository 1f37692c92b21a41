"""``eventbus top``: `status`, live."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import BROKER, DATABASE, application_option, bus_or_settings
from eventbus.cli.options import Duration, Number, json_option
from eventbus.cli.status import make_thresholds, threshold_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from eventbus.cli.screen import History
    from eventbus.workers.monitoring.problems import Thresholds
    from eventbus.workers.monitoring.snapshot import Reader, Snapshot

#: How long a snapshot waits for a server before it is shown without it.
PATIENCE_SECONDS = 3.0

#: How often the picture is drawn although nothing is new.
REDRAW_SECONDS = 1.0

#: How long the end waits for the look that is under way.
LEAVE_SECONDS = 0.5

_QUITS = (b"q", b"Q", b"\x03", b"\x04")
_KILLED = 1


@click.command("top")
@application_option
@click.option(
    "--interval",
    type=Duration("200ms", "1h"),
    default="1s",
    show_default=True,
    help="How often to look.",
)
@click.option("--count", type=Number(1, 1_000_000_000), help="End after so many looks.")
@threshold_options
@json_option
def command(interval: timedelta, count: int | None, as_json: bool, **thresholds: Any) -> None:
    """Show what `status` shows, live. The key q ends it.

    --json prints one line of JSON for each look, in the shape of 'status --json', and needs no
    terminal.
    """
    from eventbus.workers.monitoring.snapshot import Reader

    if not as_json and not _has_terminal():
        raise click.UsageError(
            "top needs a terminal that can move its cursor; use --json, or 'eventbus status'"
        )
    limits = make_thresholds(**thresholds)
    _silence_logging()
    with Reader(bus_or_settings(DATABASE, BROKER), PATIENCE_SECONDS) as reader:
        if as_json:
            _print_lines(reader, interval.total_seconds(), count, limits)
        else:
            Top(reader, interval.total_seconds(), count, limits).run()


def _has_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _silence_logging() -> None:
    """A library's warning would write across the picture; what matters is shown in it."""
    import logging

    logging.getLogger().addHandler(logging.NullHandler())


# -- JSON -----------------------------------------------------------------------------------------


def _print_lines(reader: Reader, seconds: float, count: int | None, limits: Thresholds) -> None:
    from eventbus.cli.status import as_dict
    from eventbus.workers.monitoring.problems import find_problems

    number = 0
    with _ending_quietly():
        while True:
            began = time.monotonic()
            snapshot = reader.read()
            found = as_dict(snapshot, find_problems(snapshot, limits))
            click.echo(json.dumps(found, default=str))
            number += 1
            if number == count:
                return
            time.sleep(_pause(seconds, time.monotonic() - began))


@contextmanager
def _ending_quietly() -> Iterator[None]:
    """Ctrl-C is how it is meant to end."""
    try:
        yield
    except KeyboardInterrupt:
        return


def _pause(interval: float, took: float) -> float:
    """Seconds until the next look: its own share of a slow server's time is at most a half."""
    return max(interval - took, min(took, 10.0), 0.0)


# -- the picture ----------------------------------------------------------------------------------


class Top:
    """The loop: one thread takes snapshots, the main thread draws and listens to keys."""

    def __init__(
        self, reader: Reader, seconds: float, count: int | None, limits: Thresholds
    ) -> None:
        from rich.console import Console

        from eventbus.cli.screen import History

        self._reader = reader
        self._seconds = seconds
        self._count = count
        self._limits = limits
        self._console: Console = Console(highlight=False, emoji=False, markup=False)
        self._history: History = History()
        self._latest: Snapshot | None = None
        self._ended = threading.Event()
        self._signals: list[int] = []

    def run(self) -> None:
        """Draw until q, a signal or the last look.

        Raises
        ------
        click.exceptions.Exit
            A signal has ended it.
        """
        with ExitStack() as stack:
            inlet, wake = stack.enter_context(_wake_pipe())
            stack.enter_context(_receiving(self._signals.append))
            looks = threading.Thread(target=self._look, args=(wake,), name="looks", daemon=True)
            looks.start()
            stack.callback(looks.join, LEAVE_SECONDS)
            stack.callback(self._ended.set)
            while not self._finished():
                with _terminal(self._console) as live:
                    self._draw_until_interrupted(live, inlet)
                if signal.SIGTSTP in self._signals:
                    self._signals.remove(signal.SIGTSTP)
                    os.kill(os.getpid(), signal.SIGSTOP)  # until somebody continues us
        if self._signals and self._signals[0] != signal.SIGINT:
            raise click.exceptions.Exit(_KILLED)

    def _look(self, wake: Callable[[], None]) -> None:
        number = 0
        while not self._ended.is_set():
            began = time.monotonic()
            snapshot = self._reader.read()
            self._history.add(snapshot)
            self._latest = snapshot
            number += 1
            if number == self._count:
                self._ended.set()
            wake()
            self._ended.wait(_pause(self._seconds, time.monotonic() - began))

    def _finished(self) -> bool:
        return self._ended.is_set() or any(
            number not in (signal.SIGTSTP, signal.SIGWINCH) for number in self._signals
        )

    def _draw_until_interrupted(self, live: Live, inlet: int) -> None:
        keys = [sys.stdin.fileno()] if sys.stdin.isatty() else []
        while True:
            self._draw(live)
            if self._finished() or signal.SIGTSTP in self._signals:
                return
            readable = select.select([inlet, *keys], [], [], REDRAW_SECONDS)[0]
            if inlet in readable:
                os.read(inlet, 4096)
            self._signals[:] = [one for one in self._signals if one != signal.SIGWINCH]
            if keys and keys[0] in readable:
                pressed = os.read(keys[0], 32)
                if not pressed or any(key in pressed for key in _QUITS):
                    self._ended.set()

    def _draw(self, live: Live) -> None:
        from rich.console import Group
        from rich.text import Text

        from eventbus.cli.screen import Frame, draw
        from eventbus.workers.monitoring.problems import find_problems

        snapshot = self._latest
        if snapshot is None:
            live.update(Text(" looking ...", style="dim"), refresh=True)
            return
        frame = Frame(
            snapshot,
            find_problems(snapshot, self._limits),
            self._history,
            age_seconds=max(time.time() - snapshot.taken_at, 0.0),
            interval_seconds=self._seconds,
            unicode=self._console.encoding.startswith("utf"),
        )
        width, height = self._console.size
        live.update(Group(*draw(frame, width, height)), refresh=True)


@contextmanager
def _terminal(console: Console) -> Iterator[Live]:
    """The alternate screen, with keys that come at once and are not shown; restored at the end."""
    from rich.live import Live

    with ExitStack() as stack:
        if sys.stdin.isatty():
            import termios
            import tty

            number = sys.stdin.fileno()
            before = termios.tcgetattr(number)
            stack.callback(termios.tcsetattr, number, termios.TCSADRAIN, before)
            tty.setcbreak(number)
        live = Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False)
        yield stack.enter_context(live)


@contextmanager
def _wake_pipe() -> Iterator[tuple[int, Callable[[], None]]]:
    """A pipe that ends a wait: the numbers of signals are written to it, and what `wake` writes."""
    inlet, outlet = os.pipe()
    os.set_blocking(inlet, False)
    os.set_blocking(outlet, False)
    before = signal.set_wakeup_fd(outlet, warn_on_full_buffer=False)

    def wake() -> None:
        try:
            os.write(outlet, b"\0")
        except OSError:  # full: it will wake up anyway
            return

    try:
        yield inlet, wake
    finally:
        signal.set_wakeup_fd(before)
        # Not closed: a thread that looks may still wake us, and the process ends now.


@contextmanager
def _receiving(on_signal: Callable[[int], None]) -> Iterator[None]:
    """Have signals noted, so that none ends the process with the terminal in disorder."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)
    before = {number: signal.signal(number, lambda n, _: on_signal(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
