"""A registry at an address: used like the one in the database, and missed by nobody when away."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from eventbus import EventBus, database
from eventbus.contracts import Mode, Schema
from eventbus.contracts.registry import http, open_registry
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.port import Reference
from eventbus.contracts.registry.refusals import ReadOnly, RefusedVersion
from eventbus.contracts.registry.remote import RemoteRegistry
from eventbus.contracts.registry.server.application import RegistryApplication
from eventbus.contracts.registry.server.guard import Guard
from eventbus.contracts.registry.server.listening import RegistryServer
from eventbus.errors import InvalidSchema, RegistryUnavailable, UnknownSchema
from eventbus.settings import Settings
from tests.integration.registry.schemas import json_schema, reader

ORDER = json_schema("order_id")
TOKEN = "a-token-of/these+tests"


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[Engine]:
    """The database of the application that uses the registry."""
    engine = database.make_engine(f"sqlite:///{tmp_path / 'application.db'}")
    database.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def remote(server: RegistryServer, own_engine: Engine) -> RemoteRegistry:
    return RemoteRegistry(server.address, own_engine)


def test_it_is_used_like_the_one_in_the_database(remote: RemoteRegistry) -> None:
    added = remote.register("order paid/ü", ORDER)
    assert (added.subject, added.version) == ("order paid/ü", 1)
    assert remote.register("order paid/ü", ORDER) == added
    assert remote.subjects() == ["order paid/ü"]
    assert remote.versions("order paid/ü") == [added]
    assert remote.by_id(added.id) == added
    assert remote.look_up("order paid/ü", ORDER) == added
    assert remote.check("order paid/ü", ORDER)
    found = remote.check("order paid/ü", json_schema("other"))
    assert {one.direction for one in found.differences} == {"backward", "forward"}
    assert remote.mode() is remote.mode("order paid/ü") is Mode.FULL_TRANSITIVE
    remote.set_mode(Mode.NONE, "order paid/ü")
    assert remote.mode("order paid/ü") is Mode.NONE
    assert remote.register("order paid/ü", json_schema("other")).version == 2


def test_errors_have_the_same_classes(remote: RemoteRegistry, served: DatabaseRegistry) -> None:
    for attempt in (
        lambda: remote.versions("nope"),
        lambda: remote.by_id(5),
        lambda: remote.look_up("nope", ORDER),
    ):
        with pytest.raises(UnknownSchema):
            attempt()
    with pytest.raises(InvalidSchema):
        remote.register("order.paid", Schema(ORDER.format, "{"))
    remote.register("order.paid", ORDER)
    from eventbus.contracts.registry.access import Access

    served.set_access(Access.READONLY)
    with pytest.raises(ReadOnly):
        remote.register("order.sent", ORDER)


def test_a_refusal_names_the_readers(remote: RemoteRegistry) -> None:
    remote.register("order.paid", json_schema("order_id", "total"))
    remote.add_readers([reader(json_schema("order_id", "total"))])
    assert remote.readers("order.paid") == [reader(json_schema("order_id", "total"))]
    with pytest.raises(RefusedVersion, match=r"breaks shop\.billing 1\.4, handler charge"):
        remote.register("order.paid", ORDER)


def test_what_is_referred_to_comes_along(remote: RemoteRegistry) -> None:
    address = json_schema("street", **{"$id": "https://example.org/address"})
    remote.register("address", address)
    order = Schema.of({"$ref": "https://example.org/address"}, "json")
    added = remote.register(
        "order", order, [Reference("https://example.org/address", "address", 1)]
    )
    assert added.schema.references == {"https://example.org/address": address.text}
    assert remote.by_id(added.id).schema == added.schema


def test_the_login_is_in_the_url_and_nowhere_else(
    served: DatabaseRegistry, own_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = RegistryServer(RegistryApplication(served, Guard(TOKEN)), "127.0.0.1", 0)
    server.start()
    try:
        host = server.address.removeprefix("http://")
        quoted = TOKEN.replace("/", "%2F").replace("+", "%2B")
        remote = RemoteRegistry(f"http://shop:{quoted}@{host}", own_engine)
        assert remote.subjects() == []
        with pytest.raises(RegistryUnavailable, match="refuses the login") as caught:
            RemoteRegistry(f"http://shop:wrong-password-1234@{host}", own_engine).versions("x")
    finally:
        server.close()
    for shown in (caplog.text, str(caught.value)):
        assert TOKEN not in shown
        assert quoted not in shown
        assert "wrong-password" not in shown


# Away.


def test_what_was_read_is_read_while_it_is_away(
    server: RegistryServer, own_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    first = RemoteRegistry(server.address, own_engine)
    added = first.register("order.paid", ORDER)
    first.add_readers([reader(ORDER)])
    told = (first.subjects(), first.versions("order.paid"), first.mode("order.paid"))
    assert first.by_id(added.id) == added
    assert first.readers("order.paid") == [reader(ORDER)]
    server.close()
    # A process that starts now has it from the application's database.
    later = RemoteRegistry(server.address, own_engine)
    assert (later.subjects(), later.versions("order.paid"), later.mode("order.paid")) == told
    assert later.by_id(added.id) == added
    assert later.look_up("order.paid", ORDER) == added
    assert later.readers("order.paid") == [reader(ORDER)]
    assert caplog.text.count("what the schema registry said before is used") == 1
    for attempt in (
        lambda: later.versions("never.read"),
        lambda: later.by_id(5),
        lambda: later.register("order.paid", json_schema("new")),
        lambda: later.check("order.paid", ORDER),
    ):
        with pytest.raises(RegistryUnavailable):
            attempt()


def test_it_is_not_asked_again_and_again_while_it_is_away(
    own_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteRegistry("http://127.0.0.1:1", own_engine)
    asked = []
    once = http.RegistryHttp._once
    monkeypatch.setattr(
        http.RegistryHttp,
        "_once",
        lambda self, *arguments: asked.append(arguments) or once(self, *arguments),  # type: ignore[func-returns-value]
    )
    for _ in range(5):
        with pytest.raises(RegistryUnavailable):
            remote.subjects()
    assert len(asked) == http.ATTEMPTS
    monkeypatch.setattr(http, "SILENT_SECONDS", 0.0)
    remote._http._silent_until = 0.0
    with pytest.raises(RegistryUnavailable):
        remote.subjects()
    assert len(asked) == 2 * http.ATTEMPTS


def test_a_database_without_our_tables_costs_nothing_but_the_memory(
    server: RegistryServer, tmp_path: Path
) -> None:
    engine = database.make_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    remote = RemoteRegistry(server.address, engine)
    added = remote.register("order.paid", ORDER)
    assert remote.versions("order.paid") == [added]
    assert remote.by_id(added.id) == added
    engine.dispose()


def test_what_the_registry_has_deleted_is_not_remembered(
    server: RegistryServer, served: DatabaseRegistry, own_engine: Engine
) -> None:
    remote = RemoteRegistry(server.address, own_engine)
    remote.register("order.paid", ORDER)
    remote.versions("order.paid")
    served.delete_subject("order.paid")
    with pytest.raises(UnknownSchema):
        remote.versions("order.paid")
    server.close()
    with pytest.raises(RegistryUnavailable):
        RemoteRegistry(server.address, own_engine).versions("order.paid")


# Registries of others, and what is none.

Answer = Callable[[str, str, bytes], tuple[int, dict[str, str], bytes]]


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """An HTTP server that answers what the test's parameter says."""
    answer: Answer = request.param

    class Handler(BaseHTTPRequestHandler):
        def _answered(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, headers, body = answer(self.command, self.path, self.rfile.read(length))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _answered

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def confluent(method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """As the original: no readers, own ids, text compared."""
    if path.endswith("/readers"):
        return 404, {}, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'
    if method == "POST" and path.endswith("/versions"):
        return 409, {}, b'{"error_code": 409, "message": "Schema being registered is incompatible"}'
    if method == "POST":
        return 404, {}, b'{"error_code": 40403, "message": "Schema not found"}'
    if path.endswith("/versions"):
        return 200, {}, b"[3]"
    version = {"subject": "order.paid", "version": 3, "id": 7, "schemaType": "JSON"}
    pretty = json.dumps(json.loads(ORDER.text), indent=2, sort_keys=True)
    return 200, {}, json.dumps({**version, "schema": pretty, "guid": "x"}).encode()


@pytest.mark.parametrize("other", [confluent], indirect=True)
def test_a_registry_of_others_is_one_too(other: str, own_engine: Engine) -> None:
    remote = RemoteRegistry(other, own_engine)
    found = remote.look_up("order.paid", ORDER)
    assert (found.version, found.id) == (3, 7)
    # It keeps no readers: they are kept here.
    remote.add_readers([reader(ORDER)])
    assert remote.readers("order.paid") == [reader(ORDER)]
    with pytest.raises(RefusedVersion, match=r"breaks shop\.billing") as caught:
        remote.register("order.paid", json_schema("other"))
    assert "Schema being registered is incompatible" in str(caught.value)


def _always(status: int, body: bytes, **headers: str) -> Answer:
    return lambda method, path, given: (status, headers, body)


@pytest.mark.parametrize(
    "other",
    [
        _always(200, b"<html>welcome</html>"),
        _always(200, b"{}"),
        _always(200, b'{"subject": 5}'),
        _always(200, b'["a", 5, null]'),
        _always(200, b"[" * 100_000),
        _always(200, b"5"),
        _always(200, b""),
        _always(302, b"", Location="http://evil.test/"),
        _always(500, b"Traceback \x1b[31m"),
        _always(503, b"later"),
        _always(404, b"<html>"),
        _always(401, b"{}"),
        _always(418, b'{"error_code": "x", "message": 5}'),
        _always(200, b" " * (http.ANSWER_MAX_BYTES + 1)),
    ],
    indirect=True,
)
def test_odd_answers_are_errors_of_ours(other: str, own_engine: Engine) -> None:
    remote = RemoteRegistry(other, own_engine)
    for attempt in (
        lambda: remote.versions("order.paid"),
        lambda: remote.by_id(5),
        lambda: remote.mode(),
        lambda: remote.check("order.paid", ORDER),
        lambda: remote.look_up("order.paid", ORDER),
        lambda: remote.register("order.paid", ORDER),
    ):
        with pytest.raises(RegistryUnavailable) as caught:
            attempt()
        assert "\x1b" not in str(caught.value)


# Opening.


def test_the_setting_says_which_registry_is_opened(tmp_path: Path) -> None:
    own = f"sqlite:///{tmp_path / 'own.db'}"
    other = f"sqlite:///{tmp_path / 'registry.db'}"
    bus = EventBus("shop", database_url=own)
    assert isinstance(open_registry(bus), DatabaseRegistry)
    assert isinstance(open_registry(Settings(database_url=own)), DatabaseRegistry)
    shared = open_registry(EventBus("shop", database_url=own, registry_url=other))
    assert isinstance(shared, DatabaseRegistry)
    assert str(shared._engine.url) == other
    at_address = EventBus("shop", database_url=own, registry_url="http://user:s3cret@localhost:1/x")
    assert isinstance(open_registry(at_address), RemoteRegistry)
