"""Runs services until a signal or an error ends them.

A service is a dispatcher or a worker: something that runs until it is stopped. Each has a thread
of its own; the main thread waits for signals, because Python delivers them there.

- TERM, INT: the first drains, a second one stops at once.
- HUP: new code. A pool of processes replaces them one after the other; what cannot is drained, and
  `supervise` returns `Ending.RESTART`.
- USR1: the stacks of all threads go to the log.

No signal's handler does anything but note the signal, so none can meet a lock that its own thread
holds.
"""

from __future__ import annotations

import enum
import logging
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol, runtime_checkable

from .monitoring import stacks
from .monitoring.report import Report
from .startup import Startup

logger = logging.getLogger("eventbus.supervisor")

#: What services get to give their messages back after `Service.stop_now`.
GRACE_SECONDS = 5.0

#: Two signals closer than this are one: `timeout` and some shells send theirs to the process and
#: then to its group, which it is in.
SAME_SIGNAL_SECONDS = 0.2

_STOPS = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*_STOPS, signal.SIGHUP, signal.SIGUSR1)
#: Those that would kill a process which has not come to `supervise` yet.
_LATER = (signal.SIGHUP, signal.SIGUSR1)

#: In the pipe beside the numbers of signals; no signal has it.
_NOTICE = b"\0"


class Service(Protocol):
    """What runs in a process of ours. `stop` and `stop_now` may be called from any thread."""

    #: Whether everything that was under way was finished when `run` returned.
    drained: bool

    def run(self) -> None:
        """Work until stopped; return when it has ended, raise when it cannot go on."""

    def stop(self) -> None:
        """Take nothing new, finish what is under way, then let `run` return."""

    def stop_now(self) -> None:
        """Give back what is under way and let `run` return."""

    def report(self) -> Report:
        """What it does now."""


@runtime_checkable
class Parent(Protocol):
    """A service that has its work done by processes of its own."""

    def replace(self) -> bool:
        """Begin to replace them by new ones, which import the application anew; does not wait.

        One after the other, so that the work goes on; meanwhile the state of `Service.report` is
        ``replacing``. False where new ones would have the code of before, as after a fork: the
        whole process has to start afresh then.
        """

    def dump_stacks(self) -> None:
        """Have each of them write its stacks to the log."""


class Announcer(Protocol):
    """Who is told what the process is about to do: systemd."""

    def reloading(self) -> None:
        """New code is being loaded."""

    def stopping(self) -> None:
        """The process drains, and ends."""


class Ending(enum.IntEnum):
    """How `supervise` ended; the first two are exit codes."""

    DRAINED = 0
    #: A second signal, or something was left unfinished.
    UNFINISHED = 1
    #: Everything was drained, for the process to start afresh.
    RESTART = -1


def note_signals(*, stops: bool = False) -> None:
    """Keep HUP and USR1 for `supervise`, from now on: by default each would end the process.

    Call it first of all: importing an application takes its time.

    Parameters
    ----------
    stops:
        TERM and INT too, shortly before `supervise`; an import that hangs should be ended by them.
        So does a process that starts afresh: its code was tried, and it is to drain as it was.
    """
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for number in _SIGNALS if stops or signal.SIGTERM in held else _LATER:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _note)
    # Blocked by `hold_signals`, before this process was executed.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def hold_signals() -> bool:
    """Keep signals waiting until `note_signals`, also through an ``exec``.

    Returns
    -------
    bool
        Whether the process may start afresh: no stop came after `supervise` had ended.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    return not any(number in _STOPS for number in _noted)


def supervise(
    services: Mapping[str, Service],
    *,
    startup: Startup | None = None,
    announcer: Announcer | None = None,
    trial: Callable[[], str | None] | None = None,
) -> Ending:
    """Run `services`, by the name to call them in the log, until all of them have ended.

    Must be called on the main thread. When one service ends, by itself or with an error, the
    others are drained.

    Parameters
    ----------
    startup:
        What to do before a service runs, and how long to wait for servers that are away.
    announcer:
        Told before the services are drained or replaced.
    trial:
        Called on a thread at a HUP: why the new code cannot be loaded, or None where it can. With
        code that cannot be loaded a HUP changes nothing.

    Raises
    ------
    BaseException
        What a service raised, the first one.
    """
    return _Supervisor(services, startup or Startup(), announcer, trial).run()


def exit_process(code: int) -> NoReturn:
    """End this process now with `code`.

    A handler that ignores the stop still runs on its thread, and Python would wait for it.
    """
    flush_output()
    os._exit(code)


def flush_output() -> None:
    """Write out what is still in buffers, before this process ends without Python's own care."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


