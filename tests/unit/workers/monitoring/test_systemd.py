"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventbus.workers.monitoring.condition import Observer
from eventbus.workers.monitoring.report import WORKER, QueueReport, Report
from eventbus.workers.monitoring.systemd import Socket, Systemd, status_text, watchdog_seconds
from tests.waiting import wait_until


class Service:
    def __init__(self) -> None:
        self.current = Report(WORKER, "shop", "shop.worker")

    def report(self) -> Report:
        return self.current


class Listener:
    """systemd's side of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.messages: list[str] = []

    def received(self) -> list[str]:
        try:
            while True:
                self.messages.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self.messages

    def wait_for(self, message: str) -> None:
        wait_until(lambda: message in self.received(), 10, lambda: f"{message!r}: {self.messages}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventbus.workers.monitoring.systemd.LOOK_SECONDS", 0.05)


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "n") if request.param == "path" else f"@eventbus-{secrets.token_hex(8)}"


@pytest.fixture
def listener(address: str) -> Iterator[Listener]:
    listener = Listener(address)
    yield listener
    listener.close()


Start = Callable[[Service, float | None], Systemd]


@pytest.fixture
def start(address: str) -> Iterator[Start]:
    started: list[Systemd] = []

    def start(service: Service, watchdog: float | None = None) -> Systemd:
        systemd = Systemd(Observer({"worker": service}), address, watchdog)
        started.append(systemd)
        systemd.start()
        return systemd

    yield start
    for systemd in started:
        systemd.close()


def test_it_is_ready_when_it_consumes_and_not_before(listener: Listener, start: Start) -> None:
    service = Service()
    start(service, None)
    listener.wait_for("STATUS=worker starting")
    service.current.state, service.current.ready = "running", True
    listener.wait_for("READY=1")
    listener.wait_for("STATUS=worker ready")
    first_ready = listener.messages.index("READY=1")
    assert listener.messages.index("STATUS=worker starting") < first_ready
    service.current.ready, service.current.trouble = False, "connection lost"
    listener.wait_for("STATUS=worker connection lost")
    service.current.ready, service.current.trouble = True, None
    wait_until(lambda: listener.received()[-1] == "STATUS=worker ready", 10)
    assert listener.messages.count("READY=1") == 1


def test_a_reload_is_over_when_the_processes_are_replaced(listener: Listener, start: Start) -> None:
    service = Service()
    service.current.state, service.current.ready = "running", True
    systemd = start(service, None)
    listener.wait_for("READY=1")
    service.current.state = "replacing"
    systemd.reloading()
    listener.wait_for("STATUS=worker replacing its processes")
    (reloading,) = [m for m in listener.messages if m.startswith("RELOADING=1\nMONOTONIC_USEC=")]
    assert int(reloading.partition("USEC=")[2]) <= time.monotonic_ns() // 1000
    assert listener.messages.count("READY=1") == 1
    service.current.state = "running"
    wait_until(lambda: listener.received().count("READY=1") == 2, 10)


def test_it_pings_only_while_it_is_live(
    listener: Listener, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    service.current.state = "running"
    start(service, 0.3)
    listener.wait_for("WATCHDOG=1")
    monkeypatch.setattr("eventbus.workers.monitoring.condition.STILL_SECONDS", 0.2)
    wait_until(lambda: any("hangs" in message for message in listener.received()), 10, "it hangs")
    pings = listener.received().count("WATCHDOG=1")
    time.sleep(0.5)  # five pings' time: there is no event to wait for
    assert listener.received().count("WATCHDOG=1") == pings


def test_after_stopping_it_is_not_ready_again(listener: Listener, start: Start) -> None:
    service = Service()
    systemd = start(service, 0.3)
    systemd.stopping()
    listener.wait_for("STOPPING=1\nSTATUS=draining")
    service.current.state, service.current.ready = "running", True
    seen = listener.received().count("WATCHDOG=1")
    wait_until(lambda: listener.received().count("WATCHDOG=1") > seen + 1, 10)
    assert "READY=1" not in listener.messages


def test_a_status_is_one_line_and_cannot_forge_another(listener: Listener, address: str) -> None:
    Socket(address).send(STATUS="no broker\nREADY=1\x1b[31m")
    listener.wait_for("STATUS=no broker\\nREADY=1\\x1b[31m")


def test_a_socket_that_is_not_there_disturbs_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Socket(str(tmp_path / "nowhere"))
    nowhere.send(READY=1)
    nowhere.send(READY=1)
    assert len(caplog.records) == 1
    assert "NOTIFY_SOCKET" in caplog.text


def test_a_socket_whose_reader_is_slow_blocks_nobody(listener: Listener, address: str) -> None:
    full = Socket(address)
    for _ in range(2000):
        full.send(WATCHDOG=1)


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_socket_nobody_is_told(environment: dict[str, str]) -> None:
    assert Systemd.of_environment(Observer({}), environment) is None


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_where_it_was_asked_for(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_seconds(environment) == seconds


def test_the_status_tells_of_pauses_and_breakers() -> None:
    service = Service()
    service.current.state, service.current.ready = "running", True
    service.current.queues = {
        "shop.billing": QueueReport(paused=True),
        "shop.ledger": QueueReport(consuming=True, breaker="open"),
    }
    assert status_text(Observer({"worker": service}).look()) == (
        "worker ready, paused: shop.billing, breaker open: shop.ledger"
    )
