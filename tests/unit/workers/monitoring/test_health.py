"""Probes and scrapes over real HTTP."""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from eventbus import listening
from eventbus.errors import ConfigurationError
from eventbus.listening import PortUnavailable
from eventbus.outbox.store import OutboxDepth
from eventbus.workers.monitoring.condition import Observer
from eventbus.workers.monitoring.health import HealthApplication, HealthServer
from eventbus.workers.monitoring.metrics import Metrics
from eventbus.workers.monitoring.outbox_sample import OutboxSample
from eventbus.workers.monitoring.report import (
    DISPATCHER,
    WORKER,
    HandlerCounts,
    QueueReport,
    Report,
)
from tests.waiting import wait_until

DOCUMENTATION = Path(__file__).parents[4] / "docs" / "deployment.md"
EVIL = 'shop.b"\\\n'


class Service:
    def __init__(self, current: Report) -> None:
        self.current = current
        self.error: Exception | None = None

    def report(self) -> Report:
        if self.error is not None:
            raise self.error
        return self.current


@pytest.fixture
def worker() -> Service:
    counts = HandlerCounts(succeeded=2, duplicates=1, retried=3, dead_lettered=4, returned=5)
    counts.add_duration(0.2)
    counts.add_duration(1000)
    queues = {
        "shop.billing": QueueReport(consuming=True, parked=7, handlers={"charge": counts}),
        EVIL: QueueReport(paused=True, breaker="half-open"),
    }
    report = Report(
        WORKER,
        "shop",
        "shop.worker",
        state="running",
        ready=True,
        pool="threads",
        running=3,
        waiting=9,
        queues=queues,
    )
    return Service(report)


@pytest.fixture
def dispatcher() -> Service:
    counts = {"published": 10, "unrouted": 1, "refused": 2, "failed": 3}
    report = Report(
        DISPATCHER,
        "shop",
        "shop.dispatcher",
        state="running",
        ready=True,
        counts=counts,
        held=["order.paid"],
    )
    return Service(report)


@pytest.fixture
def server(worker: Service, dispatcher: Service) -> Iterator[HealthServer]:
    observer = Observer({"worker": worker, "dispatcher": dispatcher})
    outbox = OutboxSample(lambda: OutboxDepth(5, 1, 2, 3, 1500, 4))
    pages = HealthApplication(observer, Metrics(observer, "1.2.3", outbox))
    server = HealthServer(pages, "127.0.0.1", 0)
    server.start()
    yield server
    server.close()


