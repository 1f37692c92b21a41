"""Pools on the command line: what fits together, what does not, and what no process can do."""

from __future__ import annotations

import pytest

from .conftest import ORDER, Shop


def test_run_with_prefork_handles_in_processes_and_drains_them(bare: Shop) -> None:
    with bare.process("run", "-P", "prefork", "-c", "2") as process:
        process.wait_for("process 1 runs", in_err=True)
        assert "pool         prefork, concurrency 2, forkserver" in process.err
        bare.publish(1)
        process.wait_for(f"charged {ORDER}1")
        process.wait_for(f"booked {ORDER}1")
        assert process.end() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("-P nosuch", "'nosuch' is no pool; use one of prefork, threads, solo"),
        ("-P threads --max-tasks-per-child 5", "--max-tasks-per-child is for pool prefork"),
        ("-P solo --max-memory-per-child 200MB", "pool solo has none: use -P prefork"),
        ("-P threads --time-limit 5s", "cannot be kept in pool threads"),
        ("-P prefork --time-limit 5s --soft-time-limit 5s", "must be shorter than --time-limit 5s"),
    ],
)
def test_options_that_contradict_each_other_end_with_2_and_the_remedy(
    shop: Shop, options: str, said: str
) -> None:
    ended = shop.run("worker", *options.split())
    assert ended.returncode == 2
    assert said in ended.stderr


def test_a_time_limit_above_the_brokers_consumer_timeout_ends_with_2(shop: Shop) -> None:
    broker = {"EVENTBUS_BROKER_URL": "amqp://guest:hunter2@127.0.0.1:1"}
    ended = shop.run("worker", "-P", "prefork", "--time-limit", "45m", env=broker)
    assert ended.returncode == 2
    assert "--time-limit 2700s is not shorter than consumer_timeout=1800s" in ended.stderr


def test_an_application_that_no_child_can_import_ends_with_2_and_the_reason(shop: Shop) -> None:
    (shop.folder / "parent_only.py").write_text(
        "import sys\n"
        "if 'eventbus.cli' not in sys.modules:\n"
        "    raise ValueError('not \\x1b[31m here')\n"
        "from shop import bus\n"
    )
    ended = shop.run("-A", "parent_only:bus", "worker", "-P", "prefork", "-c", "2")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        r"error: importing 'parent_only:bus' failed: ValueError: not \x1b[31m here"
    )


def test_less_memory_than_a_process_begins_with_is_no_endless_replacing(shop: Shop) -> None:
    ended = shop.run("worker", "-P", "prefork", "-c", "2", "--max-memory-per-child", "10MB")
    assert ended.returncode == 2
    assert "--max-memory-per-child is 10 MB, and a process" in ended.stderr


def test_a_fork_of_an_application_that_opens_a_connection_is_refused(shop: Shop) -> None:
    (shop.folder / "connected.py").write_text(
        "import socket\npair = socket.socketpair()\nfrom eventbus import Event, EventBus\n"
        "bus = EventBus('shop')\n"
        "class Happened(Event, name='it.happened'):\n    number: int\n"
        "@bus.handler(Happened, queue='q')\n"
        "def handle(event: Happened) -> None: ...\n"
    )
    ended = shop.run("-A", "connected:bus", "worker", "-P", "prefork", "--start-method", "fork")
    assert ended.returncode == 2
    assert "opened a connection (descriptor" in ended.stderr
    assert "use --start-method forkserver" in ended.stderr
