"""The process that children are forked from; it does nothing else.

It has one thread and no connection, so that a fork copies nothing that two processes could not
share. It ends when its parent is gone; the children that it made do not depend on it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from eventbus.errors import EventBusError

from . import child
from .assignment import Assignment
from .channel import Channel, Message

#: What stops and reports go to: the parent decides. Children take over what they need of them.
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main(control_fd: int) -> NoReturn:
    """Fork children as the parent asks for them; must be called on the main thread."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    channel = Channel(control)
    try:
        _prepare(_first(channel))
    except EventBusError as error:
        channel.send("refused", message=str(error))
        os._exit(error.exit_code)
    # What is there now is used by all children: the collector shall not write into it.
    gc.collect()
    gc.freeze()
    channel.send("ready")
    _serve(control, channel)
    os._exit(0)


def _first(channel: Channel) -> Message:
    while True:
        select.select([channel], [], [])
        for message in channel.receive():
            return message


def _prepare(start: Message) -> None:
    for name in start["modules"]:
        # What is missing here a child imports itself, and says what is wrong.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if start["application"] is not None:
        assignment = Assignment.from_text(start["application"])
        before = set(_open_files())
        assignment.bus()
        check_can_be_forked(assignment.application, set(_open_files()) - before)


def check_can_be_forked(application: str, opened: Iterable[str]) -> None:
    """Raise `EventBusError` where the import left something that two processes cannot share."""
    found = sorted(opened)
    if threading.active_count() > 1:
        found.append(f"{threading.active_count() - 1} thread(s)")
    if found:
        raise EventBusError(
            f"importing {application!r} opened {', '.join(found)}, which forked processes would "
            f"share; open it later, or use --start-method forkserver"
        )


def _open_files() -> Iterator[str]:
    """Sockets, and files that are open for reading and writing, as a database's file is."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            target = os.readlink(link)
            flags = int(_fdinfo(link.name)["flags"], 8)
            is_file = target.startswith("/") and not target.startswith("/dev/")
            if target.startswith("socket:"):
                yield f"a connection (descriptor {link.name})"
            elif is_file and flags & os.O_ACCMODE == os.O_RDWR:
                yield target


def _fdinfo(number: str) -> dict[str, str]:
    lines = Path(f"/proc/self/fdinfo/{number}").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _serve(control: socket.socket, channel: Channel) -> None:
    """Fork and reap until the parent is gone."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    while True:
        ready = select.select([control.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            for pid, status in _ended():
                channel.send("exited", pid=pid, status=status)
        if control.fileno() in ready:
            asked, fds, _flags, _address = socket.recv_fds(control, 1, 2)
            if not asked:
                return
            _fork(channel, fds, (control.fileno(), woken, wake))


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended[0], os.waitstatus_to_exitcode(ended[1])


def _fork(channel: Channel, fds: list[int], ours: Iterable[int]) -> None:
    pid = os.fork()
    if pid == 0:
        _be_child(fds, ours)
    for fd in fds:
        os.close(fd)
    channel.send("forked", pid=pid)


def _be_child(fds: list[int], template_fds: Iterable[int]) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for fd in template_fds:
            os.close(fd)
        child.main(*fds)
    except BaseException as error:
        sys.stderr.write(f"a child could not start: {error!r}\n")
    finally:
        os._exit(1)
