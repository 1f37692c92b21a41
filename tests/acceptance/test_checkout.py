"""The checkout service over HTTP: what customers and the other services see of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from eventbus import tables
from eventbus.sample_app.checkout.models import Order
from eventbus.sample_app.prepare import create_tables
from tests.services.ports import Port
from tests.waiting import wait_until

GOOD = {"customer_id": str(uuid4()), "product_id": "tea"}


@pytest.fixture
def database(tmp_path: Path) -> sa.Engine:
    url = f"sqlite:///{tmp_path / 'checkout.db'}"
    create_tables("checkout", url)
    return sa.create_engine(url)


@pytest.fixture
def checkout(database: sa.Engine) -> Iterator[httpx.Client]:
    """A client of a running checkout. Its broker does not exist: it needs none."""
    port = Port()
    address = f"127.0.0.1:{port}"
    environment = {
        **os.environ,
        "CHECKOUT_DATABASE_URL": str(database.url),
        "EVENTBUS_BROKER_URL": "amqp://127.0.0.1:1/",
    }
    command = [sys.executable, "-m", "waitress", f"--listen={address}"]
    with (
        subprocess.Popen(
            [*command, "eventbus.sample_app.checkout.app:app"], env=environment
        ) as server,
        httpx.Client(base_url=f"http://{address}") as client,
    ):
        try:
            wait_until(
                lambda: client.get("/healthz").is_success,
                20,
                "checkout answers",
                retry_on=httpx.HTTPError,
            )
            yield client
        finally:
            server.terminate()
            port.release()


def count(database: sa.Engine, table: Any) -> int:
    with database.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_an_order_and_its_event_are_kept_together(
    checkout: httpx.Client, database: sa.Engine
) -> None:
    answer = checkout.post("/orders", json=GOOD)
    assert answer.status_code == 201
    assert checkout.get(answer.headers["Location"]).json() == answer.json()
    assert answer.json()["amount_cents"] == 450
    with database.connect() as connection:
        event = connection.execute(sa.select(tables.outbox)).one()
    assert event.name == "order.placed"
    assert event.partition_key == answer.json()["id"]


def test_without_the_outbox_there_is_no_order_either(
    checkout: httpx.Client, database: sa.Engine
) -> None:
    with database.begin() as connection:
        tables.outbox.drop(connection)
    assert checkout.post("/orders", json=GOOD).status_code == 500
    assert count(database, Order) == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b"[" * 500, 400),
        (b'{"customer_id": 7, "product_id": "tea"}', 400),
        (b'{"customer_id": "0b6b5a0e-30a7-4d7c-9f51-0d6c5a0d7f11", "product_id": "gold"}', 400),
        (b'{"product_id": "' + b"a" * 100_000 + b'"}', 413),
    ],
)
def test_a_bad_order_is_refused_and_leaves_nothing(
    checkout: httpx.Client, database: sa.Engine, body: bytes, status: int
) -> None:
    answer = checkout.post("/orders", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert "error" in answer.json()
    assert count(database, Order) == count(database, tables.outbox) == 0


def test_an_unknown_order_is_not_found(checkout: httpx.Client) -> None:
    assert checkout.get(f"/orders/{uuid4()}").status_code == 404
    assert checkout.get("/orders/7").status_code == 404
