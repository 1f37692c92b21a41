"""How a process that waits for rows learns of them: soon, and for next to nothing.

A waiting dispatcher or embedded consumer owns a `Listener`; a process that has committed rows calls
`notify`. A wake-up is a hint, never a promise: whoever waits also looks when its time-out ends.

=========== ================================================== ==============================
database    `Listener`                                         `notify`
=========== ================================================== ==============================
PostgreSQL  ``LISTEN`` on a connection of its own              ``NOTIFY`` on a connection of its own
SQLite      ``PRAGMA data_version``, every 2 to 15 ms          nothing: the commit itself is seen
MySQL       a look every 5 to 250 ms                           nothing
=========== ================================================== ==============================

``NOTIFY`` never runs in the application's transaction: it takes a lock of the whole PostgreSQL
instance at commit.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from eventbus.backoff import Backoff
from eventbus.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

logger = logging.getLogger(__name__)

#: Seconds in which a notification must come back before LISTEN counts as lost.
ROUND_TRIP_SECONDS = 2.0
#: Seconds after which a LISTEN that was lost, as behind a transaction pooler, is tried again.
RETEST_SECONDS = 300.0
#: Seconds between two rounds of NOTIFY of one process: many commits become one.
COALESCE_SECONDS = 0.002
#: Seconds that a process which ends waits for its last notification to leave.
EXIT_SECONDS = 1.0

_CHANNEL = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)


class Listener(Protocol):
    """Waits for changes; one thread waits, any thread may wake it."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; True when something may have changed, so look."""

    def active(self) -> None:
        """Tell that a look found rows: more are likely, so a polling listener polls faster."""

    def wake(self) -> None:
        """End the `wait` under way, or else the next one, with True; from any thread."""

    def close(self) -> None:
        """Give the connection back and end the `wait` under way."""


def listener_for(engine: Engine, channel: str) -> Listener:
    """The listener that `engine`'s database allows; connects by itself, again and again.

    Parameters
    ----------
    engine:
        Gives the connection, one, which the listener keeps.
    channel:
        What `notify` is called with; lower-case letters, digits and ``_``.
    """
    _check_channel(channel)
    if engine.dialect.name == "postgresql" and engine.dialect.driver == "psycopg":
        return PostgresListener(engine, channel)
    if engine.dialect.name == "sqlite":
        return SqliteListener(engine)
    return PollingListener()


def notify(url: str | URL, channel: str) -> None:
    """Wake whoever listens on `channel` of the database at `url`; call it after the commit.

    Takes microseconds, never blocks and never fails: a thread sends the notification. Give the
    engine's ``URL`` itself, as its ``str()`` has lost the password.
    """
    notifier = _notifiers.get(url)
    if notifier is None:
        notifier = Notifier.for_url(url)
    notifier.notify(channel)


def _check_channel(channel: str) -> str:
    if not _CHANNEL.fullmatch(channel):
        raise ConfigurationError(
            f"{channel!r} cannot be a channel; use up to 63 lower-case letters, digits and '_'"
        )
    return channel


class PollingListener:
    """Says "look" after 5 ms while there is work, growing to 250 ms when there is none."""

    #: Seconds between two looks at most, and the share of the idle time that one waits.
    slowest = 0.25
    fastest = 0.005
    share = 0.1

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._active_at = self._looked_at = time.monotonic()
        # What was committed before the first wait has been looked at by nobody.
        self._woken.set()

    def wait(self, timeout: float) -> bool:
        due = self._looked_at + self._pace()
        deadline = time.monotonic() + timeout
        if self._woken.wait(max(0.0, min(due, deadline) - time.monotonic())):
            self._woken.clear()
        elif due > deadline:
            return False
        self._looked_at = time.monotonic()
        return True

    def active(self) -> None:
        self._active_at = time.monotonic()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._closed.set()
        self._woken.set()

    def _pace(self) -> float:
        idle = time.monotonic() - self._active_at
        return min(max(idle * self.share, self.fastest), self.slowest)


