"""The servers of one fault test, the processes of `tests.faults.shop`, and what they did."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from eventbus import Event, EventBus, database
from tests.waiting import wait_until

_ROOT = Path(__file__).parents[2]


@dataclass
class Process:
    """One ``eventbus`` process; its output goes to a file."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.popen.kill()
        self.popen.wait(10)

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM; returns the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout)

    def wait_killed(self, timeout: float = 30) -> None:
        """Wait until it has killed itself at a crash point."""
        code = self.popen.wait(timeout)
        assert code == -signal.SIGKILL, f"ended with {code}:\n{self.output}"

    def wait_output(self, text: str, timeout: float = 20) -> None:
        """Wait until it has printed `text`."""
        wait_until(lambda: text in self.output, timeout, lambda: f"{text!r} in:\n{self.output}")


@dataclass
class Stack:
    """Settings of the application, a folder for logs, and the processes started on them."""

    environment: dict[str, str]
    folder: Path
    processes: list[Process] = field(default_factory=list)
    application: str = "tests.faults.shop"

    @cached_property
    def shop(self) -> Any:
        """The application, imported in this process with the settings of this stack."""
        os.environ.update(self.environment)
        try:
            sys.modules.pop(self.application, None)
            return importlib.import_module(self.application)
        finally:
            for name in self.environment:
                os.environ.pop(name, None)

    @property
    def bus(self) -> EventBus:
        bus: EventBus = self.shop.bus
        return bus

    def prepare(self) -> None:
        """Create the tables and declare the topology."""
        database.upgrade(self.bus.engine)
        self.shop.metadata.create_all(self.bus.engine)
        admin = self.bus.broker.admin()
        admin.declare(self.bus.topology())
        admin.close()

    def start(self, *arguments: str, **environment: str) -> Process:
        """Start ``eventbus -A <application>:bus <arguments>``."""
        log = self.folder / f"{len(self.processes)}-{arguments[0]}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from eventbus.cli import main; main()",
                    "-A",
                    f"{self.application}:bus",
                    *arguments,
                ],
                cwd=_ROOT,
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        process = Process(popen, log)
        self.processes.append(process)
        return process

    def dispatcher(self, *arguments: str, **environment: str) -> Process:
        return self.start("dispatcher", *arguments, **environment)

    def worker(self, *arguments: str, **environment: str) -> Process:
        return self.start("worker", *arguments, **environment)

    def close(self) -> None:
        """End every process that is left, and this process's own connections."""
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait(10)
        self.bus.engine.dispose()

    # -- publishing and looking ------------------------------------------------------------------

    def publish(self, events: Iterable[Event], key: Any = None) -> list[str]:
        """Publish `events` in one committed transaction."""
        with Session(self.bus.engine) as session, session.begin():
            return self.bus.publish_many(list(events), session=session, key=key)

    def effects(self, handler: str) -> Counter[int]:
        """Item to how often `handler` had its effect on it."""
        table = self.shop.effects
        with self.bus.engine.connect() as connection:
            rows = connection.scalars(sa.select(table.c.item).where(table.c.handler == handler))
            return Counter(rows)

    def wait_effects(self, handler: str, items: Sequence[int], timeout: float = 60) -> None:
        """Wait until `handler` had its effect on each of `items`."""
        wanted = set(items)
        wait_until(
            lambda: wanted <= set(self.effects(handler)),
            timeout,
            lambda: (
                f"{handler} on {len(wanted)} items; missing "
                f"{sorted(wanted - set(self.effects(handler)))[:10]}\n{self.logs()}"
            ),
            interval=0.05,
        )

    def depth(self, queue: str) -> int:
        """Messages ready in the queue of that full name."""
        admin = self.bus.broker.admin()
        try:
            return admin.stats([queue])[queue].messages
        finally:
            admin.close()

    def parked(self, queue: str) -> list[Any]:
        """The messages in a dead-letter queue."""
        admin = self.bus.broker.admin()
        try:
            return list(admin.browse(queue, 10_000))
        finally:
            admin.close()

    def logs(self) -> str:
        """The ends of all outputs, for the message of a failed wait."""
        return "\n".join(f"--- {p.log.name}\n{p.output[-2000:]}" for p in self.processes)
