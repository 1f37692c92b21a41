"""The stack of the pool tests: `tests.faults.pool_shop`, and what its handlers noted."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from eventbus import Event, database
from eventbus.workers.dispatcher import Dispatcher
from tests.faults.stack import Process, Stack
from tests.waiting import wait_until


@dataclass
class PoolStack(Stack):
    """As `Stack`, with workers of any pool."""

    application: str = "tests.faults.pool_shop"

    def __post_init__(self) -> None:
        self.environment["POOL_NOTES"] = str(self.folder / "notes")
        self.environment["POOL_GO"] = str(self.folder / "go")

    def prepare(self) -> None:
        database.upgrade(self.bus.engine)
        admin = self.bus.broker.admin()
        admin.declare(self.bus.topology())
        admin.close()

    def send(self, *events: Event) -> None:
        """Put `events` into their queues."""
        self.publish(events)
        Dispatcher(self.bus).run_once()

    def go(self) -> None:
        """Let the gated handlers end."""
        Path(self.environment["POOL_GO"]).touch()

    def notes(self, what: str) -> list[tuple[int, int]]:
        """Item and process of each line of that kind."""
        try:
            lines = Path(self.environment["POOL_NOTES"]).read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [line.split() for line in lines]
        return [(int(item), int(pid)) for kind, item, pid in found if kind == what]

    def items(self, what: str) -> Counter[int]:
        """Item to how often that happened."""
        return Counter(item for item, _pid in self.notes(what))

    def pids(self, what: str) -> list[int]:
        """The processes in which that happened, in order of the lines."""
        return [pid for _item, pid in self.notes(what)]

    def wait_notes(self, what: str, count: int = 1, timeout: float = 60) -> None:
        """Wait until that happened so often."""
        wait_until(
            lambda: len(self.notes(what)) >= count,
            timeout,
            lambda: f"{count} times {what}, seen {self.notes(what)}\n{self.logs()}",
        )

    def wait_empty(self, queue: str, timeout: float = 60) -> None:
        """Wait until nothing is ready in the queue of that short name."""
        wait_until(
            lambda: self.depth(f"pools.{queue}") == 0,
            timeout,
            lambda: f"nothing in {queue}, it holds {self.depth(f'pools.{queue}')}\n{self.logs()}",
        )


def children(process: Process) -> set[int]:
    """The workers of a prefork pool, without the process that they are forked from."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
        return {child.pid for child in family if not _is_template(child)}
    except psutil.NoSuchProcess:
        return set()


def _is_template(process: psutil.Process) -> bool:
    # A forked child has its template's command line, and the template for a parent.
    parent = process.parent()
    return "prefork.template" in " ".join(process.cmdline()) and (
        parent is None or "prefork.template" not in " ".join(parent.cmdline())
    )


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        os.kill(pid, 0)
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
