"""Serves the registry with waitress.

waitress reads and writes on one thread and answers on others: a slow client holds up nobody. It
keeps few connections, closes those that say nothing, and refuses requests that are too large;
what it refuses by itself is answered in JSON, too.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from eventbus.contracts.registry.server.application import CONTENT_TYPE, REQUEST_MAX_BYTES
from eventbus.listening import bound_socket

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
        listener = bound_socket(host, port)
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
