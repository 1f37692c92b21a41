"""Runs the demo: sets the stage, lets the story be told, gives the verdict."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.text import Text

from eventbus.settings import mask

from .books import Finding
from .errors import DemoFailed
from .screen import Screen, State, verdict
from .shop import Shop
from .stage import require_packages, set_up
from .story import Story

_BILLING = "eventbus.sample_app.billing.app:bus"

#: Lines of each process's log that a failure shows.
_LOG_LINES = 8


def run(orders: int, sabotaged_billing: str | None) -> int:
    """Run the demo; returns its exit code. See `eventbus.sample_app.demo.main`.

    Parameters
    ----------
    sabotaged_billing:
        The application that the billing workers run instead of their own.
    """
    require_packages()
    folder = Path(tempfile.mkdtemp(prefix="eventbus-demo-"))
    screen = Screen(State(orders))
    failed = False
    try:
        with _terminated_like_interrupted():
            failed = not _perform(orders, sabotaged_billing or _BILLING, folder, screen)
    except KeyboardInterrupt:
        screen.console.print("Interrupted; all processes have ended.")
        return 1
    finally:
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)
    if failed:
        screen.console.print(f"Logs and SQLite files are kept in {folder}", soft_wrap=True)
    return int(failed)


def _perform(orders: int, billing: str, folder: Path, screen: Screen) -> bool:
    """Whether all went well, and was shown to."""
    begin = time.monotonic()
    _introduce(screen)
    with set_up(folder, os.environ, billing) as shop:
        story = Story(shop, orders, screen)
        try:
            with screen:
                story.tell()
        except DemoFailed as failure:
            shop.processes.close()
            _show_failure(str(failure), shop, screen)
            return False
        findings = shop.books.audit(orders, shop.customers.confirmed)
        findings.insert(1, Finding("orders that checkout refused", len(shop.customers.failures), 0))
        accidents = story.accidents.findings()
    return _show_verdict(findings, accidents, screen, time.monotonic() - begin)


def _introduce(screen: Screen) -> None:
    broker = os.environ.get("EVENTBUS_BROKER_URL")
    database = os.environ.get("SHOP_DATABASE_URL")
    redis = os.environ.get("EVENTBUS_REDIS_URL")
    runs_on = [
        f"broker {mask(broker)}" if broker else "the embedded broker",
        f"databases on {mask(database)}" if database else "SQLite",
        *([f"idempotency keys in {mask(redis)}"] if redis else []),
    ]
    screen.console.print(
        Padding(
            Text.assemble(("A shop of four services", "bold"), f"\n{', '.join(runs_on)}"), (1, 0)
        )
    )


def _show_verdict(
    findings: Sequence[Finding],
    accidents: Sequence[tuple[str, bool]],
    screen: Screen,
    seconds: float,
) -> bool:
    good = all(finding.good for finding in findings) and all(ok for _, ok in accidents)
    console = screen.console
    console.print(Padding("Counted in the services' own databases:", (1, 0, 0, 0)))
    console.print(verdict(findings, accidents))
    if good:
        text = "PASS  nothing lost, nobody charged twice, checkout never failed"
    else:
        text = "FAIL  the shop has made mistakes, see above"
    console.print(Text(f"{text} ({seconds:.0f} s)", "bold green" if good else "bold red"))
    return good


def _show_failure(reason: str, shop: Shop, screen: Screen) -> None:
    console = screen.console
    for process in shop.processes.all:
        console.print(Text(f"\n--- {process.name}, exit code {process.exit_code}", "bold"))
        for line in process.log_tail(_LOG_LINES):
            console.print(Text(line), soft_wrap=True)
    for failure in shop.customers.failures[:_LOG_LINES]:
        console.print(Text(f"checkout failed: {failure}"), soft_wrap=True)
    console.print(Text(f"\nFAIL  {reason}", "bold red"), soft_wrap=True)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let TERM and HUP end the processes as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
