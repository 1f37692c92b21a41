"""Time limits in each pool, on real processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from eventbus.message import ERROR_HEADER
from tests.faults.pool_stack import PoolStack, is_alive
from tests.services import RabbitMQ, Redis
from tests.waiting import wait_until


@pytest.fixture
def pools(broker_url: str, redis_url: str, tmp_path: Path) -> Iterator[PoolStack]:
    """RabbitMQ and Redis."""
    environment = {
        "EVENTBUS_DATABASE_URL": f"sqlite:///{tmp_path / 'pools.db'}",
        "EVENTBUS_BROKER_URL": broker_url,
        "EVENTBUS_REDIS_URL": redis_url,
        "EVENTBUS_CLAIM_LEASE": "3s",
    }
    stack = PoolStack(environment, tmp_path)
    try:
        stack.prepare()
        yield stack
    finally:
        stack.close()


def _wait_parked(stack: PoolStack, queue: str, count: int, timeout: float = 90) -> list[str]:
    """Wait for so many dead letters; the class of each one's error."""
    name = f"pools.{queue}.dlq"
    wait_until(
        lambda: len(stack.parked(name)) == count,
        timeout,
        lambda: f"{count} in {name}\n{stack.logs()}",
    )
    return [message.headers.get(ERROR_HEADER) for message in stack.parked(name)]


def test_in_a_child_the_soft_limit_interrupts_what_sleeps_and_what_computes(
    pools: PoolStack,
) -> None:
    process = pools.worker("-P", "prefork", "-c", "1", "--soft-time-limit", "500ms")
    pools.send(pools.shop.Slow(item=1, seconds=60), pools.shop.Busy(item=2, seconds=60))
    assert _wait_parked(pools, "slow", 1) == ["SoftTimeLimitExceeded"]
    assert _wait_parked(pools, "busy", 1) == ["SoftTimeLimitExceeded"]
    assert pools.items("interrupted") == {1: 2, 2: 2}
    assert len(set(pools.pids("begun"))) == 1, "a child was replaced"
    assert process.stop(60) == 0, process.output


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_on_a_thread_the_soft_limit_interrupts_what_computes(pools: PoolStack, pool: str) -> None:
    process = pools.worker("-P", pool, "--soft-time-limit", "500ms")
    pools.send(pools.shop.Busy(item=1, seconds=60), pools.shop.Done(item=2))
    assert _wait_parked(pools, "busy", 1) == ["SoftTimeLimitExceeded"]
    assert pools.items("interrupted") == {1: 2}
    pools.send(*(pools.shop.Done(item=item) for item in range(3, 10)))
    pools.wait_notes("done", 8)
    assert process.stop(60) == 0, process.output


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_coroutine_is_interrupted_where_it_awaits(pools: PoolStack, pool: str) -> None:
    process = pools.worker("-P", pool, "-c", "1", "-Q", "awaited", "--soft-time-limit", "500ms")
    pools.send(*(pools.shop.Awaited(item=item, seconds=60) for item in range(10)))
    assert _wait_parked(pools, "awaited", 10) == ["SoftTimeLimitExceeded"] * 10
    assert set(pools.items("interrupted").values()) == {2}
    assert process.stop(60) == 0, process.output


def test_the_hard_limit_cancels_a_coroutine_and_its_process_stays(pools: PoolStack) -> None:
    process = pools.worker("-P", "prefork", "-c", "1", "-Q", "awaited", "--time-limit", "500ms")
    pools.send(pools.shop.Awaited(item=1, seconds=60))
    assert _wait_parked(pools, "awaited", 1) == ["TimeLimitExceeded"]
    assert pools.items("cancelled") == {1: 2}
    assert len(set(pools.pids("begun"))) == 1
    assert process.stop(60) == 0, process.output


def test_the_hard_limit_ends_the_process_after_a_failed_attempt(pools: PoolStack) -> None:
    process = pools.worker("-P", "prefork", "-c", "1", "--time-limit", "1s")
    pools.send(pools.shop.Slow(item=1, seconds=60), *map(_done(pools), range(20)))
    assert _wait_parked(pools, "slow", 1) == ["TimeLimitExceeded"]
    pools.wait_notes("done", 20)
    assert pools.items("begun") == {1: 2}
    first, second = pools.pids("begun")
    assert first != second
    wait_until(lambda: not is_alive(first), 10, "the end of the first process")
    assert set(pools.items("done").values()) == {1}
    assert process.stop(60) == 0, process.output


def test_a_handler_that_holds_the_interpreter_is_killed_by_the_parent(pools: PoolStack) -> None:
    process = pools.worker("-P", "prefork", "-c", "1", "--time-limit", "500ms")
    pools.send(pools.shop.Stuck(item=1, seconds=60))
    pools.wait_notes("begun")
    process.wait_output("its handler goes on after its time limit", 30)
    pools.send(*map(_done(pools), range(5)))
    pools.wait_notes("done", 5)
    # Each start counts: it is parked like everything that kills its process.
    _wait_parked(pools, "stuck", 1, timeout=120)
    assert process.stop(60) == 0, process.output


def _done(stack: PoolStack):
    return lambda item: stack.shop.Done(item=item)


def test_heartbeats_and_leases_go_on_in_each_pool_while_a_handler_runs_for_many_of_them(
    rabbitmq: RabbitMQ, redis_server: Redis, tmp_path: Path
) -> None:
    with ExitStack() as stacks:
        pools = [
            (stacks.enter_context(_stack_of(rabbitmq, redis_server, tmp_path, pool)), pool)
            for pool in ("prefork", "threads", "solo")
        ]
        busy = [stack.worker("-P", pool, "-c", "2") for stack, pool in pools]
        for stack, _pool in pools:
            shop = stack.shop
            stack.send(shop.Slow(item=1, seconds=7), shop.Busy(item=2, seconds=7))
            stack.send(shop.Awaited(item=3, seconds=7))
        for stack, _pool in pools:
            stack.wait_notes("begun", 2)
        # They would take over what the first ones lose.
        others = [stack.worker("-P", "solo") for stack, _pool in pools]
        for stack, _pool in pools:
            for what in ("slept", "busy", "awaited"):
                stack.wait_notes(what, 1, timeout=90)
            assert stack.items("begun") == {1: 1, 2: 1, 3: 1}
            for queue in ("slow", "busy", "awaited"):
                stack.wait_empty(queue)
        for process in others + busy:
            assert process.stop(60) == 0, process.output
            assert "connection" not in process.output.replace("connections", ""), process.output


@contextmanager
def _stack_of(
    rabbitmq: RabbitMQ, redis_server: Redis, folder: Path, name: str
) -> Iterator[PoolStack]:
    """A stack of its own, on servers that cut off who is not heard of for 4 s."""
    folder = folder / name
    folder.mkdir()
    broker_url = rabbitmq.create_vhost()
    environment = {
        "EVENTBUS_DATABASE_URL": f"sqlite:///{folder / 'pools.db'}",
        # Two missed heartbeats close a connection.
        "EVENTBUS_BROKER_URL": f"{broker_url}?heartbeat=2",
        # Claims have the names of events in them, so they can share a database.
        "EVENTBUS_REDIS_URL": redis_server.database_url(0),
        "EVENTBUS_CLAIM_LEASE": "3s",
    }
    stack = PoolStack(environment, folder)
    try:
        stack.prepare()
        yield stack
    finally:
        stack.close()
        rabbitmq.drop_vhost(broker_url)
