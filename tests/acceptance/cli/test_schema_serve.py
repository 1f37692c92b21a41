"""``eventbus schema serve``: a registry that other programs reach, and only those that may."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

import httpx
import pytest

from eventbus.contracts.registry.remote import RemoteRegistry
from eventbus.database import make_engine
from tests.acceptance.cli.conftest import PASSWORD, Process, Shop
from tests.integration.registry.schemas import body, json_schema

TOKEN = "hunter2-hunter2-hunter2"
SERVE = ("schema", "serve", "--port", "0")


def address(process: Process) -> str:
    """Where it says that it is."""
    process.wait_for("token ", in_err=True)
    found = re.search(r"address +(http://\S+)", process.err)
    assert found, process.err
    return found[1]


def test_it_serves_the_applications_registry_until_it_is_stopped(bare: Shop) -> None:
    with bare.process(*SERVE) as process:
        url = address(process)
        added = httpx.post(f"{url}/subjects/order.paid/versions", json=body(json_schema("a")))
        assert added.status_code == 200
        engine = make_engine(f"sqlite:///{bare.folder / 'eventbus.db'}")
        assert RemoteRegistry(url, engine).subjects() == ["order.paid"]
        engine.dispose()
        assert "none: whoever reaches it may register" in process.err
        port = url.rpartition(":")[2]
        second = bare.run("schema", "serve", "--port", port)
        assert second.returncode == 1
        assert f"--port {port}: something listens" in second.stderr
        assert process.end() == 0
    assert "Traceback" not in process.err
    assert "order.paid version 1 is the schema with id" in process.err


def test_a_request_that_is_being_answered_at_the_end_is_answered(bare: Shop) -> None:
    with bare.process(*SERVE) as process:
        url = address(process)
        statuses: list[int] = []

        def ask() -> None:
            with httpx.Client(base_url=url) as client:
                for n in range(1000):
                    request = body(json_schema(f"a{n}"))
                    try:
                        answer = client.post(f"/subjects/s{n}/versions", json=request)
                    except httpx.TransportError:
                        return
                    statuses.append(answer.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        process.wait_for("s3 version 1", in_err=True)
        assert process.end(signal.SIGINT) == 0
        asking.join(20)
    assert set(statuses) == {200}


@pytest.mark.parametrize("how", ["environment", "file"])
def test_with_a_token_nothing_is_answered_without_it(bare: Shop, how: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    options = ("--token-file", "token") if how == "file" else ()
    env = {"EVENTBUS_SCHEMA_SERVE_TOKEN": TOKEN} if how == "environment" else {}
    with bare.process(*SERVE, *options, "--host", "0.0.0.0", env=env) as process:
        url = address(process).replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/subjects").status_code == 401
        assert httpx.get(f"{url}/subjects", auth=("any", TOKEN)).json() == []
        bearer = {"Authorization": f"Bearer {TOKEN}", "Host": "registry.example.org"}
        assert httpx.get(f"{url}/subjects", headers=bearer).json() == []
        assert process.end() == 0
        assert PASSWORD not in process.err + process.out


def test_everybody_is_let_in_when_that_is_asked_for(bare: Shop) -> None:
    with bare.process(*SERVE, "--host", "0.0.0.0", "--without-token") as process:
        url = address(process).replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/subjects").json() == []
        assert httpx.get(f"{url}/subjects", headers={"Host": "evil.test"}).status_code == 400
        assert process.end() == 0


def test_a_database_that_is_away_ends_the_start(bare: Shop) -> None:
    url = f"postgresql+psycopg://app:{PASSWORD}@127.0.0.1:1/shop"
    done = bare.run(*SERVE, env={"EVENTBUS_DATABASE_URL": url})
    assert done.returncode == 3
    assert "127.0.0.1:1" in done.stderr


def test_another_database_than_the_applications_may_be_served(bare: Shop) -> None:
    env = {"EVENTBUS_REGISTRY_URL": "sqlite:///registry.db"}
    with bare.process(*SERVE, env=env) as process:
        url = address(process)
        httpx.post(f"{url}/subjects/order.paid/versions", json=body(json_schema("a")))
        assert process.end() == 0
    assert (bare.folder / "registry.db").exists()
    assert not (bare.folder / "eventbus.db").exists()
