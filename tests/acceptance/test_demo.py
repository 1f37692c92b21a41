"""The demo tells its story and counts right; and it notices when the shop does not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until

ORDERS = "150"

#: What the demo itself promises.
SECONDS = 60


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which nothing is set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EVENTBUS_", "SHOP_"))
    }
    return {**kept, "TMPDIR": str(tmp_path), "COLUMNS": "100"}


def run_demo(
    environment: dict[str, str], *options: str, timeout: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eventbus.sample_app.demo", "--orders", ORDERS, *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def counted(output: str) -> dict[str, int]:
    """The last lines: what was counted, by its words."""
    found = re.findall(r"^ *(\d+)   (\S.*?)   +(?:ok|WRONG).*$", output, re.MULTILINE)
    return {text: int(number) for number, text in found}


def assert_passed(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.splitlines()[-1].startswith("PASS")
    counts = counted(demo.stdout)
    assert counts["orders placed"] == counts["orders charged"] == int(ORDERS)
    assert counts["orders with an e-mail sent"] == int(ORDERS)
    assert counts["orders charged more than once"] == 0
    assert counts["orders that checkout refused"] == 0


def test_the_shop_passes_with_no_server(environment: dict[str, str], tmp_path: Path) -> None:
    demo = run_demo(environment)
    assert_passed(demo)
    assert "SIGKILL to billing worker" in demo.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_shop_passes_on_rabbitmq_redis_and_postgresql(
    environment: dict[str, str], broker_url: str, redis_url: str, postgres_url: str
) -> None:
    servers = {
        "EVENTBUS_BROKER_URL": broker_url,
        "EVENTBUS_REDIS_URL": redis_url,
        "SHOP_DATABASE_URL": postgres_url,
    }
    # Twice: nothing of the first run may be in the way of the second.
    for _ in range(2):
        demo = run_demo({**environment, **servers})
        assert_passed(demo)
        assert "secret" not in demo.stdout


def test_a_shop_that_charges_twice_fails(environment: dict[str, str]) -> None:
    demo = run_demo(environment, "--sabotage", "double-charge")
    assert demo.returncode == 1
    counts = counted(demo.stdout)
    assert counts["orders charged"] == int(ORDERS)
    assert counts["orders charged more than once"] > 0
    assert "FAIL" in demo.stdout


def test_a_broker_that_is_not_there_is_one_sentence(environment: dict[str, str]) -> None:
    demo = run_demo({**environment, "EVENTBUS_BROKER_URL": "amqp://guest:secret@127.0.0.1:1/"})
    assert demo.returncode == 3
    assert "Traceback" not in demo.stderr
    assert "secret" not in demo.stdout + demo.stderr


@pytest.fixture
def running_demo(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "eventbus.sample_app.demo"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Without this a test runner in the background would pass on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as demo:
        yield demo
        demo.kill()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_demo(
    running_demo: subprocess.Popen[bytes], end: signal.Signals
) -> None:
    demo = psutil.Process(running_demo.pid)
    children = wait_until(
        lambda: found if len(found := demo.children()) == 7 else [], 20, "all processes run"
    )
    running_demo.send_signal(end)
    running_demo.wait(timeout=20)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
