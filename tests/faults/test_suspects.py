"""A message that kills its worker ends in the dead letters; those beside it do not suffer."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventbus.message import REASON_HEADER
from tests.faults.stack import Process, Stack
from tests.waiting import wait_until

ITEMS = 200
CULPRIT = 90


@pytest.fixture(params=["rabbitmq+redis", "rabbitmq+sql", "embedded"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """Both brokers and both stores of claims, whose leases are short."""
    environment = {"EVENTBUS_CLAIM_LEASE": "3s"}
    if request.param != "embedded":
        environment["EVENTBUS_BROKER_URL"] = request.getfixturevalue("broker_url")
        environment["EVENTBUS_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    else:
        environment["EVENTBUS_DATABASE_URL"] = request.getfixturevalue("sqlite_url")
    if request.param == "rabbitmq+redis":
        environment["EVENTBUS_REDIS_URL"] = request.getfixturevalue("redis_url")
    stack = Stack(environment, tmp_path)
    try:
        stack.prepare()
        yield stack
    finally:
        stack.close()


def _keep_running(stack: Stack, done: Callable[[], object], *arguments: str) -> int:
    """Start a worker again whenever it has died, until `done`; returns how many have died."""
    deaths = 0
    deadline = time.monotonic() + 120
    while not done():
        worker = stack.worker(*arguments)
        _wait_for_end(stack, worker, done, deadline - time.monotonic())
        if worker.popen.poll() is None:
            assert worker.stop(40) == 0, worker.output
        else:
            assert worker.popen.returncode < 0, worker.output
            deaths += 1
    return deaths


def _wait_for_end(
    stack: Stack, worker: Process, done: Callable[[], object], timeout: float
) -> None:
    wait_until(
        lambda: worker.popen.poll() is not None or done(),
        timeout,
        lambda: f"a worker that is done or dead\n{stack.logs()}",
        interval=0.1,
    )


def test_what_kills_its_worker_is_parked_and_the_innocent_are_not(stack: Stack) -> None:
    items = range(ITEMS)
    stack.publish([stack.shop.ItemFatal(item=n, deadly=n == CULPRIT) for n in items])
    stack.publish([stack.shop.ItemFatalBooked(item=n, deadly=n == CULPRIT) for n in items])
    stack.dispatcher("--once").popen.wait(30)

    def done() -> bool:
        return bool(stack.parked("shop.fatal.dlq")) and bool(stack.parked("shop.fatal_booked.dlq"))

    queues = "fatal,fatal_booked"
    deaths = _keep_running(stack, done, "-Q", queues, "-c", "8", "--prefetch", str(ITEMS))
    _keep_running(stack, lambda: _all_met(stack), "-Q", queues)
    for handler, queue in (("meet", "shop.fatal"), ("meet_booked", "shop.fatal_booked")):
        # Two where the copy that waits for the lease to run out had gone on, and its original was
        # not acknowledged when the other culprit killed the worker.
        for parked in stack.parked(f"{queue}.dlq"):
            assert json.loads(parked.body) == {"item": CULPRIT, "deadly": True}
            assert f"handler {handler!r} was started 3 times" in parked.headers[REASON_HEADER]
            assert "its worker died each time" in parked.headers[REASON_HEADER]
    for handler in ("meet", "meet_booked"):
        # Killed between effect and remembering, one that is not transactional may be repeated; and
        # only those can be that ran beside the culprit the first time, or on SQLite, whose one
        # writer is the handlers' as well, that wait to be remembered: what is claimed ahead.
        expected = Counter({n: 1 for n in items if n != CULPRIT})
        found = stack.effects(handler)
        assert set(found) == set(expected)
        assert handler == "meet" or found == expected
        at_most = 8 if stack.bus.settings.redis_url else 8 * 20
        assert sum(found.values()) - len(expected) <= at_most
    # Three for each culprit, which may die of each other as well; a transactional start counts from
    # its second delivery on.
    assert 4 <= deaths <= 8


def _all_met(stack: Stack) -> bool:
    return all(len(stack.effects(handler)) >= ITEMS - 1 for handler in ("meet", "meet_booked"))


@pytest.mark.parametrize("stack", ["rabbitmq+redis", "embedded"], indirect=True)
def test_the_innocent_that_are_killed_several_times_are_not_parked(stack: Stack) -> None:
    """As by an operator, or by the kernel for want of memory."""
    go = stack.folder / "go"
    stack.publish([stack.shop.ItemSlow(item=n) for n in range(8)])
    stack.dispatcher("--once").popen.wait(30)
    for _ in range(3):
        worker = stack.worker("-Q", "slow", "-c", "8", SHOP_GO=str(go))
        _wait_for_runs(stack, sum(stack.effects("begun").values()) + 1)
        worker.kill()
    go.touch()
    stack.worker("-Q", "slow", "-c", "8", SHOP_GO=str(go))
    stack.wait_effects("wait", range(8), timeout=90)
    assert set(stack.effects("wait").values()) == {1}
    assert stack.parked("shop.slow.dlq") == []


def _wait_for_runs(stack: Stack, count: int) -> None:
    wait_until(
        lambda: sum(stack.effects("begun").values()) >= count,
        60,
        lambda: f"run {count} of a handler\n{stack.logs()}",
    )
