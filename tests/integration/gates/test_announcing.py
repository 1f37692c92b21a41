"""Workers say what they read, and never wait for whoever is to hear it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from uuid import UUID

import pytest

from eventbus import EventBus, database
from eventbus.contracts.gates.locking import lock_contracts
from eventbus.contracts.gates.readers import REPEAT_MS, called
from eventbus.contracts.registry import open_registry
from eventbus.contracts.registry.server.listening import RegistryServer
from eventbus.errors import EventBusError
from eventbus.workers.monitoring import readers
from eventbus.workers.monitoring.readers import ReaderAnnouncer
from eventbus.workers.monitoring.report import QueueReport, Report
from tests.unit.contracts.gates.conftest import Shop
from tests.waiting import wait_until


class Consuming:
    """A service that consumes these queues."""

    name = "worker"

    def __init__(self, *queues: str) -> None:
        self._queues = queues

    def report(self) -> Report:
        return Report(
            "worker", "shop", "a worker", queues={name: QueueReport() for name in self._queues}
        )

    def run(self) -> None: ...

    def stop(self) -> None: ...

    def abort(self) -> None: ...


def known(bus: EventBus) -> list[str]:
    try:
        return [called(one) for one in open_registry(bus).readers("order.paid")]
    except EventBusError:
        return []


def reading_shop(shop: Shop) -> EventBus:
    """A handler in ``shop.billing`` of release 1.4, and a lock file."""
    bus = shop.restarted(release="1.4")
    shop.handler(shop.event(order_id=UUID))
    lock_contracts(bus, bus.published_events, {})
    return bus


def test_a_worker_says_what_its_queues_read(shop: Shop) -> None:
    bus = reading_shop(shop)

    with ReaderAnnouncer(bus, [Consuming("shop.billing")]):
        found = wait_until(lambda: known(bus), 10.0, "the reader is registered")

    assert found == ["shop.billing 1.4, handler charge"]


def test_a_worker_tells_a_registry_elsewhere(shop: Shop, server: RegistryServer) -> None:
    reading_shop(shop)
    bus = shop.restarted(release="1.4", registry_url=server.address)
    shop.handler(shop.event(order_id=UUID))

    with ReaderAnnouncer(bus, [Consuming("shop.billing")]):
        assert wait_until(lambda: known(bus), 10.0, "the reader is registered")


def test_a_queue_that_this_worker_does_not_consume_is_not_said(shop: Shop) -> None:
    bus = reading_shop(shop)

    with ReaderAnnouncer(bus, [Consuming("shop.other")]):
        pass
    with ReaderAnnouncer(bus, [Consuming()]):
        pass

    assert known(bus) == []


def test_an_application_without_contracts_tells_nobody(shop: Shop) -> None:
    bus = shop.restarted(release="1.4")
    shop.handler(shop.event(order_id=UUID))
    announcer = ReaderAnnouncer(bus, [Consuming("shop.billing")])

    with announcer:
        assert not announcer._thread.is_alive()


def test_a_registry_that_is_down_neither_delays_the_start_nor_the_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(readers, "TELL_AFTER_SECONDS", 0.0)
    reading_shop(shop)
    bus = shop.restarted(registry_url="http://127.0.0.1:1")
    shop.handler(shop.event(order_id=UUID))

    began = time.monotonic()
    with (
        caplog.at_level(logging.INFO, "eventbus.readers"),
        ReaderAnnouncer(bus, [Consuming("shop.billing")]),
    ):
        entered = time.monotonic() - began
        wait_until(lambda: caplog.messages, 10.0, "it is said")
    left = time.monotonic() - began

    assert entered < 2.0
    assert left < 12.0
    assert "everything else goes on" in caplog.text
    assert len(caplog.messages) == 1


def test_a_registry_that_comes_later_is_told_then(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "LONGEST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(readers, "FIRST_PAUSE_SECONDS", 0.1)
    reading_shop(shop)
    bus = shop.restarted(release="1.4", database_url=f"sqlite:///{tmp_path / 'later.db'}")
    shop.handler(shop.event(order_id=UUID))

    with ReaderAnnouncer(bus, [Consuming("shop.billing")]):
        database.upgrade(bus.engine)
        assert wait_until(lambda: known(bus), 15.0, "the reader is registered")


def test_it_is_said_as_often_as_a_reader_is_expected_to_say_so() -> None:
    assert readers.REPEAT_SECONDS * 1000 == REPEAT_MS