def request(
    server: HealthServer, path: str, method: str = "GET", body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def status_and_json(server: HealthServer, path: str) -> tuple[int, dict[str, object]]:
    response, content = request(server, path)
    assert response.headers["Content-Type"] == "application/json"
    return response.status, json.loads(content)


def samples(server: HealthServer) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response, content = request(server, "/metrics")
    assert response.status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def key(name: str, /, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


# -- probes ---------------------------------------------------------------------------------------


def test_a_process_that_works_is_live_and_ready(server: HealthServer) -> None:
    status, live = status_and_json(server, "/livez")
    assert (status, live["live"]) == (200, True)
    status, ready = status_and_json(server, "/readyz")
    assert (status, ready["ready"]) == (200, True)
    assert ready["services"]["worker"]["queues"][EVIL] == {  # type: ignore[index]
        "consuming": False,
        "paused": True,
        "breaker": "half-open",
    }


def test_one_that_cannot_work_is_not_ready_and_says_why(
    server: HealthServer, worker: Service
) -> None:
    worker.current.ready, worker.current.trouble = False, "no broker <b>\x1b[31m"
    response, content = request(server, "/readyz")
    assert response.status == 503
    assert b"\x1b" not in content
    found = json.loads(content)
    assert found["services"]["worker"]["reasons"] == ["no broker <b>\x1b[31m"]
    assert found["services"]["dispatcher"]["ready"] is True
    assert status_and_json(server, "/livez")[0] == 200


def test_one_that_hangs_is_not_live(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status_and_json(server, "/livez")[0] == 200
    monkeypatch.setattr("eventbus.workers.monitoring.condition.STILL_SECONDS", -1.0)
    status, found = status_and_json(server, "/livez")
    assert (status, found["live"]) == (503, False)


def test_head_has_no_body(server: HealthServer) -> None:
    response, content = request(server, "/readyz", "HEAD")
    assert (response.status, content) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


def test_nothing_of_an_answer_is_kept(server: HealthServer) -> None:
    response, _ = request(server, "/livez")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Server" not in response.headers


# -- bad requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/livez/", "/livez/..", "/%2e%2e/etc/passwd"])
def test_other_pages_are_not_there(server: HealthServer, path: str) -> None:
    status, found = status_and_json(server, path)
    assert (status, found["pages"]) == (404, ["/livez", "/metrics", "/readyz"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(server: HealthServer, method: str) -> None:
    response, _ = request(server, "/readyz", method)
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_a_large_body_and_a_large_header_are_refused(server: HealthServer) -> None:
    assert request(server, "/livez", "POST", b"x" * 100_000)[0].status == 413
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/livez", headers={"X-Large": "x" * 100_000})
    assert connection.getresponse().status == 431
    connection.close()


def test_clients_that_say_nothing_hold_up_nobody(server: HealthServer) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    for client in silent:
        client.sendall(b"GET /livez HTTP/1.1\r\n")
    started = time.monotonic()
    assert request(server, "/livez")[0].status == 200
    assert time.monotonic() - started < 5
    for client in silent:
        client.close()


def test_rubbish_does_not_end_the_server(server: HealthServer) -> None:
    for rubbish in (b"\x16\x03\x01\x02\x00", b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(rubbish)
    assert request(server, "/livez")[0].status == 200


def test_a_report_that_fails_is_an_answer_too(
    server: HealthServer, worker: Service, caplog: pytest.LogCaptureFixture
) -> None:
    worker.error = RuntimeError("hunter2")
    for path in ("/livez", "/metrics"):
        response, content = request(server, path)
        assert response.status == 500
        assert b"hunter2" not in content
    assert "cannot be answered" in caplog.text


# -- metrics --------------------------------------------------------------------------------------


def test_the_metrics_of_a_worker(server: HealthServer) -> None:
    found = samples(server)
    handler = {"name": "shop.worker", "queue": "shop.billing", "handler": "charge"}
    for outcome, count in [
        ("succeeded", 2),
        ("duplicate", 1),
        ("retried", 3),
        ("dead_lettered", 4),
        ("returned", 5),
    ]:
        assert found[key("eventbus_handler_events_total", outcome=outcome, **handler)] == count
    assert found[key("eventbus_handler_duration_seconds_bucket", le="0.1", **handler)] == 0
    assert found[key("eventbus_handler_duration_seconds_bucket", le="0.25", **handler)] == 1
    assert found[key("eventbus_handler_duration_seconds_bucket", le="300.0", **handler)] == 1
    assert found[key("eventbus_handler_duration_seconds_count", **handler)] == 2
    assert found[key("eventbus_handler_duration_seconds_sum", **handler)] == 1000.2
    queue = {"name": "shop.worker", "queue": EVIL}
    assert found[key("eventbus_queue_paused", **queue)] == 1
    assert found[key("eventbus_queue_consuming", **queue)] == 0
    assert found[key("eventbus_breaker_state", state="half-open", **queue)] == 1
    assert found[key("eventbus_breaker_state", state="closed", **queue)] == 0
    assert found[key("eventbus_handlers_running", name="shop.worker")] == 3
    assert found[key("eventbus_messages_waiting", name="shop.worker")] == 9
    billing = {"name": "shop.worker", "queue": "shop.billing"}
    assert found[key("eventbus_unreadable_messages_total", **billing)] == 7
    assert found[key("eventbus_up", kind="worker", name="shop.worker")] == 1
    assert found[key("eventbus_ready", kind="worker", name="shop.worker")] == 1
    assert found[key("eventbus_info", version="1.2.3")] == 1


def test_the_metrics_of_a_dispatcher_and_its_outbox(server: HealthServer) -> None:
    found = samples(server)
    for outcome, count in [("published", 10), ("unrouted", 1), ("refused", 2), ("failed", 3)]:
        labels = {"name": "shop.dispatcher", "outcome": outcome}
        assert found[key("eventbus_outbox_publishes_total", **labels)] == count
    for state, count in [("pending", 5), ("delayed", 2), ("failed", 3), ("unrouted", 4)]:
        assert found[key("eventbus_outbox_events", state=state)] == count
    assert found[key("eventbus_outbox_oldest_age_seconds")] == 1.5
    assert found[key("eventbus_outbox_held_names", name="shop.dispatcher")] == 1
    # Which names is for `eventbus status`: a label would have values without bound.
    assert "order.paid" not in str(found)


def test_a_pool_tells_of_its_processes(server: HealthServer, worker: Service) -> None:
    child = Report(WORKER, "shop", "shop.worker.1", running=1, waiting=2)
    counts = {"charge": HandlerCounts(succeeded=10)}
    worker.current = Report(
        WORKER,
        "shop",
        "shop.worker",
        state="running",
        ready=True,
        pool="prefork",
        running=2,
        queues={"shop.billing": QueueReport(consuming=True, handlers=counts)},
        children=[child, child],
        deaths=3,
    )
    found = samples(server)
    handler = {"name": "shop.worker", "queue": "shop.billing", "handler": "charge"}
    assert found[key("eventbus_handler_events_total", outcome="succeeded", **handler)] == 10
    assert found[key("eventbus_handlers_running", name="shop.worker")] == 2
    assert found[key("eventbus_pool_deaths_total", name="shop.worker")] == 3
    assert found[key("eventbus_pool_processes", name="shop.worker")] == 2


def test_every_metric_is_in_the_documentation(server: HealthServer, worker: Service) -> None:
    worker.current.pool = "prefork"
    _, content = request(server, "/metrics")
    served = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(content.decode())
        if family.name.startswith("eventbus_")
    }
    documented = re.findall(r"^\| `(eventbus_\w+)`", DOCUMENTATION.read_text(), re.MULTILINE)
    assert sorted(served) == sorted(documented)


def test_the_applications_own_metrics_are_served_too(server: HealthServer) -> None:
    Counter("shop_orders", "Orders.").inc(3)
    assert samples(server)[key("shop_orders_total")] == 3
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    content = connection.getresponse().read()
    assert content.count(b"# EOF") == 1
    assert content.endswith(b"# EOF\n")
    connection.close()


# -- the outbox at a scrape -----------------------------------------------------------------------


def test_a_database_that_does_not_answer_costs_the_metric_and_not_the_scrape() -> None:
    released = threading.Event()
    asked: list[float] = []

    def hangs() -> OutboxDepth:
        asked.append(time.monotonic())
        released.wait(30)
        return OutboxDepth(1, 0, 0, 0, None, 0)

    sample = OutboxSample(hangs)
    assert sample.read(0.05) is None
    assert sample.read(0.05) is None
    assert len(asked) == 1  # one question at a time
    released.set()
    assert wait_until(lambda: sample.read(0.05), 10).pending == 1  # type: ignore[union-attr]
    assert len(asked) == 1


def test_the_outbox_is_counted_once_for_several_scrapes() -> None:
    asked: list[int] = []

    def count() -> OutboxDepth:
        asked.append(1)
        return OutboxDepth(1, 0, 0, 0, None, 0)

    sample = OutboxSample(count)
    assert all(sample.read() is not None for _ in range(10))
    assert len(asked) == 1


def test_a_query_that_fails_is_no_answer_and_not_asked_again_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[int] = []

    def fails() -> OutboxDepth:
        asked.append(1)
        raise RuntimeError("no such table")

    sample = OutboxSample(fails)
    assert sample.read() is None
    assert sample.read() is None
    assert len(asked) == 1
    assert "cannot be counted" in caplog.text


# -- the address ----------------------------------------------------------------------------------


def test_a_port_in_use_is_refused_at_once(server: HealthServer) -> None:
    with pytest.raises(PortUnavailable, match=f"{server.port} already; give another port"):
        HealthServer(lambda *_: [], "127.0.0.1", server.port)


@pytest.mark.parametrize(
    ("host", "error", "said"),
    [
        ("no such host", ConfigurationError, "'no such host' is no address"),
        ("x" * 300, ConfigurationError, "is no address"),
        ("192.0.2.1", PortUnavailable, "no address of this machine"),
    ],
)
def test_an_address_that_is_not_ours_is_refused(
    host: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        HealthServer(lambda *_: [], host, 0)


def test_a_port_that_only_root_may_have_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.EACCES, "Permission denied")
    assert "from 1024" in listening._why_not("127.0.0.1", 80, error, "--health-")


def test_a_forked_child_does_not_keep_the_port(server: HealthServer) -> None:
    """It would hold it when its parent has died, and the next one could not start."""
    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(outlet, b"x")
        signal.pause()
        os._exit(0)
    os.read(inlet, 1)
    try:
        server.close()
        again = HealthServer(lambda *_: [], "127.0.0.1", server.port)
        again.start()
        again.close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(inlet)
        os.close(outlet)
