"""The processes of the shop: each is started as one would by hand, logs to a file, and ends.

They end with the demo, whichever way it ends: closed in the normal course, and killed by the
kernel (Linux) should the demo itself be killed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from .errors import DemoFailed

#: What a process gets to finish what it is doing before it is killed.
STOP_SECONDS = 8.0

#: Runs a command such that the kernel kills it with its parent; PR_SET_PDEATHSIG is 1. Done by a
#: process of its own, because code between fork and exec can hang in a program with threads.
_DIES_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

#: ``eventbus``, whether or not its script is on the path.
EVENTBUS = (sys.executable, "-c", "from eventbus.cli import main; main()")


class Process:
    """A process of the shop.

    Parameters
    ----------
    name:
        What the story calls it.
    """

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen
        #: Whether its end is part of the story.
        self.may_end = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal that ended it."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Ask it to finish what it is doing and to end."""
        self.may_end = True
        self._popen.terminate()

    def kill(self) -> int:
        """End it on the spot, as a power cut would; returns its exit code."""
        self.may_end = True
        self._popen.kill()
        return self._popen.wait()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None if it still runs after so many seconds."""
        try:
            return self._popen.wait(timeout=max(seconds, 0))
        except subprocess.TimeoutExpired:
            return None

    def log_tail(self, lines: int) -> list[str]:
        """The last `lines` lines that it wrote."""
        return self.log.read_text(errors="replace").splitlines()[-lines:]


class Processes:
    """All processes of the shop; ends them at the end of its ``with`` block.

    Start them on the main thread: the kernel takes the end of the thread that started a process
    for the end of its parent.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self.all: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, name: str, *command: str) -> Process:
        """Start `command` under a name, which is its log file's as well."""
        log = self._folder / f"{name.replace(' ', '-')}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                _dying_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                # Ctrl-C goes to the demo alone, which then ends the others.
                start_new_session=True,
            )
        process = Process(name, popen, log)
        self.all.append(process)
        return process

    def check(self) -> None:
        """Raise `DemoFailed` if a process has ended that should run."""
        for process in self.all:
            if process.exit_code is not None and not process.may_end:
                raise DemoFailed(f"{process.name} ended with exit code {process.exit_code}")

    def close(self) -> None:
        """End all of them: at first politely, all at once."""
        running = [process for process in self.all if process.exit_code is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            if process.wait(deadline - time.monotonic()) is None:
                process.kill()


def _dying_with_us(command: Sequence[str]) -> Sequence[str]:
    if sys.platform != "linux":
        return command
    return (sys.executable, "-S", "-E", "-c", _DIES_WITH_PARENT, str(os.getpid()), *command)
