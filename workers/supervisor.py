"""Runs services until a signal or an error ends them.

A service is a dispatcher or a worker: something that runs until it is stopped. Each has a thread
of its own; the main thread waits for signals, because Python delivers them there. The first TERM
or INT drains, a second one stops at once.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol

logger = logging.getLogger("eventbus.supervisor")

#: What services get to give their messages back after `Service.stop_now`.
GRACE_SECONDS = 5.0

#: Two signals closer than this are one: `timeout` and some shells send theirs to the process and
#: then to its group, which it is in.
SAME_SIGNAL_SECONDS = 0.2

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Service(Protocol):
    """What runs in a process of ours. `stop` and `stop_now` may be called from any thread."""

    def run(self) -> None:
        """Work until stopped; return when drained, raise when it cannot go on."""

    def stop(self) -> None:
        """Take nothing new, finish what is under way, then let `run` return."""

    def stop_now(self) -> None:
        """Give back what is under way and let `run` return."""


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
    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        self._running = set(services)
        # Signals and ends of services, in the order in which they come. A SimpleQueue, because
        # its put may interrupt itself, as a signal does.
        self._happened: queue.SimpleQueue[signal.Signals | str] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._signals = 0
        self._last_signal = -SAME_SIGNAL_SECONDS

    def run(self) -> int:
        with self._receiving_signals():
            for name, service in self._services.items():
                threading.Thread(
                    target=self._serve, args=(name, service), name=name, daemon=True
                ).start()
            while self._running and self._signals < 2:
                self._react(self._happened.get())
            if self._running:
                self._stop_now()
        if self._error is not None:
            raise self._error
        return 1 if self._signals > 1 else 0

    @contextmanager
    def _receiving_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last_signal >= SAME_SIGNAL_SECONDS:
            self._happened.put(signal.Signals(number))
        self._last_signal = now

    def _serve(self, name: str, service: Service) -> None:
        try:
            service.run()
        except BaseException as error:  # the main thread raises it
            self._error = self._error or error
        finally:
            self._happened.put(name)

    def _react(self, what: signal.Signals | str) -> None:
        if isinstance(what, signal.Signals):
            self._signals += 1
            if self._signals == 1:
                logger.info("%s: draining; a second one stops at once", what.name)
                self._drain()
        else:
            self._running.discard(what)
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
            try:
                what = self._happened.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                logger.error("not stopped within %g s: %s", GRACE_SECONDS, sorted(self._running))
                return
            if isinstance(what, str):
                self._running.discard(what)
