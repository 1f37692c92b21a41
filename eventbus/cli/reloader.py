"""``--reload``: restarts a command when the application's code changes, for development.

The process that watches never imports the application, so that no code can end it. What works is
a child, started anew after each change.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import FrameType

from eventbus.cli.relaunch import Launch
from eventbus.cli.terminal import print_note
from eventbus.errors import ConfigurationError

#: In the environment of a child: who watches.
_WATCHER = "_EVENTBUS_RELOADER"

#: What running handlers get to finish when the code changes; at a stop they get
#: ``--shutdown-timeout``.
DRAIN_SECONDS = 5.0

#: What a child gets after its second TERM.
GRACE_SECONDS = 7.0

#: How often the watcher looks after its child while nothing changes.
LOOK_MS = 200

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def is_child() -> bool:
    """Whether this process is what a reloader started."""
    return bool(os.environ.get(_WATCHER))


def require_watchfiles() -> None:
    """Raise `ConfigurationError` where what watches the files is not installed."""
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigurationError(
            "--reload needs watchfiles; install it with: pip install 'eventbus[reload]'"
        )


def end_with_watcher() -> None:
    """Drain this process when the reloader that started it has been killed."""

    def watch() -> None:
        while os.getppid() == watcher:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = int(os.environ[_WATCHER])
    threading.Thread(target=watch, name="eventbus-reloader", daemon=True).start()


class Reloader:
    """Runs `launch` in a child, and again whenever a ``.py`` file below its folder changes."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._child: subprocess.Popen[bytes]
        self._signals: deque[int] = deque()
        self._stopping = False
        self._told = False

    def run(self) -> int:
        """Watch until a TERM or an INT; returns the child's exit code."""
        from watchfiles import PythonFilter, watch

        for number in _FORWARDED:
            signal.signal(number, self._note)
        self._start()
        for changes in watch(
            self._launch.folder,
            watch_filter=PythonFilter(),
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            self._forward()
            if self._stopping and self._child.poll() is not None:
                break
            if changes and not self._stopping:
                self._restart(sorted(path for _, path in changes))
            self._look_after_child()
        code = self._child.wait()
        return code if code >= 0 else 1

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _start(self) -> None:
        self._told = False
        self._child = self._launch.child(**{_WATCHER: str(os.getpid())})

    def _forward(self) -> None:
        while self._signals:
            number = self._signals.popleft()
            self._stopping |= number in (signal.SIGTERM, signal.SIGINT)
            # A Ctrl-C goes to everything in the terminal's foreground: the child has it already.
            if self._child.poll() is None and not (number == signal.SIGINT and _in_foreground()):
                self._child.send_signal(number)

    def _restart(self, paths: list[str]) -> None:
        names = [os.path.relpath(path, self._launch.folder) for path in paths]
        print_note(f"reload: {', '.join(names[:3])}{', …' if names[3:] else ''} changed")
        self._end_child()
        self._start()

    def _end_child(self) -> None:
        for seconds in (DRAIN_SECONDS, GRACE_SECONDS):
            if self._child.poll() is None:
                self._child.terminate()
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return
        self._child.kill()
        self._child.wait()

    def _look_after_child(self) -> None:
        code = self._child.poll()
        if code is not None and not self._told and not self._stopping:
            self._told = True
            print_note(f"reload: it ended with {code}; waiting for the next change")


def watched(launch: Launch) -> str:
    """What is watched, for the banner."""
    return f"when a .py file below {Path(launch.folder)} changes; for development only"


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False
