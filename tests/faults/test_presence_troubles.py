"""A worker goes on without the database that it reports to; a pause outlives a broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from eventbus import EventBus, database
from eventbus.database import reading
from eventbus.message import Message
from eventbus.workers.monitoring import pauses, processes
from eventbus.workers.monitoring.snapshot import Reader, Snapshot
from tests.acceptance.cli.conftest import ORDER, Shop
from tests.acceptance.cli.conftest import bare as bare  # the fixture
from tests.services import MariaDB, PostgreSQL, RabbitMQ
from tests.waiting import wait_until


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> PostgreSQL | MariaDB:
    """A database server of the test's own."""
    found: PostgreSQL | MariaDB = request.getfixturevalue(f"own_{request.param}")
    return found


@pytest.fixture
def site(bare: Shop, server: PostgreSQL | MariaDB, broker_url: str, redis_url: str) -> Shop:
    """The shop, whose handlers need no database: RabbitMQ and Redis do."""
    bare.environment.update(
        EVENTBUS_DATABASE_URL=server.create_database(),
        EVENTBUS_BROKER_URL=broker_url,
        EVENTBUS_REDIS_URL=redis_url,
    )
    assert bare.run("db", "upgrade").returncode == 0
    return bare


@pytest.fixture
def bus(site: Shop) -> Iterator[EventBus]:
    """The servers of the shop, from this process."""
    environment = site.environment
    bus = EventBus(
        "shop",
        database_url=environment["EVENTBUS_DATABASE_URL"],
        broker_url=environment["EVENTBUS_BROKER_URL"],
    )
    yield bus
    bus.engine.dispose()


def send(bus: EventBus, number: int) -> None:
    """An order straight to the broker: the outbox is away."""
    headers: dict[str, Any] = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": f"id-{number}",
        "cloudEvents_source": "shop",
        "cloudEvents_type": "order.paid",
    }
    body = json.dumps({"order_id": f"{ORDER}{number}", "amount": 1}).encode()
    publisher = bus.broker.publisher("test")
    try:
        assert publisher.wait_ready(20)
        message = Message(body, "order.paid", headers, content_type="application/json")
        publisher.publish([message]).result(20)
    finally:
        publisher.close()


def rows(bus: EventBus) -> list[processes.ProcessRow]:
    with reading(bus.engine) as connection:
        return processes.read(connection)


def test_a_worker_goes_on_while_its_database_is_away(
    site: Shop, bus: EventBus, server: PostgreSQL | MariaDB
) -> None:
    with site.process("worker") as worker:
        wait_until(lambda: [row for row in rows(bus) if row.report.ready], 60, "it is present")
        pauses.pause(bus.engine, "shop.ledger", by="ada", reason="")
        worker.wait_for("shop.ledger is paused", in_err=True)
        bus.engine.dispose()
        server.stop()
        for number in range(1, 4):
            send(bus, number)
        for number in range(1, 4):
            worker.wait_for(f"charged {ORDER}{number}")
        worker.wait_for("this process is missing from 'eventbus status'", in_err=True)
        # What it last heard stays in force.
        assert "booked" not in worker.out
        assert worker.err.count("is missing from") == 1

        server.start()
        worker.wait_for("reporting to the database again", in_err=True)
        wait_until(
            lambda: [row for row in rows(bus) if not row.gone and row.seen_ms < 5_000],
            60,
            "it is present again",
            retry_on=database.DatabaseUnavailable,
        )
        pauses.resume(bus.engine, "shop.ledger")
        worker.wait_for(f"booked {ORDER}3")
        assert worker.end() == 0
    assert rows(bus) == []


def test_a_pause_is_known_before_the_first_message(site: Shop, bus: EventBus) -> None:
    """Also by a worker that has to wait for its database at the start."""
    with site.process("worker", log="first-") as worker:
        worker.wait_for("shop.ledger", in_err=True)
        wait_until(lambda: [row for row in rows(bus) if row.report.ready], 60, "it is present")
        assert worker.end() == 0
    send(bus, 1)
    pauses.pause(bus.engine, "shop.billing", by="ada", reason="")
    with site.process("worker", log="second-") as worker:
        worker.wait_for(f"booked {ORDER}1")
        assert worker.end() == 0
        assert "charged" not in worker.out


def test_a_pause_outlives_the_broker(bare: Shop, own_rabbitmq: RabbitMQ) -> None:
    bare.environment["EVENTBUS_BROKER_URL"] = own_rabbitmq.url
    assert bare.run("db", "upgrade").returncode == 0
    bus = EventBus(
        "shop",
        database_url=f"sqlite:///{bare.folder / 'eventbus.db'}",
        broker_url=own_rabbitmq.url,
    )
    with bare.process("run") as process, Reader(bus) as reader:

        def look() -> Snapshot:
            return reader.read()

        wait_until(lambda: consumers(look()) == {"shop.billing": 1, "shop.ledger": 1}, 60, "both")
        own_rabbitmq.stop()
        wait_until(lambda: "broker" in look().away, 60, "the broker is away")
        assert bare.run("queue", "pause", "billing").returncode == 0  # nobody needs the broker
        process.wait_for("shop.billing is paused", in_err=True)
        bare.publish(1)
        own_rabbitmq.start()
        process.wait_for(f"booked {ORDER}1")
        own_rabbitmq.restart()
        bare.publish(2)
        process.wait_for(f"booked {ORDER}2")
        wait_until(
            lambda: consumers(look()) == {"shop.billing": 0, "shop.ledger": 1}, 60, "one is paused"
        )
        assert "charged" not in process.out
        assert bare.run("queue", "resume", "billing").returncode == 0
        process.wait_for(f"charged {ORDER}1")
        process.wait_for(f"charged {ORDER}2")
        assert process.end() == 0


def consumers(snapshot: Snapshot) -> dict[str, int | None]:
    return {queue.name: queue.consumers for queue in snapshot.queues}
