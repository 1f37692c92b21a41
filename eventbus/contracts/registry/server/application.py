"""The registry as a WSGI application."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request

from eventbus.contracts.registry.server.endpoints import ENDPOINTS, Call, Endpoint, Raw
from eventbus.contracts.registry.server.errors import Problem, problem_of
from eventbus.contracts.registry.server.reading import Query, decoded, json_object, path_of
from eventbus.errors import EventBusError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from eventbus.contracts.registry.database import DatabaseRegistry
    from eventbus.contracts.registry.server.guard import Guard

log = logging.getLogger("eventbus.registry")

#: What the answers are; the others are given to those that ask for them.
CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_ANSWERED = (CONTENT_TYPE, "application/vnd.schemaregistry+json", "application/json")
_READ = (*_ANSWERED, "application/octet-stream")

#: A schema of `SCHEMA_MAX_BYTES` is twice as long in JSON where it is full of quotation marks.
REQUEST_MAX_BYTES = 4 * 1024 * 1024

#: The process answers; and so does its database.
_LIVE, _READY = "/livez", "/readyz"
_PROBES = (_LIVE, _READY)

_HEADERS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


@dataclass(frozen=True)
class _Answer:
    status: HTTPStatus
    body: bytes
    content_type: str = CONTENT_TYPE
    headers: tuple[tuple[str, str], ...] = field(default=())


class RegistryApplication:
    """Answers the requests that `guard` lets through; threads may share it.

    Parameters
    ----------
    registry:
        Where the schemas are.
    """

    def __init__(self, registry: DatabaseRegistry, guard: Guard) -> None:
        self._registry = registry
        self._guard = guard
        rules = [Rule(one.path, methods=[one.method], endpoint=one) for one in ENDPOINTS]
        # Names with two slashes in a row are names, not addresses written carelessly.
        self._routes = Map(rules, strict_slashes=False, merge_slashes=False).bind("registry")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._answer(Request(environ))
        start_response(
            f"{answer.status.value} {answer.status.phrase}",
            [
                ("Content-Type", answer.content_type),
                ("Content-Length", str(len(answer.body))),
                *_HEADERS,
                *answer.headers,
            ],
        )
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, request: Request) -> _Answer:
        request.max_content_length = REQUEST_MAX_BYTES
        try:
            if path_of(request.environ) in _PROBES:
                return self._probed(path_of(request.environ))
            self._guard.check({name.lower(): value for name, value in request.headers.items()})
            content_type = _content_type(request)
            return _ok(self._called(request), content_type)
        except EventBusError as error:
            return _refusal(problem_of(error))
        except HTTPException as error:
            return _http_refusal(error)
        except Exception:
            log.exception("a request cannot be answered: %s %s", request.method, request.path)
            return _refusal(Problem(500, "an error of the registry; its log says more"))

    def _probed(self, path: str) -> _Answer:
        """For those who look after the process, and have no token."""
        if path == _READY:
            self._registry.highest_id()
        return _ok({"ready" if path == _READY else "live": True}, "application/json")

    def _called(self, request: Request) -> Any:
        endpoint, path = self._found(request)
        body = json_object(_body(request)) if endpoint.takes_body else {}
        arguments = {name: decoded(value) for name, value in path.items()}
        return endpoint.answer(Call(self._registry, arguments, Query(request.args), body))

    def _found(self, request: Request) -> tuple[Endpoint, dict[str, str]]:
        endpoint, path = self._routes.match(
            path_info=path_of(request.environ), method=request.method
        )
        return endpoint, dict(path)


def _content_type(request: Request) -> str:
    """What the client wants to get; 406 where it wants something else."""
    if not request.headers.get("Accept"):
        return CONTENT_TYPE
    found = request.accept_mimetypes.best_match(_ANSWERED)
    if found is None:
        raise _Refused(HTTPStatus.NOT_ACCEPTABLE, f"answers are {' or '.join(_ANSWERED)}")
    return found


def _body(request: Request) -> bytes:
    if request.mimetype and request.mimetype not in _READ:
        raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the body as {CONTENT_TYPE}")
    return request.get_data(cache=False)


class _Refused(HTTPException):
    """A refusal by HTTP's own rules."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.code = status.value


def _ok(value: Any, content_type: str) -> _Answer:
    text = value.text if isinstance(value, Raw) else json.dumps(value, separators=(",", ":"))
    return _Answer(HTTPStatus.OK, text.encode(), content_type)


def _http_refusal(error: HTTPException) -> _Answer:
    status = HTTPStatus(error.code or 500)
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, MethodNotAllowed):
        headers = (("Allow", ", ".join(sorted(error.valid_methods or ()))),)
    why = error.description if isinstance(error, _Refused) else status.phrase
    return _refusal(Problem(status.value, f"HTTP {status.value} {why}"), headers)


def _refusal(problem: Problem, headers: tuple[tuple[str, str], ...] = ()) -> _Answer:
    if problem.status is HTTPStatus.UNAUTHORIZED:
        headers = (*headers, ("WWW-Authenticate", 'Basic realm="schema registry", Bearer'))
    body = json.dumps({"error_code": problem.code, "message": problem.message})
    return _Answer(problem.status, body.encode(), headers=headers)
