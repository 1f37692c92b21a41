"""``status`` and ``top`` on real processes and in a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import sqlite3
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until

from .conftest import ORDER, Shop

LEAVES_ALTERNATE_SCREEN = b"\x1b[?1049l"
HOME = b"\x1b[H"
SHOWS_CURSOR = b"\x1b[?25h"


@pytest.fixture(params=["embedded", "rabbitmq"])
def site(request: pytest.FixtureRequest, shop: Shop) -> Shop:
    """The shop on each broker; the database is SQLite."""
    if request.param == "rabbitmq":
        shop.environment["EVENTBUS_BROKER_URL"] = request.getfixturevalue("broker_url")
    return shop


def kinds(status: dict[str, Any]) -> set[str]:
    return {problem["kind"] for problem in status["problems"]}


def is_settled(status: dict[str, Any]) -> bool:
    """One message is parked, and each service has reported since it is ready."""
    ready = [process["ready"] for process in status["processes"]]
    return status["queues"][1]["dead_letters"] == 1 and ready == [True, True]


# -- status ---------------------------------------------------------------------------------------


def test_status_tells_of_processes_queues_and_what_failed(site: Shop) -> None:
    with site.process("run") as process:
        site.publish(1, amount=13)
        process.wait_for(f"charged {ORDER}1")
        status = wait_until(
            lambda: is_settled(found := site.json("status")) and found,
            60,
            lambda: f"a dead letter: {process.err}",
        )
        text = site.run("status")
        checked = site.run("status", "--check")
        lenient = site.run("status", "--check", "--max-dead-letters", "1")
        assert process.end() == 0
    assert (status["service"], status["ok"], status["away"]) == ("shop", False, {})
    assert [(one["kind"], one["ready"]) for one in status["processes"]] == [
        ("dispatcher", True),
        ("worker", True),
    ]
    billing, ledger = status["queues"]
    assert (billing["queue"], billing["consumers"], billing["ready"]) == ("shop.billing", 1, 0)
    assert (ledger["queue"], ledger["dead_letters"]) == ("shop.ledger", 1)
    assert kinds(status) == {"dead-letters"}
    assert status["outbox"]["pending"] == 0
    assert set(status["rates"]) == {"published", "handled", "failed"}
    assert text.stdout.startswith("1 problem\n  ! 1 message in shop.ledger.dlq")
    assert text.returncode == 0
    assert checked.returncode == 4
    assert lenient.returncode == 0
    # It has said goodbye.
    assert site.json("status")["processes"] == []


def test_a_process_that_was_killed_is_told(shop: Shop) -> None:
    with shop.process("run") as process:
        wait_until(lambda: len(shop.json("status")["processes"]) == 2, 60, "two services")
        process.popen.kill()
        process.popen.wait()
    with sqlite3.connect(shop.folder / "eventbus.db") as connection:
        connection.execute("UPDATE eventbus_process SET lease_until_ms = lease_until_ms - 30000")
    status = shop.json("status")
    assert [one["gone"] for one in status["processes"]] == [True, True]
    assert "gone" in kinds(status)
    assert "was killed or is cut off" in shop.run("status").stdout


# -- top ------------------------------------------------------------------------------------------


class Terminal:
    """A terminal with ``eventbus top`` in it, of which everything that it wrote is kept."""

    def __init__(self, shop: Shop, *arguments: str, **environment: str) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(100, 30)
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        os.set_blocking(self.master, False)
        self.popen = subprocess.Popen(
            shop.command("top", *arguments),
            cwd=shop.folder,
            env=shop.env({"TERM": "xterm-256color", "LANG": "C.UTF-8", **environment}),
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self) -> bytes:
        """What it has written so far."""
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                self.output += os.read(self.master, 65536)
        return self.output

    def wait_for(self, text: str) -> None:
        wait_until(
            lambda: text.encode() in self.read(), 60, lambda: f"{text!r} in {self.output[-3000:]!r}"
        )

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_end(self) -> int:
        """Its exit code; it must have left the terminal as it was."""

        def ended() -> bool:
            self.read()  # a full terminal would keep it from ending
            return self.popen.poll() is not None

        wait_until(ended, 30, "its end")
        output = self.read()
        assert LEAVES_ALTERNATE_SCREEN in output
        assert SHOWS_CURSOR in output[output.index(LEAVES_ALTERNATE_SCREEN) - 20 :]
        assert termios.tcgetattr(self.slave) == self.before
        return self.popen.returncode


@contextlib.contextmanager
def terminal(shop: Shop, *arguments: str, **environment: str) -> Iterator[Terminal]:
    one = Terminal(shop, *arguments, **environment)
    try:
        yield one
    finally:
        one.popen.kill()
        one.popen.wait()
        os.close(one.master)
        os.close(one.slave)


@pytest.mark.parametrize(
    ("end", "code"),
    [(b"q", 0), (b"\x03", 0), (signal.SIGTERM, 1), (signal.SIGHUP, 1)],
    ids=["q", "ctrl-c", "term", "hup"],
)
def test_every_way_out_restores_the_terminal(
    shop: Shop, end: bytes | signal.Signals, code: int
) -> None:
    with terminal(shop) as top:
        top.wait_for("shop.billing")
        if isinstance(end, bytes):
            top.press(end)
        else:
            top.popen.send_signal(end)
        assert top.wait_end() == code


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(shop: Shop) -> None:
    with terminal(shop) as top:
        top.wait_for("shop.billing")
        top.press(b"\x1a")
        stat = Path(f"/proc/{top.popen.pid}/stat")
        wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", 30, "it stops")
        assert LEAVES_ALTERNATE_SCREEN in top.read()
        assert termios.tcgetattr(top.slave) == top.before
        top.output = b""
        top.popen.send_signal(signal.SIGCONT)
        top.wait_for("shop.billing")
        top.press(b"q")
        assert top.wait_end() == 0


def test_it_is_drawn_anew_when_the_terminal_changes_its_size(shop: Shop) -> None:
    with terminal(shop, "--interval", "1h") as top:
        top.wait_for("MEAN RUN")
        top.resize(60, 20)
        top.popen.send_signal(signal.SIGWINCH)

        def is_narrow() -> bool:
            # The last picture: one of the old size may still have been on its way.
            picture = top.read().rpartition(HOME)[2]
            return b"shop.billing" in picture and b"MEAN RUN" not in picture

        wait_until(is_narrow, 60, lambda: f"a narrow picture: {top.output[-3000:]!r}")
        top.press(b"q")
        assert top.wait_end() == 0


def test_no_color_is_respected(shop: Shop) -> None:
    with terminal(shop, "--count", "2", "--interval", "200ms", NO_COLOR="1") as top:
        assert top.wait_end() == 0
    assert b"shop.billing" in top.output
    for colour in range(30, 38):
        assert f"\x1b[{colour}m".encode() not in top.output
    assert b"\x1b[38;" not in top.output


def test_a_database_that_goes_away_is_shown_and_comes_back(shop: Shop) -> None:
    file = shop.folder / "eventbus.db"
    with terminal(shop, "--interval", "200ms") as top:
        top.wait_for("is declared and not on")
        hidden = file.rename(shop.folder / "hidden.db")
        top.wait_for("is not there")
        hidden.rename(file)
        top.output = b""
        top.wait_for("is declared and not on")
        assert not top.popen.poll()
        top.press(b"q")
        assert top.wait_end() == 0