class SqliteListener(PollingListener):
    """Watches ``PRAGMA data_version``, which changes when another connection has committed.

    A read of it takes no lock that a writer would wait for. While it cannot be read, as before
    the file exists, this listener polls like `PollingListener`.
    """

    watch_slowest = 0.015
    watch_fastest = 0.002
    watch_share = 0.05

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._connection: Any = None
        self._connection_lock = threading.Lock()
        self._version = -1

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not self._closed.is_set():
            changed = self._changed()
            if changed is None:
                return super().wait(max(0.0, deadline - time.monotonic()))
            if changed or self._woken.is_set():
                self._woken.clear()
                self.active()
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._woken.wait(min(left, self._watch_pace()))
        return True

    def close(self) -> None:
        super().close()
        with self._connection_lock:
            self._disconnect()

    def _watch_pace(self) -> float:
        idle = time.monotonic() - self._active_at
        return min(max(idle * self.watch_share, self.watch_fastest), self.watch_slowest)

    def _changed(self) -> bool | None:
        """Whether the version is another one than before; None while it cannot be read."""
        with self._connection_lock:
            try:
                version = self._read_version()
            except Exception as error:  # whatever the driver raises: the hint is lost, not the rows
                logger.debug("cannot watch the database for changes: %s", error)
                self._disconnect()
                return None
            changed, self._version = version != self._version, version
        return changed

    def _read_version(self) -> int:
        if self._closed.is_set():
            return self._version
        if self._connection is None:
            self._connection = _driver_connection(self._engine)
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


class PostgresListener(PollingListener):
    """``LISTEN`` on a connection of its own, kept by a thread; polls while there is none."""

    def __init__(self, engine: Engine, channel: str) -> None:
        super().__init__()
        self._engine = engine
        self._channel = channel
        self._listening = threading.Event()
        self._warned = False
        self._interrupt, self._interrupted = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"listen-{channel}", daemon=True)
        self._thread.start()

    @property
    def listening(self) -> bool:
        """Whether notifications arrive now; else it polls."""
        return self._listening.is_set()

    def wait(self, timeout: float) -> bool:
        if not self._listening.is_set():
            return super().wait(timeout)
        if not self._woken.wait(timeout):
            return False
        self._woken.clear()
        self.active()
        return True

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            self._interrupt.send(b"x")
        self._thread.join(1.0)

    def _run(self) -> None:
        backoff = Backoff(first=0.05, longest=10.0)
        while not self._closed.is_set():
            pause = None
            try:
                pause = self._listen(backoff)
            except Exception as error:  # polling goes on, and the next attempt comes
                logger.debug("listening for notifications ended: %s", error)
            finally:
                self._listening.clear()
                # Whoever waits for a notification now has to change over to polling.
                self._woken.set()
            self._closed.wait(backoff.next() if pause is None else pause)
        self._interrupt.close()
        self._interrupted.close()

    def _listen(self, backoff: Backoff) -> float | None:
        """Serve one connection until it breaks or `close`; returns seconds to wait, if known."""
        with contextlib.closing(_driver_connection(self._engine)) as connection:
            connection.autocommit = True
            # A pooler hands each statement to another server connection; prepared ones break.
            connection.prepare_threshold = None
            _keep_alive(connection.fileno())
            connection.execute(f'LISTEN "{self._channel}"')
            if not self._round_trip(connection):
                self._warn()
                return RETEST_SECONDS
            backoff.reset()
            self._listening.set()
            # What was committed while nobody listened.
            self._woken.set()
            for _ in self._notifications(connection, None):
                self._woken.set()
        return None

    def _round_trip(self, connection: Any) -> bool:
        """Whether a NOTIFY arrives that was sent on another connection.

        On another one, because a pooler may lend both statements of one client the same server
        connection by luck, and the next notification would still be lost.
        """
        token = secrets.token_hex(8)
        with contextlib.closing(_driver_connection(self._engine)) as sender:
            sender.autocommit = True
            sender.prepare_threshold = None
            sender.execute(f"NOTIFY \"{self._channel}\", '{token}'")
        deadline = time.monotonic() + ROUND_TRIP_SECONDS
        return any(text == token for text in self._notifications(connection, deadline))

    def _notifications(self, connection: Any, deadline: float | None) -> Iterator[str]:
        """The payloads that arrive until `deadline` or `close`."""
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(self._interrupted, selectors.EVENT_READ)
            while not self._closed.is_set():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return
                selector.select(left)
                connection.pgconn.consume_input()
                while notification := connection.pgconn.notifies():
                    yield notification.extra.decode("utf-8", "replace")

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "notifications do not arrive from %s (is a transaction pooler between?); "
                "polling instead, every %d ms when idle",
                self._engine.url.render_as_string(hide_password=True),
                self.slowest * 1000,
            )


