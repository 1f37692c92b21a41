"""Requests to a schema registry over HTTP: bounded in time and size, with errors in our words."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from eventbus.contracts.registry.refusals import ReadOnly
from eventbus.errors import (
    EventBusError,
    IncompatibleContract,
    InvalidSchema,
    MissingDependency,
    RegistryUnavailable,
    UnknownSchema,
)
from eventbus.printable import printable
from eventbus.settings import mask

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 3.0
#: Between two parts of an answer.
READ_SECONDS = 10.0
#: For the whole of an answer, however slowly it drips.
ANSWER_SECONDS = 30.0
ANSWER_MAX_BYTES = 32 * 1024 * 1024
#: How often something is asked that changes nothing.
ATTEMPTS = 3
_PAUSE_SECONDS = 0.2
#: So long after it did not answer it is not asked again: whoever waits for it would wait each time.
SILENT_SECONDS = 10.0

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_ACCEPT = f"{_CONTENT_TYPE}, application/vnd.schemaregistry+json, application/json"
_AWAY = (502, 503, 504)


class NoSuchAddress(RegistryUnavailable):
    """What answers does not know this part of the API."""


class _Passing(RegistryUnavailable):
    """It may well answer when it is asked again."""


class RegistryHttp:
    """Speaks the API of the Confluent Schema Registry. Threads and forked children may share it.

    Parameters
    ----------
    url:
        ``https://user:password@host:8081/prefix``.

    Raises
    ------
    MissingDependency
        `httpx` is not installed.
    """

    def __init__(self, url: str) -> None:
        if find_spec("httpx") is None:
            raise MissingDependency(
                "a schema registry at an http address needs httpx; pip install 'eventbus[registry]'"
            )
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        #: Without user and password.
        self.address = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._shown = mask(url)
        self._login = (unquote(parts.username or ""), unquote(parts.password or ""))
        self._client: httpx.Client | None = None
        self._process = 0
        self._lock = threading.Lock()
        self._silent_until = 0.0
        self._silence: RegistryUnavailable | None = None

    def read(self, path: str) -> Any:
        """What ``GET path`` answers.

        Raises
        ------
        RegistryUnavailable
            It does not answer, or not in time, or refuses the login.
        UnknownSchema
            It does not have it.
        NoSuchAddress
            It has no such address.
        """
        return self._repeated("GET", path, None)

    def ask(self, path: str, body: Any) -> Any:
        """What ``POST path`` answers, where that changes nothing; raises as `read` does."""
        return self._repeated("POST", path, body)

    def write(self, method: str, path: str, body: Any) -> Any:
        """What is answered to a change; it is sent once.

        Raises
        ------
        IncompatibleContract, InvalidSchema, ReadOnly
            The registry refuses it; the text is the registry's.
        RegistryUnavailable, UnknownSchema, NoSuchAddress
            As with `read`.
        """
        return self._once(method, path, body)

    def _repeated(self, method: str, path: str, body: Any) -> Any:
        if self._silence is not None and time.monotonic() < self._silent_until:
            raise self._silence
        for attempt in range(1, ATTEMPTS):
            try:
                return self._once(method, path, body)
            except _Passing:
                time.sleep(_PAUSE_SECONDS * attempt * random.uniform(0.5, 1))
        try:
            return self._once(method, path, body)
        except RegistryUnavailable as error:
            self._silence, self._silent_until = error, time.monotonic() + SILENT_SECONDS
            raise

    def _once(self, method: str, path: str, body: Any) -> Any:
        import httpx

        headers = {"Accept": _ACCEPT}
        content = None
        if body is not None:
            headers["Content-Type"] = _CONTENT_TYPE
            content = json.dumps(body).encode()
        try:
            with self._connected().stream(
                method, f"{self.address}/{path}", content=content, headers=headers
            ) as response:
                data = self._body(response)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self._unavailable(_why(error), passing=True) from error
        return self._answer(response.status_code, data)

    def _body(self, response: httpx.Response) -> bytes:
        until = time.monotonic() + ANSWER_SECONDS
        data = bytearray()
        for part in response.iter_bytes():
            data += part
            if len(data) > ANSWER_MAX_BYTES:
                raise self._unavailable(f"its answer is longer than {ANSWER_MAX_BYTES:,} bytes")
            if time.monotonic() > until:
                raise self._unavailable(f"its answer takes longer than {ANSWER_SECONDS:g} s")
        return bytes(data)

    def _answer(self, status: int, data: bytes) -> Any:
        try:
            value = json.loads(data) if data else None
        except (ValueError, RecursionError):
            value = None
        if 200 <= status < 300:
            if value is None:
                raise self._unavailable("its answer is no JSON; is it a schema registry?")
            return value
        raise self._refusal(status, value if isinstance(value, dict) else {})

    def _refusal(self, status: int, form: dict[str, Any]) -> EventBusError:
        code = form.get("error_code")
        message = printable(str(form.get("message") or f"HTTP {status}")[:20_000])
        if status == 404 and isinstance(code, int) and code > 40_400:
            return UnknownSchema(f"the registry at {self._shown}: {message}")
        if status in (404, 405):
            return NoSuchAddress(f"the registry at {self._shown} has no such address: {message}")
        if status == 409:
            return IncompatibleContract(message)
        if status == 422 and code == 42205:
            return ReadOnly(f"the registry at {self._shown}: {message}")
        if status in (413, 422):
            return InvalidSchema(f"the registry at {self._shown}: {message}")
        if status in (401, 403):
            return self._unavailable(f"it refuses the login: {message[:500]}")
        if 300 <= status < 400:
            return self._unavailable(f"it redirects (HTTP {status}); set registry_url to where to")
        return self._unavailable(message[:500], passing=status in _AWAY)

    def _unavailable(self, why: str, *, passing: bool = False) -> RegistryUnavailable:
        kind = _Passing if passing else RegistryUnavailable
        return kind(f"the schema registry at {self._shown}: {why}")

    def _connected(self) -> httpx.Client:
        """The client of this process: a forked child must not use its parent's connections."""
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client, self._process = self._new_client(), os.getpid()
            return self._client

    def _new_client(self) -> httpx.Client:
        import httpx

        # At INFO it logs each request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        return httpx.Client(
            auth=self._login if any(self._login) else None,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
        )


def _why(error: Exception) -> str:
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return f"it does not answer: {printable(text)}"
