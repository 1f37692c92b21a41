"""One connection to the broker that comes back: an I/O thread, backoff, jitter, several hosts."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pika.exceptions
from pika.adapters.select_connection import IOLoop

from eventbus.backoff import Backoff
from eventbus.brokers.rabbitmq.address import Address, explain
from eventbus.brokers.rabbitmq.connection import DataConnection, parameters
from eventbus.errors import ConfigurationError

logger = logging.getLogger(__name__)

#: Seconds before the first new attempt, and at most between two.
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
#: Seconds that closing waits for the broker's farewell before the socket is simply closed.
FAREWELL_SECONDS = 2.0


def new_backoff() -> Backoff:
    """The pauses between attempts at whatever the broker does not let us do."""
    return Backoff(first=FIRST_RETRY_SECONDS, longest=LAST_RETRY_SECONDS)


class Link:
    """Keeps one connection open on a thread of its own, for ever.

    Parameters
    ----------
    addresses:
        The hosts, tried one after the other; the one that worked last stays the first choice.
    name:
        The connection's name on the broker and the thread's name.
    on_up:
        Called on the I/O thread with each new connection.
    on_down:
        Called on the I/O thread when the connection that `on_up` had is gone.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        name: str,
        on_up: Callable[[DataConnection], None],
        on_down: Callable[[], None],
    ) -> None:
        self.name = name
        self.connection: DataConnection | None = None
        self._backoff = new_backoff()
        self._trouble: str | None = f"connecting to {addresses[0]}"
        self._addresses = tuple(addresses)
        self._position = 0
        self._reported: str | None = None
        self._on_up = on_up
        self._on_down = on_down
        self._closing = False
        self._up = False
        self._loop = IOLoop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Connect, on a thread of its own; the owner has this link by then."""
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, else None."""
        return self._trouble

    def call(self, function: Callable[[], None]) -> None:
        """Run `function` on the I/O thread; dropped once the link is closed."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the loop is closed
            self._loop.add_callback_threadsafe(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run `function` on the I/O thread in `seconds`; only to be called there."""
        self._loop.call_later(seconds, function)

    def settled(self) -> None:
        """What the connection is for works: the next failure begins with a short pause again."""
        self._backoff.reset()
        self._reported = None

    def drop(self, reason: str) -> None:
        """Give the connection up and open another; only to be called on the I/O thread."""
        if self.connection is not None:
            self.connection.abort(pika.exceptions.StreamLostError(reason))

    def close(self, timeout: float) -> None:
        """Close the connection and end the thread, within about `timeout` seconds."""
        self.call(self._close)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout + FAREWELL_SECONDS)

    def _run(self) -> None:
        self._loop.add_callback_threadsafe(self._connect)
        while not self._closing or self.connection is not None:
            try:
                self._loop.start()
            except Exception:
                # A bug, here or in a callback. The connection may be in any state; start over.
                logger.exception("%s: unexpected error on the I/O thread", self.name)
                self._start_over()
        self._trouble = "closed"
        self._lost()
        self._loop.close()

    def _start_over(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.abort(pika.exceptions.StreamLostError("unexpected error"))
        self._lost()
        if not self._closing:
            self._retry("unexpected error on the I/O thread; see the log")

    def _connect(self) -> None:
        if self._closing or self.connection is not None:
            return
        address = self._addresses[self._position % len(self._addresses)]
        try:
            self.connection = DataConnection(
                parameters(address, self.name),
                on_open_callback=self._opened,
                on_open_error_callback=self._ended,
                on_close_callback=self._ended,
                custom_ioloop=self._loop,
            )
        except (OSError, ConfigurationError, pika.exceptions.AMQPError) as error:
            self._retry(explain(error, address) if isinstance(error, OSError) else str(error))

    def _opened(self, connection: DataConnection) -> None:
        if self._closing:
            connection.close()
            return
        self._trouble = None
        self._up = True
        logger.info("%s: connected to %s", self.name, self._address)
        self._on_up(connection)

    def _ended(self, connection: DataConnection, error: Any) -> None:
        if connection is not self.connection:
            return  # one that was given up already
        self.connection = None
        self._lost()
        if self._closing:
            self._loop.stop()
        else:
            self._retry(explain(error, self._address))

    @property
    def _address(self) -> Address:
        return self._addresses[self._position % len(self._addresses)]

    def _lost(self) -> None:
        if self._up:
            self._up = False
            self._on_down()

    def _retry(self, reason: str) -> None:
        if self._reported != reason:
            logger.warning("%s: %s", self.name, reason)
            self._reported = reason
        self._trouble = reason
        self._position += 1
        # Another host is tried at once; only a round that found none is followed by a pause.
        round_over = self._position % len(self._addresses) == 0
        pause = self._backoff.next() if round_over else 0
        self._loop.call_later(pause, self._connect)

    def _close(self) -> None:
        self._closing = True
        connection = self.connection
        if connection is None:
            self._loop.stop()
            return
        self._loop.call_later(FAREWELL_SECONDS, lambda: self.drop("closing"))
        if not connection.is_closing and not connection.is_closed:
            connection.close()
