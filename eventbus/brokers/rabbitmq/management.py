"""RabbitMQ's HTTP API, which shows what AMQP does not: arguments, bindings, queues by name.

The management plugin serves it, and not every broker has it; whoever uses this goes on without it
when `ManagementUnavailable` says why.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from eventbus.brokers.rabbitmq.address import Address, explain
from eventbus.drift import FoundQueue
from eventbus.errors import EventBusError
from eventbus.topology import Binding

#: The port of the API beside each port of AMQP.
_PORTS = {False: ("http", 15672), True: ("https", 15671)}
#: Seconds to connect, and for one answer all together: it must not keep a person waiting for what
#: can be done without.
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 20.0
#: Bytes of one answer: a page of 500 queues takes less than one MiB.
ANSWER_BYTES = 64 * 1024 * 1024
_PAGE = 500
_COLUMNS = (
    "name,arguments,durable,auto_delete,exclusive,messages,consumers,effective_policy_definition"
)


class ManagementUnavailable(EventBusError):
    """The HTTP API is not there, refuses us or answers what cannot be read."""

    exit_code = 3


@dataclass(frozen=True, repr=False)
class _Endpoint:
    tls: bool
    host: str
    port: int
    path: str
    user: str
    password: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


class Management:
    """Asks the HTTP API of one broker; opens a connection for each question.

    Parameters
    ----------
    url:
        ``http://host:15672``, with a login of its own if the broker URL's may not use the API; None
        for the usual port of the host that AMQP is spoken with.
    address:
        Where AMQP is spoken: its login, its virtual host and, for ``https``, its certificates.
    """

    def __init__(self, url: str | None, address: Address) -> None:
        self._address = address
        self._endpoint = _default(address) if url is None else _parse(url, address)

    def __str__(self) -> str:
        return str(self._endpoint)

    def check(self, cluster: str | None) -> None:
        """Raise `ManagementUnavailable` unless this is the API of the broker called `cluster`.

        The usual port may be that of another broker on the same host, whose queues are not ours.
        """
        name = self.overview().get("cluster_name")
        if cluster is not None and name != cluster:
            raise ManagementUnavailable(
                f"the management API at {self} is that of another broker, {name!r:.100} instead "
                f"of {cluster!r:.100}"
            )

    def overview(self) -> Mapping[str, Any]:
        """Versions, and the cluster's name."""
        return _mapping(self._get("overview"), self)

    def feature_flags(self) -> list[Mapping[str, Any]]:
        """The feature flags, with the state of each."""
        return [_mapping(item, self) for item in _list(self._get("feature-flags"), self)]

    def deprecated_features_used(self) -> list[Mapping[str, Any]]:
        """The deprecated features in use; none where the broker is older than that list."""
        try:
            used = self._get("deprecated-features", "used")
        except _NotFound:
            return []
        return [_mapping(item, self) for item in _list(used, self)]

    def queues(self, prefix: str) -> Iterator[FoundQueue]:
        """The queues whose names begin with `prefix`; without those that belong to a connection."""
        page, pages = 1, 1
        while page <= pages:
            answer = _mapping(self._get("queues", self._address.vhost, **_page(page, prefix)), self)
            for item in _list(answer.get("items"), self):
                queue = _mapping(item, self)
                name = str(queue.get("name"))
                if name.startswith(prefix) and not queue.get("exclusive"):
                    yield _found_queue(name, queue)
            pages = _number(answer.get("page_count"))
            page += 1

    def exchange_type(self, name: str) -> str | None:
        """The type of an exchange, None if it does not exist."""
        try:
            answer = self._get("exchanges", self._address.vhost, name)
        except _NotFound:
            return None
        return str(_mapping(answer, self).get("type"))

    def bindings_from(self, exchange: str) -> list[Binding]:
        """The bindings of queues to `exchange`, none if it does not exist."""
        try:
            answer = self._get("exchanges", self._address.vhost, exchange, "bindings", "source")
        except _NotFound:
            return []
        return [binding for item in _list(answer, self) if (binding := self._binding(item))]

    def bindings_of(self, queue: str) -> list[Binding]:
        """The bindings of `queue` to any exchange but the default one; none if it is not there."""
        try:
            answer = self._get("queues", self._address.vhost, queue, "bindings")
        except _NotFound:
            return []
        return [binding for item in _list(answer, self) if (binding := self._binding(item))]

    def _binding(self, item: Any) -> Binding | None:
        found = _mapping(item, self)
        if found.get("destination_type") != "queue" or not found.get("source"):
            return None
        return Binding(
            str(found["source"]), str(found.get("destination")), str(found.get("routing_key"))
        )

    def _get(self, *path: str, **query: str | int) -> Any:
        target = f"{self._endpoint.path}/api/" + "/".join(quote(part, safe="") for part in path)
        if query:
            target += "?" + urlencode(query)
        try:
            status, body = self._ask(target)
        except (OSError, http.client.HTTPException) as error:
            raise ManagementUnavailable(self._why_not(error)) from None
        if status == 404 and path != ("overview",):
            raise _NotFound(f"{self} has no {'/'.join(path)}")
        if status != 200:
            raise ManagementUnavailable(self._refused(status))
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise _nonsense(self) from None

    def _ask(self, target: str) -> tuple[int, bytes]:
        deadline = time.monotonic() + ANSWER_SECONDS
        connection = self._connect()
        try:
            login = f"{self._endpoint.user}:{self._endpoint.password}".encode()
            authorization = f"Basic {base64.b64encode(login).decode()}"
            connection.request(
                "GET", target, headers={"Authorization": authorization, "Connection": "close"}
            )
            response = connection.getresponse()
            return response.status, _read(response, deadline)
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        endpoint = self._endpoint
        if endpoint.tls:
            return http.client.HTTPSConnection(
                endpoint.host,
                endpoint.port,
                timeout=CONNECT_SECONDS,
                context=self._address.ssl_context(),
            )
        return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=CONNECT_SECONDS)

    def _why_not(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            reason = "it does not answer in time"
        elif isinstance(error, http.client.HTTPException):
            reason = "what answers is no web server"
        elif isinstance(error, ConnectionRefusedError):
            reason = "nothing listens there"
        else:
            reason = explain(error, self._as_address())
        return f"the management API at {self} cannot be used: {reason}"

    def _as_address(self) -> Address:
        endpoint = self._endpoint
        return Address(
            endpoint.host,
            endpoint.port,
            endpoint.user,
            endpoint.password,
            self._address.vhost,
            endpoint.tls,
        )

    def _refused(self, status: int) -> str:
        user = self._endpoint.user
        if status == 401:
            reason = (
                f"it refuses user {user!r}: a wrong password, or the user lacks the tag "
                f"'monitoring'; give the setting management_url a login that may use it"
            )
        elif status == 403:
            reason = f"user {user!r} may not see virtual host {self._address.vhost!r} there"
        elif status == 404:
            reason = "there is no such API; is it the port of something else?"
        else:
            reason = f"it answers with HTTP status {status}"
        return f"the management API at {self} cannot be used: {reason}"


class _NotFound(ManagementUnavailable):
    """The API is there, what was asked for is not."""


def _default(address: Address) -> _Endpoint:
    _, port = _PORTS[address.tls]
    return _Endpoint(address.tls, address.host, port, "", address.user, address.password)


def _parse(url: str, address: Address) -> _Endpoint:
    """The parts of `url`, which `eventbus.settings` has checked."""
    parts = urlsplit(url)
    tls = parts.scheme.lower() == "https"
    own_login = parts.username is not None
    return _Endpoint(
        tls,
        parts.hostname or "",
        parts.port or (443 if tls else 80),
        parts.path.rstrip("/").removesuffix("/api"),
        unquote(parts.username or "") if own_login else address.user,
        unquote(parts.password or "") if own_login else address.password,
    )


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, within its bounds of time and size: a time-out alone is one for each read."""
    pieces = []
    size = 0
    while piece := response.read1(65_536):
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_BYTES:
            raise ManagementUnavailable(
                f"the management API answers with more than {ANSWER_BYTES // 2**20} MiB"
            )
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(pieces)


def _page(number: int, prefix: str) -> dict[str, str | int]:
    pattern = "^" + "".join(f"\\{c}" if c in ".^$*+?()[]{}|\\" else c for c in prefix)
    return {
        "page": number,
        "page_size": _PAGE,
        "name": pattern,
        "use_regex": "true",
        "columns": _COLUMNS,
    }


def _found_queue(name: str, queue: Mapping[str, Any]) -> FoundQueue:
    arguments = queue.get("arguments")
    policy = queue.get("effective_policy_definition")
    return FoundQueue(
        name,
        dict(arguments) if isinstance(arguments, dict) else {},
        messages=_number(queue.get("messages")),
        consumers=_number(queue.get("consumers")),
        durable=bool(queue.get("durable", True)),
        auto_delete=bool(queue.get("auto_delete", False)),
        policy=dict(policy) if isinstance(policy, dict) else {},
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _mapping(value: Any, management: Management) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _nonsense(management)
    return value


def _list(value: Any, management: Management) -> list[Any]:
    if not isinstance(value, list):
        raise _nonsense(management)
    return value


def _nonsense(management: Management) -> ManagementUnavailable:
    return ManagementUnavailable(
        f"the management API at {management} cannot be used: what answers is not RabbitMQ's API"
    )
