"""The registry over HTTP: statuses, codes and forms, and clients that mean no good."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventbus import database
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.server import listening
from eventbus.contracts.registry.server.application import (
    CONTENT_TYPE,
    REQUEST_MAX_BYTES,
    RegistryApplication,
)
from eventbus.contracts.registry.server.endpoints import ENDPOINTS
from eventbus.contracts.registry.server.guard import Guard
from eventbus.contracts.registry.server.listening import RegistryServer
from eventbus.errors import ConfigurationError
from eventbus.listening import PortUnavailable
from tests.integration.registry.schemas import avro_text, body, json_schema, reader

ORDER = json_schema("order_id")
VERSIONS = "/subjects/order.paid/versions"


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a registry that no test changes: what is bad leaves nothing behind."""
    engine = database.make_engine(f"sqlite:///{tmp_path_factory.mktemp('served') / 'a.db'}")
    database.upgrade(engine)
    server = RegistryServer(RegistryApplication(DatabaseRegistry(engine), Guard()), "127.0.0.1", 0)
    server.start()
    with httpx.Client(base_url=server.address) as client:
        yield client
        assert client.get("/subjects?deleted=true").json() == []
        assert client.get("/config").json() == {"compatibilityLevel": "FULL_TRANSITIVE"}
        assert client.get("/mode").json() == {"mode": "READWRITE"}
    server.close()
    engine.dispose()


def refused(response: httpx.Response) -> tuple[int, int]:
    """Status and code; every refusal is JSON with a sentence."""
    assert response.headers["content-type"] == CONTENT_TYPE
    problem = response.json()
    assert set(problem) == {"error_code", "message"}
    assert problem["message"]
    return response.status_code, problem["error_code"]


def test_an_answer_has_the_form_of_the_original(client: httpx.Client) -> None:
    added = client.post(VERSIONS, json=body(ORDER))
    assert (added.status_code, list(added.json())) == (200, ["id"])
    assert added.headers["content-type"] == CONTENT_TYPE
    id = added.json()["id"]
    assert client.get(f"{VERSIONS}/latest").json() == client.get(f"{VERSIONS}/-1").json()
    assert client.get(f"{VERSIONS}/1").json() == {
        "subject": "order.paid",
        "version": 1,
        "id": id,
        "schemaType": "JSON",
        "schema": ORDER.text,
    }
    assert client.get(f"/schemas/ids/{id}").json() == {"schemaType": "JSON", "schema": ORDER.text}
    assert client.get(f"/schemas/ids/{id}?fetchMaxId=true").json()["maxId"] == id
    assert client.get(f"/schemas/ids/{id}/schema").text == ORDER.text
    assert client.get(f"{VERSIONS}/1/schema").text == ORDER.text
    assert client.get(f"/schemas/ids/{id}/subjects").json() == ["order.paid"]
    assert client.get(f"/schemas/ids/{id}/versions").json() == [
        {"subject": "order.paid", "version": 1}
    ]
    assert client.post("/subjects/order.paid", json=body(ORDER)).json()["version"] == 1
    assert client.get("/").json() == {}


def test_avro_is_the_type_that_is_not_said(client: httpx.Client) -> None:
    id = client.post(VERSIONS, json={"schema": avro_text("order_id")}).json()["id"]
    assert list(client.get(f"/schemas/ids/{id}").json()) == ["schema"]
    assert "schemaType" not in client.get(f"{VERSIONS}/1").json()


def test_lists_are_filtered_and_cut(client: httpx.Client) -> None:
    for name in ("a.x", "a.y", "b.x"):
        client.post(f"/subjects/{name}/versions", json=body(ORDER))
    client.delete("/subjects/a.y")
    assert client.get("/subjects").json() == ["a.x", "b.x"]
    assert client.get("/subjects?subjectPrefix=a.").json() == ["a.x"]
    assert client.get("/subjects?subjectPrefix=:*:a.&deleted=true").json() == ["a.x", "a.y"]
    assert client.get("/subjects?deletedOnly=true").json() == ["a.y"]
    assert client.get("/subjects?offset=1&limit=1").json() == ["b.x"]
    assert client.get("/subjects?limit=-1").json() == ["a.x", "b.x"]
    assert client.get("/subjects/a.y/versions?deleted=true").json() == [1]
    assert [one["subject"] for one in client.get("/schemas").json()] == ["a.x", "b.x"]
    assert [one["subject"] for one in client.get("/schemas?limit=1&offset=1").json()] == ["b.x"]
    prefixed = client.get("/schemas?subjectPrefix=A.&latestOnly=true")
    assert prefixed.json() == []


