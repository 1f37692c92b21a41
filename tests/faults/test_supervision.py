"""Probes and signals while servers and processes die, on RabbitMQ."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.faults.stack import Process, Stack
from tests.services import RabbitMQ
from tests.services.ports import Port
from tests.waiting import wait_until

POOLS = ["threads", "solo", "prefork"]


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.release()


other_port = port


def answer(port: Port, page: str) -> tuple[int, Any]:
    """Status and JSON; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return 0, {}


def wait_ready(process: Process, port: Port, status: int) -> Any:
    return wait_until(
        lambda: (found := answer(port, "/readyz"))[0] == status and found[1],
        60,
        lambda: f"{status}, not {answer(port, '/readyz')}:\n{process.output}",
    )


def test_a_broker_that_goes_and_comes_changes_ready_and_never_live(
    own_stack: Stack, own_rabbitmq: RabbitMQ, port: Port, other_port: Port
) -> None:
    ports = {"threads": port, "prefork": other_port}
    running = {
        pool: own_stack.worker("--health-port", str(ports[pool]), "-P", pool, "-Q", "added")
        for pool in ports
    }
    for pool, process in running.items():
        wait_ready(process, ports[pool], 200)
    own_rabbitmq.stop()
    # Without its broker a worker does not start, unless it is told to wait.
    assert own_stack.worker("-Q", "added").popen.wait(30) == 3
    waiting = [
        own_stack.worker("-Q", "added", "--wait", "5m"),
        own_stack.dispatcher("--wait", "5m"),
    ]
    for process in waiting:
        process.wait_output("waiting to start")
    for pool, process in running.items():
        body = wait_ready(process, ports[pool], 503)
        assert body["services"]["worker"]["reasons"] != ["not ready"]
        assert answer(ports[pool], "/livez")[0] == 200
    own_rabbitmq.start()
    for pool, process in running.items():
        wait_ready(process, ports[pool], 200)
    own_stack.publish([own_stack.shop.ItemAdded(item=1)])
    own_stack.wait_effects("add", [1])
    for process in (*running.values(), *waiting):
        assert process.stop(40) == 0, process.output


def test_children_that_die_change_neither_probe_and_are_counted(
    server_stack: Stack, port: Port
) -> None:
    health = ("--health-port", str(port))
    parent = server_stack.worker(*health, "-P", "prefork", "-c", "2", "-Q", "added")
    wait_ready(parent, port, 200)

    descendants = psutil.Process(parent.pid).children(recursive=True)
    # Not the server that forks them.
    [*_, child] = [process for process in descendants if not process.children()]
    child.kill()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert answer(port, "/livez")[0] == 200
        assert answer(port, "/readyz")[0] == 200
    expected = [
        'eventbus_pool_deaths_total{name="shop.worker"} 1.0',
        'eventbus_pool_processes{name="shop.worker"} 2.0',
    ]

    def is_replaced() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            text = response.read().decode()
        return all(line in text for line in expected)

    wait_until(is_replaced, 30, lambda: parent.output)
    assert parent.stop() == 0


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_hup_under_load_loses_and_doubles_nothing(server_stack: Stack, pool: str) -> None:
    stack = server_stack
    worker = stack.worker("-P", pool, "-c", "2", "-Q", "added,booked")
    dispatcher = stack.dispatcher()
    for process in (worker, dispatcher):
        process.wait_output("connected to")
    items = list(range(300))
    for first in range(0, 300, 50):
        some = items[first : first + 50]
        stack.publish([stack.shop.ItemAdded(item=item) for item in some])
        stack.publish([stack.shop.ItemBooked(item=item) for item in some])
        if first in (50, 200):
            worker.popen.send_signal(signal.SIGHUP)
            dispatcher.popen.send_signal(signal.SIGHUP)
    for handler in ("add", "book"):
        stack.wait_effects(handler, items)
    assert worker.popen.poll() is None
    assert worker.stop() == 0, worker.output
    assert dispatcher.stop() == 0, dispatcher.output
    for handler in ("add", "book"):
        assert set(stack.effects(handler).values()) == {1}


@pytest.mark.parametrize("pool", POOLS)
def test_a_second_signal_gives_everything_back(
    server_stack: Stack, pool: str, tmp_path: Any
) -> None:
    stack = server_stack
    stack.environment["SHOP_GO"] = str(tmp_path / "go")
    # No more than it can begin with: another process could.
    prefetch = ("--prefetch", "1" if pool == "prefork" else "2")
    worker = stack.worker("-P", pool, "-c", "2", "-Q", "slow", *prefetch)
    dispatcher = stack.dispatcher()
    stack.publish([stack.shop.ItemSlow(item=item) for item in range(10)])
    begun = 1 if pool == "solo" else 2
    wait_until(lambda: len(stack.effects("begun")) == begun, 60, stack.logs)
    worker.popen.send_signal(signal.SIGTERM)
    worker.wait_output("draining")
    time.sleep(0.3)  # any sooner it would count as the same signal
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.popen.wait(30) == 1, worker.output
    wait_until(lambda: stack.depth("shop.slow") == 10, 60, "all are back in their queue")
    (tmp_path / "go").touch()
    again = stack.worker("-Q", "slow")
    stack.wait_effects("wait", list(range(10)))
    assert again.stop() == 0
    assert dispatcher.stop() == 0
    assert stack.parked("shop.slow.dlq") == []