def _driver_connection(engine: Engine) -> Any:
    """A new connection of the driver, made as `engine` makes them, that no pool knows."""
    pooled = engine.raw_connection()
    driver = pooled.driver_connection
    pooled.detach()
    return driver


def _keep_alive(descriptor: int) -> None:
    """Notice within half a minute that the other side has gone without a word."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as same:
        if same.family == socket.AF_UNIX:
            return
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
            same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
            same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


class Notifier:
    """Sends ``NOTIFY`` for one process and one database, on one connection of its own.

    Its thread starts with the first notification. Notifications that come while one is being sent
    become one. After a fork the child makes its own.
    """

    def __init__(self, url: str | URL) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._pending: set[str] = set()
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    @staticmethod
    def for_url(url: str | URL) -> Notifier | SilentNotifier:
        """The notifier of this process for the database at `url`."""
        with _notifiers_lock:
            notifier = _notifiers.get(url)
            if notifier is None:
                name = url if isinstance(url, str) else url.drivername
                notifier = Notifier(url) if name.startswith("postgres") else SilentNotifier()
                _notifiers[url] = notifier
        return notifier

    def notify(self, channel: str) -> None:
        """Wake whoever listens on `channel`; returns at once."""
        with self._lock:
            if channel in self._pending:
                return
            self._pending.add(channel)
            self._idle.clear()
            if self._thread is None:
                self._start()
        self._wanted.set()

    def wait_sent(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until everything is sent; whether it is."""
        return self._idle.wait(timeout)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="eventbus-notify", daemon=True)
        # The interpreter refuses a new thread while it ends; the listener polls anyway.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        backoff = Backoff(first=0.05, longest=10.0)
        while True:
            try:
                self._serve(backoff)
            except ConfigurationError as error:
                logger.warning("no notifications are sent, dispatchers poll: %s", error)
                self._idle.set()
                return
            except Exception as error:  # never the application's trouble: listeners poll
                logger.debug("sending notifications failed: %s", error)
                time.sleep(backoff.next())

    def _serve(self, backoff: Backoff) -> None:
        from sqlalchemy.pool import NullPool

        from eventbus.database import make_engine

        engine = make_engine(self._url, poolclass=NullPool)
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            if engine.dialect.driver == "psycopg":
                driver: Any = connection.connection.driver_connection
                driver.prepare_threshold = None
            while True:
                self._wanted.wait()
                self._send(connection)
                backoff.reset()
                time.sleep(COALESCE_SECONDS)

    def _send(self, connection: Any) -> None:
        with self._lock:
            channels = sorted(self._pending)
            self._pending.clear()
            self._wanted.clear()
        try:
            for channel in channels:
                connection.exec_driver_sql(f'NOTIFY "{_check_channel(channel)}"')
        except BaseException:
            with self._lock:
                self._pending.update(channels)
                self._wanted.set()
            raise
        with self._lock:
            if not self._pending:
                self._idle.set()


class SilentNotifier:
    """For databases that have no notifications."""

    def notify(self, channel: str) -> None:
        """Do nothing."""

    def wait_sent(self, timeout: float) -> bool:
        """Nothing is ever under way."""
        return True


_notifiers: dict[str | URL, Notifier | SilentNotifier] = {}
_notifiers_lock = threading.Lock()


def _forget_after_fork() -> None:
    """The threads of the parent are not here, and its connections are not ours to use."""
    global _notifiers, _notifiers_lock
    # Kept alive: closing the parent's connection from here would end it for the parent.
    _of_parents.append(_notifiers)
    _notifiers = {}
    _notifiers_lock = threading.Lock()


_of_parents: list[dict[str | URL, Notifier | SilentNotifier]] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


@atexit.register
def _send_before_exit() -> None:
    """Let a script that publishes and ends wake the dispatcher too."""
    deadline = time.monotonic() + EXIT_SECONDS
    for notifier in list(_notifiers.values()):
        notifier.wait_sent(max(0.0, deadline - time.monotonic()))
