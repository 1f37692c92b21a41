"""What every pool promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from eventbus.workers.execution.event_loop import EventLoop
from eventbus.workers.pools.coroutines import CoroutinePool
from eventbus.workers.pools.port import Pool
from eventbus.workers.pools.threads import ThreadPool
from tests.waiting import wait_until

PLACES = 4


class Recorder:
    """Runs what a job has as `action`, and notes the jobs that have ended."""

    def __init__(self) -> None:
        self.ended: list[Any] = []

    def run(self, job: Any) -> None:
        job.action()

    async def run_async(self, job: Any) -> None:
        # Off the loop's thread, so that the action may block as on the other pools.
        await asyncio.get_running_loop().run_in_executor(None, job.action)


def job(action: Callable[[], Any] = lambda: None) -> Any:
    """All that a pool sees of a job."""
    return SimpleNamespace(action=action)


@pytest.fixture
def recorder() -> Recorder:
    """What runs the jobs."""
    return Recorder()


@pytest.fixture(params=["threads", "coroutines"])
def pool(request: pytest.FixtureRequest, recorder: Recorder) -> Iterator[Pool]:
    """Each pool in turn, with four places."""
    pool: Pool
    if request.param == "threads":
        pool = ThreadPool(PLACES, recorder, recorder.ended.append)
    else:
        pool = CoroutinePool(PLACES, recorder, recorder.ended.append, EventLoop())
    yield pool
    pool.close(10)


def test_every_job_runs_once_and_is_reported(pool: Pool, recorder: Recorder) -> None:
    ran: list[int] = []
    jobs = [job(lambda number=number: ran.append(number)) for number in range(200)]  # type: ignore[misc]
    for one in jobs:
        pool.submit(one)
    wait_until(lambda: len(recorder.ended) == 200, 20, "the end of all jobs")
    assert sorted(ran) == list(range(200))
    assert {id(one) for one in recorder.ended} == {id(one) for one in jobs}


def test_as_many_run_at_the_same_time_as_it_has_places(pool: Pool, recorder: Recorder) -> None:
    together = threading.Barrier(PLACES)
    for _ in range(PLACES):
        pool.submit(job(lambda: together.wait(20)))
    wait_until(lambda: len(recorder.ended) == PLACES, 20, "the end of all jobs")
    assert not together.broken


def test_no_more_run_at_the_same_time_than_it_has_places(pool: Pool, recorder: Recorder) -> None:
    go = threading.Event()
    running = threading.Semaphore(0)

    def wait() -> None:
        running.release()
        go.wait(20)

    for _ in range(PLACES + 3):
        pool.submit(job(wait))
    for _ in range(PLACES):
        assert running.acquire(timeout=20)
    assert not running.acquire(timeout=0.1)
    go.set()
    wait_until(lambda: len(recorder.ended) == PLACES + 3, 20, "the end of all jobs")


def test_what_has_not_begun_can_be_taken_back(pool: Pool, recorder: Recorder) -> None:
    go = threading.Event()
    running = threading.Semaphore(0)

    def wait() -> None:
        running.release()
        go.wait(20)

    first = [job(wait) for _ in range(PLACES)]
    later = [job() for _ in range(3)]
    for one in first + later:
        pool.submit(one)
    for _ in range(PLACES):
        assert running.acquire(timeout=20)
    assert [id(one) for one in pool.withdraw()] == [id(one) for one in later]
    go.set()
    wait_until(lambda: len(recorder.ended) == PLACES, 20, "the end of those that had begun")
    assert {id(one) for one in recorder.ended} == {id(one) for one in first}


def test_close_does_not_wait_longer_than_it_may(recorder: Recorder) -> None:
    pool = ThreadPool(1, recorder, recorder.ended.append)
    go = threading.Event()
    pool.submit(job(lambda: go.wait(30)))
    try:
        assert not pool.close(0.05)
    finally:
        go.set()
    assert pool.close(10)


def test_threads_do_not_keep_the_process_alive(pool: Pool) -> None:
    pool.submit(job())
    names = ("eventbus-handler", "eventbus-coroutines")
    threads = [t for t in threading.enumerate() if t.name.startswith(names)]
    assert threads
    assert all(thread.daemon for thread in threads)


def test_without_threads_of_its_own_it_works_on_the_callers(recorder: Recorder) -> None:
    pool = ThreadPool(1, recorder, recorder.ended.append, own_threads=False)
    ran_on: list[int] = []
    pool.submit(job(lambda: ran_on.append(threading.get_ident())))
    pool.close(0)
    pool.work()
    assert ran_on == [threading.get_ident()]
