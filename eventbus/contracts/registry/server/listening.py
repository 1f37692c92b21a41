"""Serves the registry with waitress.

waitress reads and writes on one thread and answers on others: a slow client holds up nobody. It
keeps few connections, closes those that say nothing, and refuses requests that are too large;
what it refuses by itself is answered in JSON, too.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from eventbus.contracts.registry.server.application import CONTENT_TYPE, REQUEST_MAX_BYTES
from eventbus.errors import ConfigurationError, EventBusError

if TYPE_CHECKING:
    from eventbus.contracts.registry.server.application import RegistryApplication

#: Answered at the same time; comparisons take the processor, look-ups wait for the database.
THREADS = 8
#: Connections at a time; each further one waits for its turn.
CONNECTIONS = 500
#: A client that neither sends nor reads loses its connection after this.
IDLE_SECONDS = 30
#: However slowly it sends, a request has to be here after this.
REQUEST_SECONDS = 60
MAX_HEADER_BYTES = 16 * 1024
#: At the end, for the answers that are being made and sent.
DRAIN_SECONDS = 10


class PortUnavailable(EventBusError):
    """The address cannot be listened at."""


class _JsonError(ErrorTask):  # type: ignore[misc]
    """What waitress refuses, in our form."""

    def execute(self) -> None:
        error = self.request.error
        body = json.dumps(
            {"error_code": error.code, "message": f"HTTP {error.code} {error.reason}"}
        ).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", CONTENT_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection whose client has to get on with its request."""

    error_task_class = _JsonError
    _begun = 0.0

    def received(self, data: bytes) -> Any:
        if self.request is None:
            self._begun = time.monotonic()
        done = super().received(data)
        if self.request is not None and time.monotonic() - self._begun > REQUEST_SECONDS:
            # A byte now and then keeps a connection from being idle, for ever.
            self.will_close = True
        return done


class RegistryServer:
    """Serves `application` at an address.

    Parameters
    ----------
    host, port:
        Where to listen; port 0 lets the system choose.

    Raises
    ------
    PortUnavailable
        Something listens there already, or it is no address of this machine.
    ConfigurationError
        `host` is no address at all.
    """

    def __init__(self, application: RegistryApplication, host: str, port: int) -> None:
        # With `host` resolved here waitress makes one server, not one for each address.
        listener = _listener(host, port)
        self.host: str = listener.getsockname()[0]
        self.port: int = listener.getsockname()[1]
        self._server = create_server(
            application,
            sockets=[listener],
            threads=THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=5,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=REQUEST_MAX_BYTES,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
            ident=None,
        )
        self._server.channel_class = _Channel
        self._thread = threading.Thread(target=self._server.run, name="registry", daemon=True)

    @property
    def address(self) -> str:
        """Where it is, as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        """Begin to answer, on threads of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, once started; what is being answered is answered to the end."""
        if not self._thread.is_alive():
            return
        self._server.task_dispatcher.shutdown(timeout=DRAIN_SECONDS)
        self._server.trigger.pull_trigger(self._end)
        self._thread.join(DRAIN_SECONDS)

    def _end(self) -> None:
        for channel in list(self._server.active_channels.values()):
            channel.close_when_flushed = True
        self._server.close()


def _listener(host: str, port: int) -> socket.socket:
    family, address = _resolved(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise PortUnavailable(_why_not(host, port, error)) from error
    return listener


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"--host {host!r} is no address: {error}; give 127.0.0.1, or 0.0.0.0 for every "
            f"network of this machine"
        ) from error
    return found[0][0], found[0][4]


def _why_not(host: str, port: int, error: OSError) -> str:
    address = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: something listens at {address} already; give another port"
    if error.errno == errno.EACCES:
        return f"--port {port}: this user may not listen at {address}; give a port from 1024"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host}: no address of this machine; give 127.0.0.1 or 0.0.0.0"
    return f"--port {port}: cannot listen at {address}: {error.strerror or error}"