class _Supervisor:
    """Waits on a pipe for signals and for notices of other threads.

    Not on a queue: Python runs a signal's handler only when the main thread wakes up, and a signal
    that comes a moment before it begins to wait, or to another thread, does not wake it. What
    `signal.set_wakeup_fd` writes does.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        startup: Startup,
        announcer: Announcer | None,
        trial: Callable[[], str | None] | None,
    ) -> None:
        self._services = services
        self._startup = startup
        self._announcer = announcer
        self._trial = trial
        self._running = set(services)
        self._notices: list[Callable[[], None]] = []
        self._notifying = threading.Lock()
        self._error: BaseException | None = None
        self._stops = 0
        self._last_stop = -SAME_SIGNAL_SECONDS
        self._on_trial = False
        self._restart = False
        self._stopping = threading.Event()
        self._terminal = _has_terminal()
        self._inlet, self._outlet = os.pipe()
        os.set_blocking(self._inlet, False)
        os.set_blocking(self._outlet, False)

    def run(self) -> Ending:
        try:
            with self._receiving_signals():
                self._start()
                while self._running and self._stops < 2:
                    self._wait(None)
                if self._running:
                    self._stop_now()
        finally:
            self._close()
        if self._error is not None:
            raise self._error
        return self._ending()

    def _ending(self) -> Ending:
        if self._restart and not self._running:
            return Ending.RESTART
        drained = all(service.drained for service in self._services.values())
        return Ending.DRAINED if drained and self._stops < 2 else Ending.UNFINISHED

    def _start(self) -> None:
        for name, service in self._services.items():
            arguments = (name, service)
            threading.Thread(target=self._serve, args=arguments, name=name, daemon=True).start()
        while _noted:
            self._on_signal(_noted.popleft())

    def _close(self) -> None:
        # A service that did not end would write into whatever gets the number next.
        if not self._running:
            os.close(self._inlet)
            os.close(self._outlet)

    @contextmanager
    def _receiving_signals(self) -> Iterator[None]:
        before_fd = signal.set_wakeup_fd(self._outlet, warn_on_full_buffer=False)
        before = {number: signal.signal(number, _ignore) for number in _SIGNALS}
        if before[signal.SIGHUP] is signal.SIG_IGN:
            # `nohup`: it is to live on when the terminal has gone.
            self._terminal = False
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_fd)

    def _serve(self, name: str, service: Service) -> None:
        try:
            self._startup.run(name, service, self._stopping)
        except BaseException as error:  # the main thread raises it
            self._error = self._error or error
        finally:
            self._notify(lambda: self._on_end(name))

    def _notify(self, notice: Callable[[], None]) -> None:
        """Have the main thread call `notice`; from any thread."""
        # Both or none: the main thread closes the pipe after the last notice.
        with self._notifying:
            self._notices.append(notice)
            os.write(self._outlet, _NOTICE)

    def _wait(self, timeout: float | None) -> None:
        """Wait for something to happen, and react to all that has."""
        if not select.select([self._inlet], [], [], timeout)[0]:
            return
        for number in os.read(self._inlet, 4096):
            if number in _SIGNALS:
                self._on_signal(number)
        with self._notifying:
            notices = list(self._notices)
            self._notices.clear()
        for notice in notices:
            notice()

    def _on_end(self, name: str) -> None:
        self._running.discard(name)
        if self._running:
            self._drain()

    # -- signals ------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._dump_stacks()
        elif number != signal.SIGHUP:
            self._on_stop(signal.Signals(number))
        elif self._terminal and not _has_terminal():
            logger.info("the terminal has gone")
            self._on_stop(signal.SIGHUP)
        else:
            self._on_hup()

    def _on_stop(self, number: signal.Signals) -> None:
        now = time.monotonic()
        same = now - self._last_stop < SAME_SIGNAL_SECONDS
        self._last_stop = now
        if same:
            return
        self._stops += 1
        if self._stops == 1:
            self._restart = False
            logger.info("%s: draining; a second one stops at once", number.name)
            if self._announcer is not None:
                self._announcer.stopping()
            self._drain()

    def _dump_stacks(self) -> None:
        # Not here: a thread that hangs may hold the log's lock, and then nobody would see a TERM.
        threading.Thread(target=stacks.dump, name="eventbus-stacks", daemon=True).start()
        for service in self._services.values():
            if isinstance(service, Parent):
                service.dump_stacks()

    # -- new code -----------------------------------------------------------------------------

    def _on_hup(self) -> None:
        if self._on_trial or self._stopping.is_set() or self._is_replacing():
            logger.info("HUP: not now, a stop or a restart is under way already")
            return
        self._on_trial = True
        threading.Thread(target=self._try_code, name="eventbus-trial", daemon=True).start()

    def _is_replacing(self) -> bool:
        return any(service.report().state == "replacing" for service in self._services.values())

    def _try_code(self) -> None:
        problem = None
        try:
            problem = self._trial() if self._trial is not None else None
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        self._notify(lambda: self._on_tried(problem))

    def _on_tried(self, problem: str | None) -> None:
        self._on_trial = False
        if self._stopping.is_set():
            return
        if problem is not None:
            logger.error("HUP: nothing is changed, as the new code cannot be loaded: %s", problem)
            return
        if self._announcer is not None:
            self._announcer.reloading()
        if self._replace():
            logger.info("HUP: replacing the processes of the pool, one after the other")
            return
        logger.info("HUP: draining, then this process starts afresh")
        self._restart = True
        self._drain()

    def _replace(self) -> bool:
        """Whether every service could do it by itself."""
        parents = [service for service in self._services.values() if isinstance(service, Parent)]
        return len(parents) == len(self._services) and all(p.replace() for p in parents)

    # -- stopping -----------------------------------------------------------------------------

    def _drain(self) -> None:
        self._stopping.set()
        for name in self._running:
            self._services[name].stop()

    def _stop_now(self) -> None:
        logger.warning("second signal: stopping at once, unfinished messages go back")
        for name in self._running:
            self._services[name].stop_now()
        deadline = time.monotonic() + GRACE_SECONDS
        while self._running:
            left = deadline - time.monotonic()
            if left <= 0:
                logger.error("not stopped within %g s: %s", GRACE_SECONDS, sorted(self._running))
                return
            self._wait(left)


#: Signals that came before `supervise` was called.
_noted: deque[int] = deque()


def _note(number: int, frame: FrameType | None) -> None:
    _noted.append(number)


def _ignore(number: int, frame: FrameType | None) -> None:
    """What it has to say is in the pipe."""


def _has_terminal() -> bool:
    """Whether this process has a terminal that controls it, which is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
