"""Runs services until a signal or an error ends them.

A service is a dispatcher or a worker: something that runs until it is stopped. Each has a thread
of its own; the main thread waits for signals, because Python delivers them there. The first TERM
or INT drains, a second one stops at once.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol

from .report import Report

logger = logging.getLogger("eventbus.supervisor")

#: What services get to give their messages back after `Service.stop_now`.
GRACE_SECONDS = 5.0

#: Two signals closer than this are one: `timeout` and some shells send theirs to the process and
#: then to its group, which it is in.
SAME_SIGNAL_SECONDS = 0.2

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: In the pipe beside the numbers of signals; no signal has it.
_SERVICE_ENDED = b"\0"


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


def supervise(services: Mapping[str, Service]) -> int:
    """Run `services`, by the name to call them in the log, until all of them have ended.

    Must be called on the main thread. When one service ends, by itself or with an error, the
    others are drained.

    Returns
    -------
    int
        0 when everything was drained, 1 when a second signal stopped it.

    Raises
    ------
    BaseException
        What a service raised, the first one.
    """
    return _Supervisor(services).run()


def exit_process(code: int) -> NoReturn:
    """End this process now with `code`.

    A handler that ignores the stop still runs on its thread, and Python would wait for it.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    os._exit(code)


class _Supervisor:
    """Waits on a pipe for signals and for the ends of services.

    Not on a queue: Python runs a signal's handler only when the main thread wakes up, and a signal
    that comes a moment before it begins to wait, or to another thread, does not wake it. What
    `signal.set_wakeup_fd` writes does.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        self._running = set(services)
        self._ended: deque[str] = deque()
        self._error: BaseException | None = None
        self._signals = 0
        self._last_signal = -SAME_SIGNAL_SECONDS
        self._inlet, self._outlet = os.pipe()
        os.set_blocking(self._inlet, False)
        os.set_blocking(self._outlet, False)

    def run(self) -> int:
        try:
            with self._receiving_signals():
                self._start()
                while self._running and self._signals < 2:
                    self._wait(None)
                if self._running:
                    self._stop_now()
        finally:
            self._close()
        if self._error is not None:
            raise self._error
        drained = all(service.drained for service in self._services.values())
        return 0 if drained and self._signals < 2 else 1

    def _start(self) -> None:
        for name, service in self._services.items():
            arguments = (name, service)
            threading.Thread(target=self._serve, args=arguments, name=name, daemon=True).start()

    def _close(self) -> None:
        # A service that did not end would write into whatever gets the number next.
        if not self._running:
            os.close(self._inlet)
            os.close(self._outlet)

    @contextmanager
    def _receiving_signals(self) -> Iterator[None]:
        before_fd = signal.set_wakeup_fd(self._outlet, warn_on_full_buffer=False)
        before = {number: signal.signal(number, _ignore) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_fd)

    def _serve(self, name: str, service: Service) -> None:
        try:
            service.run()
        except BaseException as error:  # the main thread raises it
            self._error = self._error or error
        finally:
            self._ended.append(name)
            os.write(self._outlet, _SERVICE_ENDED)

    def _wait(self, timeout: float | None) -> None:
        """Wait for something to happen, and react to all that has."""
        if not select.select([self._inlet], [], [], timeout)[0]:
            return
        for number in os.read(self._inlet, 4096):
            if number in _SIGNALS:
                self._on_signal(signal.Signals(number))
        while self._ended:
            self._running.discard(self._ended.popleft())
            self._drain()

    def _on_signal(self, number: signal.Signals) -> None:
        now = time.monotonic()
        same = now - self._last_signal < SAME_SIGNAL_SECONDS
        self._last_signal = now
        if same:
            return
        self._signals += 1
        if self._signals == 1:
            logger.info("%s: draining; a second one stops at once", number.name)
            self._drain()

    def _drain(self) -> None:
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


def _ignore(number: int, frame: FrameType | None) -> None:
    """What it has to say is in the pipe."""