def test_a_check_says_why_when_it_is_asked_to(client: httpx.Client) -> None:
    client.post(VERSIONS, json=body(ORDER))
    other = body(json_schema("other"))
    for path in (f"/compatibility{VERSIONS}", f"/compatibility{VERSIONS}/latest"):
        assert client.post(path, json=other).json() == {"is_compatible": False}
        verbose = client.post(f"{path}?verbose=True", json=other).json()
        assert any("other" in text for text in verbose["messages"])
        assert {"kind", "path", "message", "version", "direction"} == set(verbose["differences"][0])
        assert client.post(path, json=body(ORDER)).json() == {"is_compatible": True}
    new = "/compatibility/subjects/new/versions"
    assert client.post(new, json=other).json()["is_compatible"]
    assert client.post(f"{new}/latest", json=other).json()["is_compatible"]
    assert refused(client.post(f"{new}/1", json=other)) == (404, 40401)


def test_a_refusal_names_what_differs_and_who_breaks(client: httpx.Client) -> None:
    client.post(VERSIONS, json=body(json_schema("order_id", "total")))
    told = {
        "service": "shop",
        "release": "1.4",
        "queue": "shop.billing",
        "handler": "charge",
        "schemaType": "JSON",
        "schema": json_schema("order_id", "total").text,
        "references": {},
        "seenAtMs": 5,
    }
    path = "/subjects/order.paid/readers"
    assert client.put(path, json={"readers": [told]}).json() == {"readers": [told]}
    assert client.get(path).json() == {"readers": [told]}
    response = client.post(VERSIONS, json=body(ORDER))
    assert refused(response) == (409, 409)
    assert "breaks shop.billing 1.4, handler charge" in response.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "content", "expected"),
    [
        ("GET", "/nope", None, (404, 404)),
        ("PATCH", "/subjects", None, (405, 405)),
        ("GET", "/subjects/x/versions", None, (404, 40401)),
        ("GET", "/subjects/x/versions/0", None, (422, 42202)),
        ("GET", "/subjects/x/versions/2147483648", None, (422, 42202)),
        ("GET", "/subjects/x/versions/²", None, (422, 42202)),
        ("GET", "/subjects/%FF/versions", None, (422, 42208)),
        ("GET", "/subjects/a%00b/versions", None, (422, 42208)),
        ("GET", "/subjects/:.ctx:a/versions", None, (422, 42208)),
        ("GET", "/schemas/ids/x", None, (404, 40403)),
        ("GET", "/schemas/ids/99999999999999999999", None, (404, 40403)),
        ("GET", "/subjects?limit=1e9", None, (400, 400)),
        ("GET", "/schemas?offset=-5", None, (400, 400)),
        ("GET", "/config/x", None, (404, 40408)),
        ("GET", "/mode/x", None, (404, 40409)),
        ("DELETE", "/config/x", None, (404, 40401)),
        ("DELETE", "/mode/x", None, (404, 40401)),
        ("DELETE", "/subjects/x", None, (404, 40401)),
        ("DELETE", "/subjects/x/versions/1", None, (404, 40401)),
        ("POST", VERSIONS, b"", (400, 400)),
        ("POST", VERSIONS, b"{", (400, 400)),
        ("POST", VERSIONS, b"[]", (400, 400)),
        ("POST", VERSIONS, b"\xff", (400, 400)),
        ("POST", VERSIONS, b"[" * 200_000, (400, 400)),
        ("POST", VERSIONS, b'{"schema": NaN}', (400, 400)),
        ("POST", VERSIONS, b"{}", (422, 42201)),
        ("POST", VERSIONS, b'{"schema": 5}', (422, 42201)),
        ("POST", VERSIONS, b'{"schema": "{"}', (422, 42201)),
        ("POST", VERSIONS, b'{"schema": "{}", "schemaType": "XML"}', (422, 42201)),
        ("POST", VERSIONS, b'{"schema": "\\ud800", "schemaType": "JSON"}', (422, 42201)),
        ("POST", VERSIONS, b'{"schema": "{}", "schemaType": "JSON", "id": 7}', (422, 42205)),
        ("POST", VERSIONS, b'{"schema": "{}", "ruleSet": {"a": 1}}', (422, 42205)),
        ("POST", VERSIONS, b'{"schema": "{}", "references": [{}]}', (422, 42201)),
        ("PUT", "/config", b'{"compatibility": "MAYBE"}', (422, 42203)),
        # Not "NONE", which is a mode.
        ("PUT", "/config", b"{}", (422, 42203)),
        ("PUT", "/config", b'{"compatibility": null}', (422, 42203)),
        ("PUT", "/mode", b"{}", (422, 42204)),
        ("PUT", "/config", b'{"compatibility": "NONE", "alias": "x"}', (422, 42205)),
        ("PUT", "/mode", b'{"mode": "IMPORT"}', (422, 42204)),
        ("PUT", "/subjects/x/readers", b'{"readers": 5}', (400, 400)),
        ("PUT", "/subjects/x/readers", b'{"readers": [{"service": 1}]}', (400, 400)),
    ],
)
def test_bad_input_is_refused_with_a_code(
    unchanged: httpx.Client,
    method: str,
    path: str,
    content: bytes | None,
    expected: tuple[int, int],
) -> None:
    headers = {"Content-Type": CONTENT_TYPE} if content is not None else {}
    response = unchanged.request(method, path, content=content, headers=headers)
    assert refused(response) == expected


