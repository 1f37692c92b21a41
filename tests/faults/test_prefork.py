"""The prefork pool on real servers: whatever becomes of a process, effects happen once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.pool_stack import PoolStack, children, is_alive
from tests.faults.stack import Process
from tests.waiting import wait_until


@pytest.fixture(params=["rabbitmq", "embedded"])
def pools(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PoolStack]:
    """RabbitMQ and Redis, then everything in one SQLite file."""
    environment = {"EVENTBUS_DATABASE_URL": f"sqlite:///{tmp_path / 'pools.db'}"}
    if request.param == "rabbitmq":
        environment["EVENTBUS_BROKER_URL"] = request.getfixturevalue("broker_url")
        environment["EVENTBUS_REDIS_URL"] = request.getfixturevalue("redis_url")
    environment["EVENTBUS_CLAIM_LEASE"] = "3s"
    stack = PoolStack(environment, tmp_path)
    try:
        stack.prepare()
        yield stack
    finally:
        stack.close()


on_rabbitmq = pytest.mark.parametrize("pools", ["rabbitmq"], indirect=True)
on_embedded = pytest.mark.parametrize("pools", ["embedded"], indirect=True)


def _prefork(stack: PoolStack, *arguments: str, count: int = 2, **environment: str) -> Process:
    """Start a pool and wait until all its children are there."""
    process = stack.worker("-P", "prefork", "-c", str(count), *arguments, **environment)
    _wait_children(stack, process, count)
    return process


def _wait_children(stack: PoolStack, process: Process, count: int, *, but: Any = ()) -> set[int]:
    wait_until(
        lambda: len(children(process) - set(but)) >= count,
        60,
        lambda: f"{count} children, seen {children(process)}\n{stack.logs()}",
    )
    return children(process) - set(but)


@on_rabbitmq
def test_the_children_share_the_work_and_a_term_drains_them(pools: PoolStack) -> None:
    process = _prefork(pools, "--prefetch", "1")
    pools.send(*(pools.shop.Gated(item=item) for item in range(2)))
    pools.wait_notes("begun", 2)
    assert len(set(pools.pids("begun"))) == 2, "one child ran both"
    process.popen.send_signal(signal.SIGTERM)
    process.wait_output("draining")
    pools.go()
    assert process.stop(60) == 0, process.output
    assert pools.items("gated") == {0: 1, 1: 1}
    pools.wait_empty("gated")


@pytest.mark.parametrize("point", ["worker.claimed:1", "worker.handled:2"])
@on_rabbitmq
def test_children_that_kill_themselves_at_any_point_are_replaced(
    pools: PoolStack, point: str
) -> None:
    # Each child and each of its successors dies at that point, until the work is done.
    process = _prefork(pools, EVENTBUS_CRASH_AT=point)
    pools.send(*(pools.shop.Done(item=item) for item in range(4)))
    process.wait_output("by SIGKILL", 60)
    process.stop(60)
    _prefork(pools)
    pools.wait_notes("done", 4)
    pools.wait_empty("done")
    handled_twice = point.startswith("worker.handled")
    assert handled_twice or set(pools.items("done").values()) == {1}


def test_a_child_killed_in_the_middle_is_replaced_and_its_message_handled(
    pools: PoolStack,
) -> None:
    process = _prefork(pools)
    pools.send(pools.shop.Gated(item=1))
    pools.wait_notes("begun")
    killed = pools.pids("begun")[0]
    others = children(process) - {killed}
    os.kill(killed, signal.SIGKILL)
    successors = _wait_children(pools, process, 1, but={killed, *others})
    assert successors
    pools.wait_notes("begun", 2)
    pools.go()
    pools.wait_notes("gated")
    pools.send(*(pools.shop.Done(item=item) for item in range(20)))
    pools.wait_notes("done", 20)
    assert process.stop(60) == 0, process.output
    assert pools.items("gated") == {1: 1}
    assert set(pools.items("done").values()) == {1}


@on_rabbitmq
def test_a_handler_that_segfaults_backs_off_and_is_parked(pools: PoolStack) -> None:
    process = _prefork(pools, EVENTBUS_CLAIM_LEASE="3s")
    pools.send(pools.shop.Crash(item=1), *(pools.shop.Done(item=item) for item in range(10)))
    pools.wait_notes("done", 10)
    wait_until(
        lambda: len(pools.parked("pools.crash.dlq")) == 1,
        90,
        lambda: f"the crashing event parked\n{pools.logs()}",
    )
    assert "by SIGSEGV; another one takes its place" in process.output
    assert set(pools.items("done").values()) == {1}
    assert process.stop(60) == 0, process.output


@on_embedded
def test_a_process_that_dies_at_its_start_again_and_again_backs_off(pools: PoolStack) -> None:
    process = pools.worker("-P", "prefork", "-c", "1", POOL_DIES="1")
    process.wait_output("the next one starts in 2 s", 60)
    assert process.popen.poll() is None
    assert process.output.count("died by SIGKILL") <= 4
    assert process.stop(60) == 0, process.output


@on_embedded
def test_children_of_a_killed_parent_drain_and_leave_no_orphan(pools: PoolStack) -> None:
    process = _prefork(pools)
    pools.send(pools.shop.Gated(item=1))
    pools.wait_notes("begun")
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    busy = pools.pids("begun")[0]
    wait_until(
        lambda: not any(is_alive(one.pid) for one in family if one.pid != busy),
        30,
        "the end of all that have nothing to do",
    )
    assert is_alive(busy), "it did not finish its handler"
    pools.go()
    wait_until(lambda: not is_alive(busy), 30, "the end of the last")
    assert pools.items("gated") == {1: 1}
    pools.wait_empty("gated")


@on_rabbitmq
def test_a_second_term_stops_at_once_and_gives_the_messages_back(pools: PoolStack) -> None:
    process = _prefork(pools)
    pools.send(*(pools.shop.Gated(item=item) for item in range(2)))
    pools.wait_notes("begun", 1)
    process.popen.send_signal(signal.SIGTERM)
    process.wait_output("draining")
    time.sleep(0.3)  # two signals in quick succession are taken for one
    began = time.monotonic()
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(30) == 1, process.output
    assert time.monotonic() - began < 15
    assert pools.items("gated") == {}
    wait_until(lambda: pools.depth("pools.gated") == 2, 30, "both messages back")


@on_embedded
def test_children_end_with_the_shutdown_time_out(pools: PoolStack) -> None:
    process = _prefork(pools, "--shutdown-timeout", "1s")
    pools.send(pools.shop.Gated(item=1))
    pools.wait_notes("begun")
    assert process.stop(40) == 1, process.output
    wait_until(lambda: pools.depth("pools.gated") == 1, 30, "the message back")


@on_rabbitmq
def test_a_child_leaves_after_so_many_tasks_and_another_goes_on(pools: PoolStack) -> None:
    process = _prefork(pools, "--max-tasks-per-child", "5", count=1)
    pools.send(*(pools.shop.Done(item=item) for item in range(23)))
    pools.wait_notes("done", 23, timeout=90)
    pools.wait_empty("done")
    assert set(pools.items("done").values()) == {1}
    pids = pools.pids("done")
    assert all(pids.count(pid) <= 5 for pid in pids), pids
    assert process.stop(60) == 0, process.output


@on_rabbitmq
def test_a_child_with_too_much_memory_leaves_after_its_handler(pools: PoolStack) -> None:
    process = _prefork(pools, "--max-memory-per-child", "250MB", count=1)
    for item in range(3):
        pools.send(pools.shop.Leak(item=item, size=300_000_000))
        pools.wait_notes("leak", item + 1)
        wait_until(
            lambda before=item: process.output.count("MB of memory") == before + 1,
            60,
            lambda: f"a replacement\n{pools.logs()}",
        )
    assert len(set(pools.pids("leak"))) == 3
    assert set(pools.items("leak").values()) == {1}
    assert process.stop(60) == 0, process.output


@on_rabbitmq
def test_a_hup_replaces_all_children_and_no_handler_is_cut_off(pools: PoolStack) -> None:
    process = _prefork(pools)
    before = children(process)
    pools.send(pools.shop.Gated(item=1))
    pools.wait_notes("begun")
    process.popen.send_signal(signal.SIGHUP)
    process.wait_output("all processes are replaced", 90)
    after = children(process) - before
    assert len(after) == 2
    assert is_alive(pools.pids("begun")[0]), "the running handler was cut off"
    pools.send(*(pools.shop.Done(item=item) for item in range(10)))
    pools.wait_notes("done", 10)
    assert set(pools.pids("done")) <= after
    pools.go()
    pools.wait_notes("gated")
    wait_until(lambda: not any(map(is_alive, before)), 30, "the end of the old ones")
    assert children(process) == after
    assert process.stop(60) == 0, process.output
    assert pools.items("gated") == {1: 1}


@pytest.mark.parametrize("method", ["spawn", "fork"])
@on_embedded
def test_the_other_start_methods_work_too(pools: PoolStack, method: str) -> None:
    process = _prefork(pools, "--start-method", method)
    pools.send(*(pools.shop.Done(item=item) for item in range(10)))
    pools.wait_notes("done", 10)
    os.kill(pools.pids("done")[0], signal.SIGKILL)
    process.wait_output("by SIGKILL", 30)
    pools.send(*(pools.shop.Done(item=item) for item in range(10, 20)))
    pools.wait_notes("done", 20)
    assert process.stop(60) == 0, process.output
    assert set(pools.items("done").values()) == {1}


@on_embedded
def test_the_template_killed_is_replaced_and_its_children_are_not_doubled(
    pools: PoolStack,
) -> None:
    process = _prefork(pools)
    before = children(process)
    template = psutil.Process(next(iter(before))).parent()
    assert template is not None
    template.kill()
    time.sleep(1.0)
    assert all(is_alive(pid) for pid in before)
    pools.send(*(pools.shop.Done(item=item) for item in range(10)))
    pools.wait_notes("done", 10)
    assert set(pools.pids("done")) <= before
    os.kill(next(iter(before)), signal.SIGKILL)
    process.wait_output("another one takes its place", 30)
    wait_until(lambda: len(children(process)) == 1, 30, lambda: f"one more\n{pools.logs()}")
    assert process.stop(60) == 0, process.output


@on_rabbitmq
def test_a_pause_reaches_all_children_and_their_successors(pools: PoolStack) -> None:
    process = _prefork(pools)
    assert pools.start("queue", "pause", "done").popen.wait(60) == 0, pools.logs()
    process.wait_output("queue pools.done is paused", 30)
    pools.send(*(pools.shop.Done(item=item) for item in range(5)))
    wait_until(lambda: pools.depth("pools.done") == 5, 30, "messages that wait")
    before = children(process)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    _wait_children(pools, process, 2, but=before)
    # A successor that works on the other queues has had its chance to take these.
    pools.send(pools.shop.Slow(item=9, seconds=0))
    pools.wait_notes("slept")
    assert pools.depth("pools.done") == 5
    assert pools.start("queue", "resume", "done").popen.wait(60) == 0, pools.logs()
    pools.wait_notes("done", 5)
    assert process.stop(60) == 0, process.output
