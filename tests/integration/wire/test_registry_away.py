"""A registry that is killed stops nothing that is known, and costs nothing that is not."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from eventbus import Context, Event
from eventbus.contracts import writers
from eventbus.contracts.avro import CODEC
from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.registry import open_registry
from eventbus.contracts.wire.frame import frame
from eventbus.message import Message
from tests.integration.handling.conftest import MakeBus, Shop
from tests.services.ports import Port
from tests.waiting import wait_until


class Registry:
    """``eventbus schema serve``, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = Port()
        self.url = f"http://127.0.0.1:{self._port.number}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        database = f"sqlite:///{self._folder / 'registry.db'}"
        command = Path(sys.executable).with_name("eventbus")
        self._process = subprocess.Popen(
            [command, "schema", "serve", "--port", str(self._port.number)],
            env={**os.environ, "EVENTBUS_DATABASE_URL": database},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(
            lambda: httpx.get(f"{self.url}/subjects").is_success,
            30,
            "a registry",
            retry_on=httpx.HTTPError,
        )

    def kill(self) -> None:
        """SIGKILL, as when its machine is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._port.release()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry in a process of its own, running."""
    found = Registry(tmp_path)
    found.start()
    yield found
    found.close()


class Known(Event, name="order.known", format="avro"):
    """Its schema has been looked up before."""

    order_id: UUID


class Later(Event, name="order.later", format="avro"):
    """Its schema is not known when its first event comes."""

    order_id: UUID
    at: dt.datetime


def test_what_is_known_goes_on_and_what_is_not_waits(
    make_shop: MakeBus, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "SILENCE_SECONDS", 1.0)
    shop = make_shop(registry_url=registry.url)
    handled: list[tuple[str, int]] = []

    @shop.bus.handler("order.*", queue="billing")
    def take(event: Known | Later, context: Context) -> None:
        handled.append((event.__event_name__, context.attempt))

    known = open_registry(shop.bus).register("order.known", writer_contract(Known))
    later = open_registry(shop.bus).register("order.later", writer_contract(Later))
    with shop.running() as worker:
        send(shop, "order.known", known.id, Known(order_id=uuid4()))
        wait_until(lambda: len(handled) == 1, 15, "the event whose schema is asked for")
        registry.kill()
        event = Later(order_id=uuid4(), at=dt.datetime.now(dt.timezone.utc))
        send(shop, "order.later", later.id, event)
        for _ in range(3):
            shop.publish(Known(order_id=uuid4()))
        wait_until(lambda: len(handled) == 4, 15, "what is known, while the registry is away")
        assert {name for name, _ in handled} == {"order.known"}
        assert shop.depth("shop.billing.dlq") == 0
        registry.start()
        wait_until(lambda: len(handled) == 5, 60, "the event that waited for the registry")
        counts = worker.report().queues["shop.billing"].handlers["take"]
    assert handled[-1] == ("order.later", 1), "waiting has cost no attempt"
    assert (counts.retried, counts.dead_lettered) == (0, 0)


def send(shop: Shop, name: str, schema_id: int, event: Any) -> None:
    """As a service does that has the contract in a lock file."""
    payload = CODEC.encoder(type(event), writer_contract(type(event)))(event)
    headers = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": str(uuid4()),
        "cloudEvents_source": "elsewhere",
        "cloudEvents_type": name,
    }
    publisher = shop.bus.broker.publisher("elsewhere")
    try:
        publisher.wait_ready(30)
        body = frame(schema_id, payload)
        publisher.publish([Message(body, name, headers, content_type="application/avro")]).result(
            30
        )
    finally:
        publisher.close()
