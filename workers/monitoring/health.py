"""Answers probes and scrapes over HTTP: ``/livez``, ``/readyz``, ``/metrics``.

The server is waitress: it reads and writes on one thread and answers on two others, so that a slow
client holds up nobody; it keeps few connections, gives each little time, and refuses large
requests. A handler that needs all of the processor can make it late, but not wrong.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from waitress.server import create_server

from eventbus.listening import bound_socket

from .condition import Condition, Observer

if TYPE_CHECKING:
    from .metrics import Metrics

log = logging.getLogger("eventbus.supervisor")

_JSON = "application/json"

#: Connections at a time; each further one waits for its turn. Probes and scrapes are few.
CONNECTIONS = 200

#: A client that neither sends nor reads loses its connection after this.
IDLE_SECONDS = 10

#: No probe sends more. waitress refuses what is longer, with 431 and 413.
MAX_HEADER_BYTES = 8 * 1024
MAX_BODY_BYTES = 1024

#: For those who read it: what an answer would tell of is over a moment later.
_HEADERS = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets."""

    status: HTTPStatus
    body: bytes
    content_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = ()


class HealthApplication:
    """The pages, as a WSGI application."""

    def __init__(self, observer: Observer, metrics: Metrics) -> None:
        self._observer = observer
        self._metrics = metrics
        self._pages: dict[str, Callable[[Mapping[str, Any]], Answer]] = {
            "/livez": lambda request: live_answer(self._observer.look()),
            "/readyz": lambda request: ready_answer(self._observer.look()),
            "/metrics": self._metrics_answer,
        }

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        answer = self._answer(environ)
        status = f"{answer.status.value} {answer.status.phrase}"
        length = ("Content-Length", str(len(answer.body)))
        content_type = ("Content-Type", answer.content_type)
        start_response(status, [content_type, length, *_HEADERS, *answer.headers])
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: Mapping[str, Any]) -> Answer:
        page = self._pages.get(environ.get("PATH_INFO", ""))
        if page is None:
            return _json(HTTPStatus.NOT_FOUND, {"pages": sorted(self._pages)})
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            allowed = (("Allow", "GET, HEAD"),)
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"allowed": ["GET", "HEAD"]}, allowed)
        try:
            return page(environ)
        except Exception:
            log.exception("a probe or a scrape cannot be answered")
            return _json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "see the log"})

    def _metrics_answer(self, environ: Mapping[str, Any]) -> Answer:
        text, content_type = self._metrics.page(environ.get("HTTP_ACCEPT", ""))
        return Answer(HTTPStatus.OK, text, content_type)


def live_answer(conditions: Mapping[str, Condition]) -> Answer:
    """503 when a loop hangs: restarting the process would help."""
    live = all(condition.live for condition in conditions.values())
    services = {
        name: {
            "live": condition.live,
            "state": condition.report.state,
            "still_seconds": round(condition.still_seconds, 1),
        }
        for name, condition in conditions.items()
    }
    return _verdict(live, {"live": live, "services": services})


def ready_answer(conditions: Mapping[str, Condition]) -> Answer:
    """503 when a service does not do its work; the body says why."""
    ready = all(condition.ready for condition in conditions.values())
    services = {
        name: {
            "ready": condition.ready,
            "state": condition.report.state,
            "reasons": list(condition.reasons),
            "queues": {
                queue: {
                    "consuming": report.consuming,
                    "paused": report.paused,
                    "breaker": report.breaker,
                }
                for queue, report in condition.report.queues.items()
            },
        }
        for name, condition in conditions.items()
    }
    return _verdict(ready, {"ready": ready, "services": services})


def _verdict(good: bool, body: Mapping[str, Any]) -> Answer:
    return _json(HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, body)


def _json(
    status: HTTPStatus, body: Mapping[str, Any], headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    return Answer(status, json.dumps(body).encode() + b"\n", headers=headers)


class HealthServer:
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

    def __init__(self, application: Callable[..., Iterable[bytes]], host: str, port: int) -> None:
        self._listener = bound_socket(host, port, "--health-")
        # In a forked child it would keep the port of a parent that has gone.
        os.register_at_fork(after_in_child=self._listener.close)
        self.port: int = self._listener.getsockname()[1]
        self._server = create_server(
            application,
            sockets=[self._listener],
            threads=2,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=5,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=MAX_BODY_BYTES,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
            ident=None,
        )
        self._thread = threading.Thread(
            target=self._server.run, name="eventbus-health", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, once started; for tests, as a process ends with it."""
        if self._thread.is_alive():
            self._server.task_dispatcher.shutdown()
            self._server.trigger.pull_trigger(self._server.close)
            self._thread.join(5)
