"""Which limits a handler has, and a clock that rings once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from eventbus.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from eventbus.workers.execution.interruption import Interrupter, run_limited
from eventbus.workers.execution.task_limit import TaskLimit
from eventbus.workers.execution.time_limits import Clock, Limits, TimeLimits
from tests.waiting import wait_until


def _handler(soft: float | None = None, hard: float | None = None) -> Any:
    class Handler(SimpleNamespace):
        __hash__ = object.__hash__

    return Handler(
        soft_time_limit=None if soft is None else timedelta(seconds=soft),
        time_limit=None if hard is None else timedelta(seconds=hard),
    )


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (_handler(), Limits(5, 10)),
        (_handler(soft=1), Limits(1, 10)),
        (_handler(hard=20), Limits(5, 20)),
        (_handler(1, 2), Limits(1, 2)),
    ],
)
def test_a_handlers_own_limits_go_before_the_workers(handler: Any, expected: Limits) -> None:
    limits = TimeLimits(timedelta(seconds=5), timedelta(seconds=10))
    assert limits.of(handler) == expected
    assert limits.of(handler) is limits.of(handler)


def test_without_limits_there_are_none() -> None:
    assert TimeLimits().of(_handler()) == Limits(None, None)


def test_the_clock_rings_in_time_and_not_what_was_called_off() -> None:
    clock = Clock()
    rang: list[str] = []
    off = clock.set(0.05, lambda: rang.append("off"))
    clock.set(30, lambda: rang.append("late"))
    clock.set(0.1, lambda: rang.append("on"))
    assert clock.call_off(off)
    wait_until(lambda: "on" in rang, 10, "the alarm")
    assert rang == ["on"]


def test_either_the_clock_or_who_calls_off_decides_never_both() -> None:
    clock = Clock()
    rang: list[int] = []
    called_off = 0
    for number in range(300):
        alarm = clock.set(0.0005, lambda number=number: rang.append(number))  # type: ignore[misc]
        time.sleep(0.0005)
        called_off += clock.call_off(alarm)
    wait_until(lambda: len(rang) + called_off == 300, 10, "all alarms decided")
    assert len(set(rang)) == len(rang)


# -- plain functions on a thread -------------------------------------------------------------------


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def _on_a_thread(function: Any) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    return found[0]


def test_what_computes_on_a_thread_is_interrupted_with_the_limit_in_words() -> None:
    def run() -> None:
        with Interrupter(Clock()).limit(0.05):
            _spin(20)

    error = _on_a_thread(run)
    assert isinstance(error, SoftTimeLimitExceeded)
    assert str(error) == "it ran longer than its soft time limit of 0.05 s"


def test_an_interruption_that_comes_late_does_not_hit_what_runs_next() -> None:
    interrupter = Interrupter(Clock())
    failed: list[int] = []

    def run() -> str:
        for number in range(400):
            try:
                with interrupter.limit(0.001):
                    time.sleep(0.001)
            except SoftTimeLimitExceeded:
                failed.append(number)
            # Any interruption that were left over would come out here.
            _spin(0.0002)
        return "through"

    assert _on_a_thread(run) == "through"


# -- coroutines ------------------------------------------------------------------------------------


def _run(coroutine: Coroutine[Any, Any, Any], limits: Limits) -> None:
    asyncio.run(asyncio.wait_for(run_limited(coroutine, limits), 20))


def test_a_coroutine_in_time_gets_and_gives_what_it_awaits() -> None:
    seen: list[Any] = []

    async def inner() -> None:
        seen.append(await asyncio.sleep(0, "slept"))
        seen.append(await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2)))
        with pytest.raises(ZeroDivisionError):
            await asyncio.create_task(_fail())

    _run(inner(), Limits(10, 20))
    assert seen == ["slept", [1, 2]]


async def _fail() -> None:
    raise ZeroDivisionError


def test_a_coroutine_can_catch_its_soft_limit_and_go_on() -> None:
    seen: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(20)
        except SoftTimeLimitExceeded as error:
            seen.append(str(error))
        async with asyncio.timeout(5) if hasattr(asyncio, "timeout") else _nothing():
            await asyncio.sleep(0.01)
        seen.append("tidied up")

    _run(inner(), Limits(0.05, None))
    assert seen == ["it ran longer than its soft time limit of 0.05 s", "tidied up"]


class _nothing:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def test_a_coroutine_that_leaves_its_soft_limit_alone_fails_with_it() -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        _run(asyncio.sleep(20), Limits(0.05, None))


def test_the_hard_limit_cancels_a_coroutine() -> None:
    seen: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(20)
        finally:
            seen.append("tidied up")

    with pytest.raises(TimeLimitExceeded, match=r"limit of 0\.05 s and was cancelled"):
        _run(inner(), Limits(None, 0.05))
    assert seen == ["tidied up"]


def test_a_coroutine_that_does_not_let_itself_be_cancelled_is_closed() -> None:
    async def inner() -> None:
        for _ in range(3):
            with contextlib.suppress(BaseException):
                await asyncio.sleep(20)

    with pytest.raises(TimeLimitExceeded):
        _run(inner(), Limits(None, 0.05))


def test_a_coroutine_cancelled_by_others_is_just_cancelled() -> None:
    async def main() -> None:
        task = asyncio.create_task(run_limited(asyncio.sleep(20), Limits(10, 20)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# -- so many tasks ---------------------------------------------------------------------------------


def test_so_many_tasks_run_and_later_ones_come_back_untouched() -> None:
    ran: list[int] = []
    reached: list[int] = []
    runner: Any = SimpleNamespace(run=ran.append)
    limit = TaskLimit(runner, 3, lambda: reached.append(len(ran)))
    for job in range(6):
        limit.run(job)  # type: ignore[arg-type]
    assert ran == [0, 1, 2]
    assert reached == [3]
