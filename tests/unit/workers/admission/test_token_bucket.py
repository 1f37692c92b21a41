"""Rate limits as values."""

from __future__ import annotations

import pytest

from eventbus.rate_limit import RateLimit
from eventbus.workers.admission.token_bucket import TokenBucket


def _begun(rate: str, seconds: float, step: float = 0.001) -> int:
    """Runs that begin within that time, where one is always waiting."""
    bucket = TokenBucket.full(RateLimit.parse(rate), 0.0)
    begun = 0
    now = 0.0
    while now < seconds:
        while bucket.has_token(now):
            bucket = bucket.taken(now)
            begun += 1
        now += step
    return begun


@pytest.mark.parametrize(
    ("rate", "seconds", "least", "most"),
    [
        ("100/s", 10, 1000, 1010),
        ("1/s", 9.5, 10, 10),
        ("30/m", 59, 30, 30),
        ("3600/h", 59.5, 60, 60),
        ("1000/s", 2, 2000, 2100),
    ],
)
def test_as_many_begin_as_the_rate_says(rate: str, seconds: float, least: int, most: int) -> None:
    assert least <= _begun(rate, seconds) <= most


def test_an_hour_of_silence_makes_no_burst() -> None:
    bucket = TokenBucket.full(RateLimit.parse("100/s"), 0.0)
    count = 0
    while bucket.has_token(3600.0):
        bucket = bucket.taken(3600.0)
        count += 1
    assert count == 10


def test_it_says_when_the_next_one_may_begin() -> None:
    bucket = TokenBucket.full(RateLimit.parse("30/m"), 100.0).taken(100.0)
    assert bucket.next_at() == pytest.approx(102.0)
    assert not bucket.has_token(101.9)
    assert bucket.has_token(bucket.next_at())


def test_a_run_that_did_not_take_place_gives_its_token_back() -> None:
    bucket = TokenBucket.full(RateLimit.parse("1/s"), 0.0)
    assert bucket.taken(5.0).given_back().has_token(5.0)
    assert bucket.given_back().tokens == 1.0


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    bucket = TokenBucket.full(RateLimit.parse("1/s"), 10.0).taken(10.0)
    assert not bucket.has_token(10.0)
    assert not bucket.has_token(5.0)
    assert bucket.taken(5.0).at == 10.0
