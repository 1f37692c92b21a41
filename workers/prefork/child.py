"""A child of the prefork pool: a whole worker whose handlers run on the main thread.

On the main thread, because there a signal can interrupt a handler that sleeps or waits. The
worker's loop has a thread of its own, and so has the conversation with the parent. When the parent
is gone, however it ended, the child drains and ends.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import NoReturn

from eventbus import logs
from eventbus.errors import ConfigurationError, EventBusError, TimeLimitExceeded
from eventbus.workers.execution.host import Deadline
from eventbus.workers.execution.interruption import receive_interruptions
from eventbus.workers.monitoring import stacks
from eventbus.workers.supervisor import exit_process
from eventbus.workers.worker import FLUSH_SECONDS, Worker

from .assignment import Assignment
from .channel import Channel, Message
from .deadline import SharedDeadline
from .memory import resident_bytes

logger = logging.getLogger("eventbus.prefork")

#: How often it reports, and looks at its memory.
REPORT_SECONDS = 1.0

#: The same while it does not consume yet: a parent may wait for it.
START_SECONDS = 0.1

_STOPS = (signal.SIGTERM, signal.SIGHUP)


def main(channel_fd: int, deadline_fd: int) -> NoReturn:
    """Be a child until told to end; must be called on the main thread of a new process."""
    _set_signals()
    channel = Channel(socket.socket(fileno=channel_fd))
    start, *unheard = _first_messages(channel)
    child = Child(channel, SharedDeadline(deadline_fd), unheard)
    exit_process(child.run(Assignment.from_text(start["assignment"])))


def _set_signals() -> None:
    # Ctrl-C goes to the whole group: the parent tells its children what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (*_STOPS, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_STOPS, signal.SIGUSR1, signal.SIGUSR2))
    receive_interruptions()


def _first_messages(channel: Channel) -> list[Message]:
    """The assignment, and what came with it."""
    while True:
        select.select([channel], [], [])
        try:
            messages = channel.receive()
        except EOFError:
            exit_process(0)
        if messages:
            return messages


def _check_memory(most: int | None) -> None:
    """Raise where processes would be replaced for ever, each before its first handler."""
    found = resident_bytes()
    if most is not None and found >= most:
        raise ConfigurationError(
            f"--max-memory-per-child is {most // 10**6} MB, and a process of this application has "
            f"{found // 10**6} MB before its first handler; give more"
        )


class Child:
    """The worker, what runs it, and who talks to the parent."""

    def __init__(
        self, channel: Channel, deadline: SharedDeadline, unheard: Sequence[Message]
    ) -> None:
        self._channel = channel
        self._unheard = unheard
        self._lent: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._leaving = False
        self._told_running = False
        self._ready = False
        self.deadline: Deadline = deadline

    def run(self, assignment: Assignment) -> int:
        """Work until the end, or return the exit code where that cannot begin."""
        try:
            self._options = assignment.options
            bus = assignment.bus()
            _check_memory(assignment.options.max_memory_per_child)
            logs.configure(bus.settings.log_level, bus.settings.log_format)
            self._worker = Worker(bus, assignment.options, host=self)
            self._worker.set_paused(assignment.paused)
        except EventBusError as error:
            return self._failed(error)
        self._wake_up_at_signals()
        for name, target in (("worker", self._serve), ("eventbus-parent", self._converse)):
            threading.Thread(target=target, name=name, daemon=True).start()
        self._lent.get()()
        # Handlers are done. If one was given up it stays here: `_serve` ends the process.
        threading.Event().wait()
        return 0

    def lend(self, work: Callable[[], None]) -> None:
        """Have the main thread call `work`, which runs plain handlers until the pool is closed."""
        self._lent.put(work)

    def retire(self, why: str) -> None:
        """Finish what runs, then end, and let a successor take over; from any thread."""
        if not self._leaving:
            self._leaving = True
            self._channel.send("leaving", why=why)
            self._worker.retire()

    def expire(self, error: TimeLimitExceeded) -> None:
        """A handler cannot be ended but with this process: end it, once its job is settled."""
        self._leaving = True
        # Its parent is patient until the settlement had its time.
        self.deadline.set(time.monotonic() + 2 * FLUSH_SECONDS)
        self._channel.send("leaving", why=f"a handler was ended: {error}")
        self._worker.stop_now()

    # -- the thread of the worker -----------------------------------------------------------------

    def _serve(self) -> None:
        code = 0
        try:
            self._worker.run()
            code = 0 if self._worker.drained else 1
        except EventBusError as error:
            code = self._failed(error)
        except BaseException as error:
            logger.exception("a child ends with a defect of eventbus")
            code = self._failed(error)
        self._channel.send("report", report=self._worker.report().as_dict())
        self._channel.send("ending", exit_code=code)
        exit_process(code)

    def _failed(self, error: BaseException) -> int:
        name = type(error).__name__
        text = str(error) if isinstance(error, EventBusError) else f"unexpected {name}: {error}"
        self._channel.send("failed", error=name, message=text)
        return getattr(error, "exit_code", 1)

    # -- the thread that talks to the parent ------------------------------------------------------

    def _converse(self) -> None:
        for message in self._unheard:
            self._obey(message)
        parent = self._channel.fileno()
        sources = [parent, self._woken]
        next_report = 0.0
        while True:
            now = time.monotonic()
            if now >= next_report:
                try:
                    self._report()
                except Exception:  # of whatever kind: without this thread nobody hears the parent
                    logger.exception("this process cannot report to its parent")
                next_report = now + (REPORT_SECONDS if self._ready else START_SECONDS)
            ready = select.select(sources, [], [], max(next_report - now, 0))[0]
            if self._woken in ready:
                self._on_signals(os.read(self._woken, 4096))
            if parent in ready and not self._listen():
                sources.remove(parent)

    def _wake_up_at_signals(self) -> None:
        # Not by handlers of Python's: they run on the main thread, which may be in C code.
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _STOPS:
                self._worker.stop()
            elif number == signal.SIGUSR1:
                stacks.dump()

    def _listen(self) -> bool:
        """React to what the parent says; False when it is gone."""
        try:
            for message in self._channel.receive():
                self._obey(message)
        except EOFError:
            logger.warning("the parent of this process is gone: draining")
            self._worker.stop()
            return False
        return True

    def _obey(self, message: Message) -> None:
        kind = message["kind"]
        if kind == "paused":
            self._worker.set_paused(frozenset(message["queues"]))
        elif kind == "drain":
            self._leaving = True
            if message["for_good"]:
                self._worker.stop()
            else:
                self._worker.retire()
        elif kind == "stop_now":
            self._worker.stop_now()
        elif kind == "dump_stacks":
            stacks.dump()

    def _report(self) -> None:
        report = self._worker.report()
        self._ready = report.ready
        if not self._told_running and report.state == "running":
            self._told_running = self._channel.send("running")
        self._channel.send("report", report=report.as_dict())
        most = self._options.max_memory_per_child
        if most is not None and resident_bytes() > most:
            self.retire(f"it has more than {most // 10**6} MB of memory")
