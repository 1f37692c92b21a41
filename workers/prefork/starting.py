"""How the processes of the pool come into being.

- ``forkserver``: forked from a template process that has imported eventbus and not the application;
  what they have in common is in memory once.
- ``spawn``: a new interpreter for each; slower, and nothing in common.
- ``fork``: forked from a template that has imported the application too: the least memory. Refused
  where importing it opens a connection or starts a thread, which no two processes can share.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from typing import Protocol

from eventbus.errors import ConfigurationError

from .assignment import Assignment
from .channel import Channel, Message
from .deadline import SharedDeadline

#: Asks the template for a child; the descriptors that it is to have come with it.
FORK = b"f"

#: What the template gets to import everything, to fork, and to tell how a child ended.
LAUNCH_SECONDS = 120.0
ANSWER_SECONDS = 30.0
STATUS_SECONDS = 2.0

#: Packages that every child needs, and parts of them that want a configured project.
_SHARED = frozenset(
    (
        "amqp",
        "eventbus",
        "kombu",
        "marshmallow",
        "pika",
        "psycopg",
        "psycopg_binary",
        "pymysql",
        "redis",
        "sqlalchemy",
    )
)
_NOT_SHARED = ("eventbus.cli", "eventbus.django", "eventbus.flask", "eventbus.sample_app")

_CHILD = "eventbus.workers.prefork.child"
_TEMPLATE = "eventbus.workers.prefork.template"


class Starter(Protocol):
    """Makes children, and knows how they ended."""

    def start(self, assignment: Assignment) -> ChildProcess:
        """Start a child, which is to be what `assignment` says."""

    def status(self, pid: int) -> int | None:
        """How a child that is gone has ended, negative for a signal; None if nobody knows."""

    def renew(self) -> None:
        """The next children are to have the code as it is now."""

    def close(self) -> None:
        """There will be no more; those that run stay."""


class ChildProcess:
    """A child as its parent has it."""

    def __init__(self, pid: int, channel: Channel, deadline: SharedDeadline) -> None:
        self.pid = pid
        self.channel = channel
        self.deadline = deadline

    def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of what was for it."""
        self.channel.close()
        self.deadline.close()


def make_starter(assignment: Assignment) -> Starter:
    """The starter that the options in `assignment` ask for."""
    method = assignment.options.start_method
    if method == "spawn":
        return Spawn()
    return Template(assignment if method == "fork" else None)


class Spawn:
    """A new interpreter for each child."""

    def __init__(self) -> None:
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, assignment: Assignment) -> ChildProcess:
        """See `Starter.start`."""
        with _Ends() as ends:
            process = _interpreter(_CHILD, ends.theirs.fileno(), ends.deadline.fd)
            self._processes[process.pid] = process
            return ends.handed_to(process.pid, assignment)

    def status(self, pid: int) -> int | None:
        """See `Starter.status`."""
        # Its end of the channel is closed: it is about to end, if it has not.
        return self._processes.pop(pid).wait()

    def renew(self) -> None:
        """See `Starter.renew`."""

    def close(self) -> None:
        """See `Starter.close`."""
        for process in self._processes.values():
            process.wait()


class Template:
    """Children are forked from one process; when that is killed, another one takes its place.

    Parameters
    ----------
    assignment:
        Whose application the template imports; None if each child does that itself.
    """

    def __init__(self, assignment: Assignment | None) -> None:
        self._assignment = assignment
        self._process: subprocess.Popen[bytes] | None = None
        self._forked: set[int] = set()
        self._statuses: dict[int, int] = {}

    def start(self, assignment: Assignment) -> ChildProcess:
        """See `Starter.start`.

        Raises
        ------
        ConfigurationError
            Nothing can be forked from the template; the text says why.
        """
        for _attempt in range(2):
            with _Ends() as ends, contextlib.suppress(EOFError, OSError):
                if self._process is None:
                    self._launch()
                # With the descriptors the child gets its ends of what it shares with its parent.
                fds = [ends.theirs.fileno(), ends.deadline.fd]
                socket.send_fds(self._end, [FORK], fds)
                pid: int = self._wait_for("forked", ANSWER_SECONDS)["pid"]
                self._forked.add(pid)
                return ends.handed_to(pid, assignment)
            self.close()
        raise ConfigurationError(
            "the process that the children are forked from has ended twice in a row; "
            "use --start-method spawn"
        )

    def status(self, pid: int) -> int | None:
        """See `Starter.status`."""
        with contextlib.suppress(EOFError, OSError):
            while pid in self._forked and pid not in self._statuses:
                self._wait_for("exited", STATUS_SECONDS)
        self._forked.discard(pid)
        status = self._statuses.pop(pid, None)
        return _reaped(pid) if status is None else status

    def renew(self) -> None:
        """See `Starter.renew`."""
        self.close()

    def close(self) -> None:
        """See `Starter.close`."""
        if self._process is not None:
            self._channel.close()
            self._process.kill()
            self._process.wait()
            self._process = None
            self._forked.clear()

    def _launch(self) -> None:
        self._end, theirs = socket.socketpair()
        self._channel = Channel(self._end)
        self._unread: deque[Message] = deque()
        with theirs:
            self._process = _interpreter(_TEMPLATE, theirs.fileno())
        application = None if self._assignment is None else self._assignment.to_text()
        self._channel.send("start", modules=modules_to_share(), application=application)
        self._wait_for("ready", LAUNCH_SECONDS)

    def _wait_for(self, kind: str, seconds: float) -> Message:
        """The next message of that kind; those that tell of ends are noted."""
        deadline = time.monotonic() + seconds
        while True:
            while self._unread:
                message = self._unread.popleft()
                if message["kind"] == "exited":
                    self._statuses[message["pid"]] = message["status"]
                if message["kind"] == "refused":
                    raise ConfigurationError(message["message"])
                if message["kind"] == kind:
                    return message
            if not select.select([self._end], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise TimeoutError
            self._unread.extend(self._channel.receive())


def _reaped(pid: int) -> int | None:
    """The status of a child whose template is gone; it is ours now where we are process 1."""
    deadline = time.monotonic() + STATUS_SECONDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
    return None


class _Ends:
    """What a parent makes for a child; closed again unless the child was started."""

    def __enter__(self) -> _Ends:
        self.ours, self.theirs = socket.socketpair()
        self.deadline = SharedDeadline.create()
        self._handed = False
        return self

    def handed_to(self, pid: int, assignment: Assignment) -> ChildProcess:
        """The child that has them now."""
        self._handed = True
        child = ChildProcess(pid, Channel(self.ours), self.deadline)
        child.channel.send("start", assignment=assignment.to_text())
        return child

    def __exit__(self, *_: object) -> None:
        self.theirs.close()
        self.deadline.forget_fd()
        if not self._handed:
            self.ours.close()
            self.deadline.close()


def modules_to_share() -> list[str]:
    """What this process has imported of eventbus and of the libraries it stands on."""
    return [
        name
        for name in list(sys.modules)
        if name.partition(".")[0] in _SHARED and not name.startswith(_NOT_SHARED)
    ]


def _interpreter(module: str, *fds: int) -> subprocess.Popen[bytes]:
    # The path first: eventbus itself may be on it only because of what the parent did.
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
        f"from {module} import main; main(*map(int, sys.argv[2:]))"
    )
    command = [sys.executable, "-c", code, json.dumps(sys.path), *map(str, fds)]
    return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL)
