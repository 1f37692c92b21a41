"""Tells systemd how a process is, where it asks to be told.

The protocol of sd_notify(3): one datagram of ``NAME=value`` lines to the socket in
``NOTIFY_SOCKET``; a name that begins with ``@`` is abstract. Nothing that goes wrong here may
disturb the work: it is logged once.

The child processes of a pool tell nothing: their parent speaks for them.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping

from eventbus.printable import printable

from .condition import Condition, Observer

log = logging.getLogger("eventbus.supervisor")

#: How often the state is looked at.
LOOK_SECONDS = 0.5

#: What services get to say that they replace their processes, before that can be over.
SETTLE_SECONDS = 1.0

#: Pings in one ``WATCHDOG_USEC``; systemd advises half of it, a busy machine wants more.
PINGS = 3


class Socket:
    """Where systemd listens; sends without waiting."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = False

    def send(self, **fields: object) -> None:
        """Send ``NAME=value`` for each field; a value is cut to one line."""
        lines = "\n".join(f"{name}={printable(value)}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(lines.encode("utf-8", "replace"), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd cannot be told: NOTIFY_SOCKET: %s", error)
            self._failed = True


class Systemd:
    """Tells systemd the state of `observer`'s services whenever it changes.

    ``READY=1`` when all of them are ready for the first time, ``STATUS=`` in words, ``WATCHDOG=1``
    as long as all of them are live.
    """

    def __init__(
        self, observer: Observer, socket_address: str, watchdog_seconds: float | None = None
    ) -> None:
        self._observer = observer
        self._socket = Socket(socket_address)
        self._ping_seconds = None if watchdog_seconds is None else watchdog_seconds / PINGS
        self._ping_at = 0.0
        self._waits_for_ready = True
        self._ready_from = 0.0
        self._ends = False
        self._status: str | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventbus-systemd", daemon=True)

    @classmethod
    def of_environment(
        cls, observer: Observer, environment: Mapping[str, str] = os.environ
    ) -> Systemd | None:
        """The one that the environment asks for; None where there is nobody to tell."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return None
        return cls(observer, address, watchdog_seconds(environment))

    def start(self) -> None:
        """Begin to look and to tell."""
        self._thread.start()

    def close(self) -> None:
        """Tell nothing more."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(2 * LOOK_SECONDS)

    def reloading(self) -> None:
        """New code is being loaded; ``READY=1`` follows when the services are ready again."""
        with self._lock:
            self._waits_for_ready = True
            self._ready_from = time.monotonic() + SETTLE_SECONDS
            self._socket.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def stopping(self) -> None:
        """The process drains, and ends."""
        with self._lock:
            self._ends = True
            self._socket.send(STOPPING=1, STATUS="draining")

    def _run(self) -> None:
        seconds = min(LOOK_SECONDS, self._ping_seconds or LOOK_SECONDS)
        while not self._closed.wait(seconds):
            try:
                conditions = self._observer.look()
            except Exception:
                log.exception("the services' state cannot be read")
                continue
            with self._lock:
                self._tell(conditions)

    def _tell(self, conditions: Mapping[str, Condition]) -> None:
        if self._ping_seconds is not None and time.monotonic() >= self._ping_at:
            self._ping_at = time.monotonic() + self._ping_seconds
            if all(condition.live for condition in conditions.values()):
                self._socket.send(WATCHDOG=1)
        if self._ends:
            return
        late_enough = time.monotonic() >= self._ready_from
        if self._waits_for_ready and late_enough and _is_settled(conditions):
            self._waits_for_ready = False
            self._socket.send(READY=1)
        status = status_text(conditions)
        if status != self._status:
            self._status = status
            self._socket.send(STATUS=status)


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Within how many seconds systemd wants a ping from this process; None for never."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


def status_text(conditions: Mapping[str, Condition]) -> str:
    """The state of all services in one line, as ``systemctl status`` shows it."""
    return "; ".join(f"{name} {_in_words(condition)}" for name, condition in conditions.items())


def _in_words(condition: Condition) -> str:
    if not condition.live:
        return f"hangs: its loop has not moved for {condition.still_seconds:.0f} s"
    if condition.reasons:
        return ", ".join(condition.reasons)
    if condition.report.state == "replacing":
        return "replacing its processes"
    queues = condition.report.queues
    paused = sorted(name for name, queue in queues.items() if queue.paused)
    broken = sorted(name for name, queue in queues.items() if queue.breaker != "closed")
    words = [
        "ready",
        *(f"paused: {name}" for name in paused),
        *(f"breaker open: {name}" for name in broken),
    ]
    return ", ".join(words)


def _is_settled(conditions: Mapping[str, Condition]) -> bool:
    return all(c.ready and c.report.state != "replacing" for c in conditions.values())
