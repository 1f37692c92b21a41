"""The real ``eventbus`` in a subprocess, in a folder of its own, on the embedded default."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eventbus import database
from eventbus.database import make_engine
from tests.waiting import wait_until

#: In every URL of these tests; no output may ever show it.
PASSWORD = "hunter2"

APPLICATION = """
import os
import sys
import time
from uuid import UUID

from eventbus import Event, EventBus, Retry

bus = EventBus("shop")


class OrderPaid(Event, name="order.paid"):
    order_id: UUID
    amount: int = 1


def say(text):
    # In one piece: the parts that print() writes may mix with those of another thread.
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()


@bus.handler("order.paid", queue="billing")
def charge(event: OrderPaid) -> None:
    while os.path.exists("hold"):
        time.sleep(0.02)
    say(f"charged {event.order_id}")


@bus.handler("order.*", queue="ledger", retry=Retry(max_attempts=1))
def book(event: OrderPaid) -> None:
    if event.amount == 13 and not os.path.exists("mended"):
        raise ValueError("unlucky")
    say(f"booked {event.order_id}")
"""

ORDER = "0190a0a0-0000-7000-8000-00000000000"


@dataclass
class Shop:
    """A folder with the application ``shop``, and the command line in it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("eventbus")), *arguments]

    def env(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        clean = {name: v for name, v in os.environ.items() if not name.startswith("EVENTBUS_")}
        # A test process that another one has started is told 80; here each terminal has its size.
        clean.pop("COLUMNS", None)
        return {**clean, **self.environment, **(extra or {})}

    def run(
        self,
        *arguments: str,
        stdin: str | bytes = b"",
        env: dict[str, str] | None = None,
        traceback: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``eventbus`` to its end; whatever it was told, no traceback and no password.

        `traceback` is for what shows the traceback of a parked message.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            self.command(*arguments),
            input=data,
            capture_output=True,
            cwd=self.folder,
            env=self.env(env),
            timeout=60,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert ("Traceback" in out) is traceback
        assert "Traceback" not in err
        assert PASSWORD not in out + err
        assert "\x1b" not in out + err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def json(self, *arguments: str, traceback: bool = False) -> Any:
        """Run a command with ``--json`` and return what it printed."""
        done = self.run(*arguments, "--json", traceback=traceback)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def publish(self, number: int = 1, amount: int = 1, **options: str) -> str:
        """Publish an order; returns the event's id."""
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        done = self.run(
            "events",
            "publish",
            "order.paid",
            json.dumps({"order_id": f"{ORDER}{number}", "amount": amount}),
            *arguments,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def outbox_rows(self) -> int:
        """How many events are in the outbox."""
        with sqlite3.connect(self.folder / "eventbus.db") as connection:
            return int(connection.execute("SELECT count(*) FROM eventbus_outbox").fetchone()[0])

    @contextmanager
    def process(
        self, *arguments: str, env: dict[str, str] | None = None, log: str = ""
    ) -> Iterator[Process]:
        """A process that stays; killed at the end if it is still there.

        Several at a time need different names for their `log`.
        """
        out, err = self.folder / f"{log}out.log", self.folder / f"{log}err.log"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            popen = subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=self.env(env),
                stdout=out_file,
                stderr=err_file,
            )
        try:
            yield Process(popen, out, err)
        finally:
            popen.kill()
            popen.wait()


@dataclass
class Process:
    """A running ``eventbus``."""

    popen: subprocess.Popen[bytes]
    out_file: Path
    err_file: Path

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def err(self) -> str:
        return self.err_file.read_text()

    def wait_for(self, text: str, *, in_err: bool = False) -> None:
        """Wait until it has printed `text`."""
        wait_until(
            lambda: text in (self.err if in_err else self.out),
            30,
            lambda: f"{text!r} in the output; its errors: {self.err}",
        )

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.send(number)
        return self.popen.wait(30)


@pytest.fixture
def bare(tmp_path: Path) -> Shop:
    """The application, named by EVENTBUS_APP; no database yet."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    return Shop(tmp_path, {"EVENTBUS_APP": "shop"})


@pytest.fixture
def shop(bare: Shop) -> Shop:
    """The application, and a database with its tables."""
    database.upgrade(make_engine(f"sqlite:///{bare.folder / 'eventbus.db'}"))
    return bare
