"""Whatever a request says, the registry answers in JSON and never with an error of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus import database
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.server.application import RegistryApplication
from eventbus.contracts.registry.server.endpoints import ENDPOINTS
from eventbus.contracts.registry.server.guard import Guard
from eventbus.contracts.registry.server.listening import RegistryServer
from tests.integration.registry.schemas import avro_text, json_schema
from tests.services import PostgreSQL


@pytest.fixture(scope="module")
def client(postgres: PostgreSQL) -> Iterator[httpx.Client]:
    # SQLite stores whatever it is given.
    url = postgres.create_database()
    engine = database.make_engine(url)
    database.upgrade(engine)
    server = RegistryServer(RegistryApplication(DatabaseRegistry(engine), Guard()), "127.0.0.1", 0)
    server.start()
    with httpx.Client(base_url=server.address) as client:
        yield client
    server.close()
    engine.dispose()
    postgres.drop_database(url)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
_schemas = st.sampled_from(
    [
        json_schema("a").text,
        json_schema("b").text,
        avro_text("a"),
        avro_text("a", "b"),
        "{}",
        "true",
        "[]",
        '"string"',
        "",
    ]
)
_references = st.lists(
    st.fixed_dictionaries({"name": st.text(max_size=5), "subject": st.sampled_from("ab")})
    | st.fixed_dictionaries(
        {"name": st.just("x"), "subject": st.sampled_from("ab"), "version": st.integers(-2, 3)}
    ),
    max_size=2,
)
_names = st.text(max_size=4)
_readers = st.lists(
    st.fixed_dictionaries(
        {
            "service": _names,
            "release": _names,
            "queue": _names,
            "handler": _names,
            "schema": _schemas | _names,
            "seenAtMs": st.integers(0, 2**54),
        }
    ),
    max_size=2,
)
_bodies = st.fixed_dictionaries(
    {},
    optional={
        "schema": _schemas | _values,
        "schemaType": st.sampled_from(["JSON", "AVRO"]) | _values,
        "references": _references | _values,
        "compatibility": st.sampled_from(["NONE", "FULL", "BACKWARD_TRANSITIVE"]) | _values,
        "mode": st.sampled_from(["READWRITE", "READONLY"]) | _values,
        "readers": _readers | _values,
        "version": st.integers(-1, 2),
    },
)
_queries = st.dictionaries(
    st.sampled_from(
        [
            "deleted",
            "permanent",
            "deletedOnly",
            "verbose",
            "format",
            "limit",
            "offset",
            "subjectPrefix",
            "defaultToGlobal",
            "fetchMaxId",
            "latestOnly",
            "normalize",
        ]
    ),
    st.sampled_from(["true", "false", "", "1", "-1", "serialized", "x", "99999999999999"]),
    max_size=3,
)
_parts: dict[str, st.SearchStrategy[str]] = {
    "<subject>": st.sampled_from("ab") | st.text(min_size=1, max_size=12),
    "<version>": st.sampled_from(["1", "2", "latest", "-1", "0"]) | st.text(min_size=1, max_size=5),
    "<id>": st.integers(0, 2**33).map(str) | st.text(min_size=1, max_size=5),
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, str], Any]:
    """A request to one of the addresses, mostly with parts that are there."""
    endpoint = draw(st.sampled_from(ENDPOINTS))
    path = endpoint.path
    for name, part in _parts.items():
        if name in path:
            path = path.replace(name, quote(draw(part).encode("utf-8", "replace"), safe=""))
    body = draw(_bodies | _values) if endpoint.takes_body else None
    return endpoint.method, path, draw(_queries), body


@settings(max_examples=200, deadline=None)
@given(asked=st.lists(requests(), min_size=1, max_size=4))
def test_every_request_has_an_answer(client: httpx.Client, asked: list[Any]) -> None:
    for method, path, query, body in asked:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        response = client.request(method, path, params=query, content=content, headers=headers)
        answer = response.json()
        if response.status_code != 200:
            assert str(answer["error_code"]).startswith(str(response.status_code))
            assert response.status_code < 500, (method, path, query, body, answer)


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"]),
    path=st.text(max_size=30),
    query=st.text(max_size=10),
    content=st.binary(max_size=40),
    headers=st.dictionaries(
        st.sampled_from(["Accept", "Content-Type", "Authorization", "Origin", "Sec-Fetch-Site"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip),
        max_size=3,
    ),
)
def test_rubbish_is_refused_and_nothing_else(
    client: httpx.Client,
    method: str,
    path: str,
    query: str,
    content: bytes,
    headers: dict[str, str],
) -> None:
    url = f"/{quote(path.encode('utf-8', 'replace'))}?{quote(query.encode('utf-8', 'replace'))}"
    response = client.request(method, url, content=content, headers=headers)
    assert response.status_code < 500
