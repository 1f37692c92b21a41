"""The banner: where a process is connected, what it consumes, and what is unsafe; no password."""

from __future__ import annotations

import json
import logging

import pytest

from eventbus import Context, Event, EventBus
from eventbus.cli.banner import show_banner


def bus_with(**settings: object) -> EventBus:
    bus = EventBus("shop", **settings)

    @bus.handler("order.paid", "order.sent", queue="billing")
    def charge(event: Event) -> None: ...

    @bus.handler("order.*", queue="billing", transactional=True)
    def book(event: Event, context: Context) -> None: ...

    return bus


SERVERS = {
    "database_url": "postgresql+psycopg://app:hunter2@db/shop",
    "broker_url": "amqp://app:hunter2@rabbit1/;amqp://app:hunter2@rabbit2/",
    "redis_url": "redis://:hunter2@cache/0",
    "idempotency_failure": "continue",
}


def banner(bus: EventBus, capsys: pytest.CaptureFixture[str]) -> str:
    show_banner(
        bus,
        "worker",
        subscriptions=list(bus.subscriptions.values()),
        options={"pool": "threads, concurrency 8", "prefetch": 128},
    )
    captured = capsys.readouterr()
    assert captured.out == ""  # the standard output belongs to the handlers
    return captured.err


def test_it_tells_servers_queues_handlers_pool_and_what_is_unsafe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = banner(bus_with(**SERVERS), capsys)
    for part in (
        "worker  service shop",
        "postgresql+psycopg://app:***@db/shop",
        "amqp://app:***@rabbit1/;amqp://app:***@rabbit2/",
        "redis://:***@cache/0",
        "exchange     events",
        "shop.billing",
        "charge <- order.paid, order.sent",
        "book <- order.*  (transactional)",
        "threads, concurrency 8",
        "prefetch     128",
        "UNSAFE       idempotency_failure=continue",
    ):
        assert part in text
    assert "hunter2" not in text


def test_the_embedded_default_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text = banner(bus_with(), capsys)
    assert "broker       embedded, in the database" in text
    assert "UNSAFE" not in text


def test_a_shared_database_of_the_embedded_broker_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = banner(bus_with(broker_url="postgresql+psycopg://u:hunter2@db/bus"), capsys)
    assert "embedded, in postgresql+psycopg://u:***@db/bus" in text


def test_with_json_logs_it_is_one_record_that_a_machine_can_read(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from eventbus.logs import JsonFormatter

    with caplog.at_level(logging.INFO):
        assert banner(bus_with(**SERVERS, log_format="json"), capsys) == ""
    first, second = (json.loads(JsonFormatter().format(record)) for record in caplog.records)
    assert first["service"] == "shop"
    assert first["queues"] == {
        "shop.billing": {"charge": ["order.paid", "order.sent"], "book": ["order.*"]}
    }
    assert second["level"] == "WARNING"
    assert "idempotency_failure=continue" in second["message"]
    assert "hunter2" not in json.dumps([first, second])
