"""A rate limit against a clock that only moves when it sleeps or works."""

from __future__ import annotations

import pytest

from eventbus.workers.operations.pacing import Pacer


class Clock:
    """A clock, and the sleep that moves it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _seconds_for(rate: float, count: int, work_seconds: float = 0.0) -> float:
    clock = Clock()
    limit = Pacer(rate, clock=clock, sleep=clock.sleep)
    began, left = clock.now, count
    while left:
        left -= limit.take(min(left, 500), lambda: None)
        clock.now += work_seconds
    return clock.now - began


@pytest.mark.parametrize(("rate", "count"), [(0.5, 3), (1, 5), (7, 70), (1_000, 5_000)])
def test_the_rate_is_kept(rate: float, count: int) -> None:
    # The first slice goes at once.
    assert count / rate - 1 / min(rate, 10) - 0.11 <= _seconds_for(rate, count) <= count / rate


def test_the_time_that_the_work_takes_is_not_added() -> None:
    assert _seconds_for(100, 1_000, work_seconds=0.05) == pytest.approx(10, abs=0.3)


def test_a_slow_pause_is_not_made_up_for_by_a_burst() -> None:
    clock = Clock()
    limit = Pacer(10, clock=clock, sleep=clock.sleep)
    limit.take(1, lambda: None)
    clock.now += 60
    began = clock.now
    for _ in range(11):
        limit.take(1, lambda: None)
    assert clock.now - began >= 0.85


def test_without_a_rate_all_that_is_asked_for_may_go() -> None:
    clock = Clock()
    assert Pacer(None, clock=clock, sleep=clock.sleep).take(500, lambda: None) == 500
    assert clock.slept == []


def test_a_wait_is_ended_by_the_check() -> None:
    clock = Clock()
    limit = Pacer(0.01, clock=clock, sleep=clock.sleep)
    limit.take(1, lambda: None)

    def check() -> None:
        if clock.now > 101:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        limit.take(1, check)
    assert clock.now < 101.2