@pytest.mark.parametrize(
    "bad",
    [
        {"schemaType": "JSON", "schema": '{"$ref": "http://evil.test/x"}'},
        {"schemaType": "JSON", "schema": '{"$ref": "file:///etc/passwd"}'},
        {"schemaType": "JSON", "schema": '{"type": "string", "pattern": "("}'},
        {"schemaType": "AVRO", "schema": '{"type": "record", "name": "A"}'},
        {
            "schemaType": "AVRO",
            "schema": '{"type":"record","name":"A","fields":'
            '[{"name":"a","type":"int","default":"x"}]}',
        },
        {"schemaType": "PROTOBUF", "schema": 'syntax = "proto3"; import "../../etc/passwd";'},
        {"schemaType": "PROTOBUF", "schema": "message {"},
    ],
)
def test_bad_schemas_are_refused_in_little_time(unchanged: httpx.Client, bad: Any) -> None:
    started = time.monotonic()
    assert refused(unchanged.post(VERSIONS, json=bad)) == (422, 42201)
    assert time.monotonic() - started < 10
    assert unchanged.get("/subjects").json() == []


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("application/vnd.schemaregistry.v1+json", "application/vnd.schemaregistry.v1+json"),
        ("application/vnd.schemaregistry+json", "application/vnd.schemaregistry+json"),
        ("application/json", "application/json"),
        ("text/html, application/json;q=0.5", "application/json"),
        ("*/*", "application/vnd.schemaregistry.v1+json"),
        ("application/*", "application/vnd.schemaregistry.v1+json"),
    ],
)
def test_the_client_chooses_the_content_type(
    unchanged: httpx.Client, accept: str, answered: str
) -> None:
    response = unchanged.get("/subjects", headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"]) == (200, answered)


def test_other_content_types_are_refused(client: httpx.Client) -> None:
    assert refused(client.get("/subjects", headers={"Accept": "text/html"})) == (406, 406)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        response = client.post(VERSIONS, content=b"{}", headers={"Content-Type": content_type})
        assert refused(response) == (415, 415)
    octets = {"Content-Type": "application/octet-stream"}
    content = json.dumps(body(ORDER)).encode()
    assert client.post(VERSIONS, content=content, headers=octets).status_code == 200


def test_every_address_but_those_of_lists_is_known_by_its_method(unchanged: httpx.Client) -> None:
    for endpoint in ENDPOINTS:
        path = re.sub("<[a-z]+>", "1", endpoint.path)
        response = unchanged.request("TRACE", path)
        assert refused(response) == (405, 405)
        assert endpoint.method in response.headers["allow"]


def test_a_name_and_a_page_that_are_not_ours_are_refused(unchanged: httpx.Client) -> None:
    assert refused(unchanged.get("/subjects", headers={"Host": "evil.test"})) == (400, 400)
    forwarded = {"X-Forwarded-Host": "evil.test", "X-Forwarded-For": "1.2.3.4"}
    assert unchanged.get("/subjects", headers=forwarded).status_code == 200
    page = {"Origin": "https://evil.test"}
    assert refused(unchanged.get("/subjects", headers=page)) == (403, 40301)


def test_an_error_of_the_registry_shows_nothing_of_it(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(DatabaseRegistry, "subjects", fail)
    response = client.get("/subjects")
    assert refused(response) == (500, 500)
    assert "secret" not in response.text


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://app:s3cret@127.0.0.1:1/shop", "sqlite:///{tmp_path}/empty.db"]
)
def test_a_database_that_is_away_or_empty_is_an_error_of_the_store(
    url: str, tmp_path: Path
) -> None:
    engine = database.make_engine(url.format(tmp_path=tmp_path))
    application = RegistryApplication(DatabaseRegistry(engine), Guard())
    transport = httpx.WSGITransport(application)
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        response = client.get("/subjects")
        assert client.get("/livez").json() == {"live": True}
        assert client.get("/readyz").status_code == 500
    assert refused(response) == (500, 50001)
    assert "s3cret" not in response.text
    engine.dispose()


def test_who_looks_after_the_process_needs_no_token(served: DatabaseRegistry) -> None:
    application = RegistryApplication(served, Guard("a-token-of-these-tests"))
    transport = httpx.WSGITransport(application)
    with httpx.Client(transport=transport, base_url="http://10.0.0.7:8081") as client:
        assert client.get("/livez").json() == {"live": True}
        assert client.get("/readyz").json() == {"ready": True}
        assert refused(client.get("/subjects")) == (401, 40101)


# Large, slow and endless.


def test_what_is_too_large_is_refused_in_json(client: httpx.Client) -> None:
    large = b"x" * (REQUEST_MAX_BYTES + 1)
    assert refused(client.post(VERSIONS, content=large)) == (413, 413)
    long = {"X-Long": "x" * 100_000}
    assert refused(client.get("/subjects", headers=long)) == (431, 431)
    schema = '{"title": "' + "x" * 1_100_000 + '"}'
    response = client.post(VERSIONS, json={"schemaType": "JSON", "schema": schema})
    assert refused(response) == (422, 42201)


def _send_all(server: RegistryServer, parts: Any) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
        return received


def test_an_endless_body_in_chunks_is_refused(server: RegistryServer) -> None:
    def endless() -> Any:
        yield (
            f"POST {VERSIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n"
        ).encode()
        for _ in range(1000):
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    answer = _send_all(server, endless())
    # The rest of what is sent may reset the connection before the answer is read.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_in_chunks_is_read(client: httpx.Client) -> None:
    content = json.dumps(body(ORDER)).encode()
    parts = (content[n : n + 7] for n in range(0, len(content), 7))
    response = client.post(VERSIONS, content=parts, headers={"Content-Type": CONTENT_TYPE})
    assert response.status_code == 200


def test_a_request_that_drips_is_cut_off_and_holds_up_nobody(
    server: RegistryServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "REQUEST_SECONDS", 0.5)
    with socket.create_connection((server.host, server.port), timeout=20) as slow:
        slow.sendall(b"GET /subjects HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        started = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() - started < 15:
                slow.sendall(b"x")
                assert client.get("/subjects").status_code == 200
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 99])
def test_what_is_no_http_ends_the_connection_only(
    server: RegistryServer, client: httpx.Client, rubbish: bytes
) -> None:
    _send_all(server, [rubbish + b"\r\n\r\n"])
    assert client.get("/subjects").status_code == 200


def test_a_port_that_is_taken_is_named(server: RegistryServer, served: DatabaseRegistry) -> None:
    application = RegistryApplication(served, Guard())
    with pytest.raises(PortUnavailable, match=f"--port {server.port}"):
        RegistryServer(application, "127.0.0.1", server.port)
    with pytest.raises(ConfigurationError, match=r"nowhere\.invalid"):
        RegistryServer(application, "nowhere.invalid", 0)


def test_readers_are_those_that_were_put(client: httpx.Client, served: DatabaseRegistry) -> None:
    served.add_readers([reader(ORDER)])
    [found] = client.get("/subjects/order.paid/readers").json()["readers"]
    assert (found["handler"], found["schema"]) == ("charge", ORDER.text)
