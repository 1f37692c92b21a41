"""What every pool promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from eventbus.errors import ConfigurationError
from eventbus.workers.pools import POOLS, make_pool
from eventbus.workers.pools.port import Pool


@pytest.fixture(params=POOLS)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Each pool in turn, for up to four handlers."""
    pool = make_pool(request.param, 4)
    yield pool
    pool.close(10)


def test_every_task_runs_once(pool: Pool) -> None:
    ran = []
    done = threading.Semaphore(0)

    def task(number: int) -> None:
        ran.append(number)
        done.release()

    for number in range(200):
        pool.submit(lambda number=number: task(number))  # type: ignore[misc]
    for _ in range(200):
        assert done.acquire(timeout=10)
    assert sorted(ran) == list(range(200))


def test_as_many_run_at_the_same_time_as_it_says(pool: Pool) -> None:
    together = threading.Barrier(pool.concurrency)
    ended = threading.Semaphore(0)

    def task() -> None:
        together.wait(10)
        ended.release()

    for _ in range(pool.concurrency):
        pool.submit(task)
    for _ in range(pool.concurrency):
        assert ended.acquire(timeout=10)


def test_close_waits_for_what_was_submitted(pool: Pool) -> None:
    ran = []
    for number in range(50):
        pool.submit(lambda number=number: ran.append(number))  # type: ignore[misc]
    assert pool.close(10)
    assert sorted(ran) == list(range(50))


def test_close_does_not_wait_longer_than_it_may() -> None:
    pool = make_pool("threads", 1)
    go = threading.Event()
    pool.submit(lambda: go.wait(30) and None)
    try:
        assert not pool.close(0.05)
    finally:
        go.set()
    assert pool.close(10)


def test_threads_do_not_keep_the_process_alive() -> None:
    pool = make_pool("threads", 2)
    workers = [t for t in threading.enumerate() if t.name.startswith("eventbus-handler")]
    assert workers
    assert all(thread.daemon for thread in workers)
    pool.close(10)


def test_an_unknown_pool_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no pool 'fibers'.*threads"):
        make_pool("fibers", 1)
