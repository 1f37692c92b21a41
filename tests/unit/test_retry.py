"""Retry: the policy as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import Retry
from eventbus.errors import DeclarationError
from eventbus.outcome import DeadLetter, RetryAfter
from eventbus.retry import describe


class CardRefused(Exception):
    pass


def seconds(retry: Retry, attempts: int) -> list[float]:
    return [retry.planned_delay(n).total_seconds() for n in range(1, attempts + 1)]


def test_the_exponential_backoff_grows_to_its_limit() -> None:
    retry = Retry(delay=timedelta(seconds=2), factor=3, max_delay=timedelta(seconds=50))
    assert seconds(retry, 5) == [2, 6, 18, 50, 50]


def test_the_fixed_backoff_stays() -> None:
    assert seconds(Retry(backoff="fixed", delay=timedelta(seconds=7)), 3) == [7, 7, 7]
    assert seconds(Retry(backoff="fixed", delay=timedelta(hours=1)), 1) == [600]


def test_no_delay_stays_none() -> None:
    assert seconds(Retry(delay=timedelta(0)), 3) == [0, 0, 0]


def test_a_thousand_attempts_overflow_nothing() -> None:
    retry = Retry(max_attempts=1000, factor=100, max_delay=timedelta(days=30))
    assert retry.longest_delay == timedelta(days=30)
    assert Retry(max_attempts=1000, factor=1).longest_delay == timedelta(seconds=1)


def test_an_attempt_is_followed_by_another_until_they_are_used_up() -> None:
    retry = Retry(max_attempts=3, delay=timedelta(seconds=10), jitter=0)
    error = ValueError("no\nsecond line")
    assert retry.next(1, error) == RetryAfter(timedelta(seconds=10))
    assert retry.next(2, error) == RetryAfter(timedelta(seconds=50))
    assert retry.next(3, error) == DeadLetter("failed 3 of 3 attempts: ValueError: no")
    assert retry.next(9, error) == DeadLetter("failed 9 of 3 attempts: ValueError: no")


def test_one_attempt_never_retries() -> None:
    retry = Retry(max_attempts=1)
    assert isinstance(retry.next(1, ValueError()), DeadLetter)
    assert retry.longest_delay == timedelta(0)


def test_jitter_only_shortens_and_stays_within_its_part() -> None:
    for random, expected in ((0.0, 10.0), (0.5, 9.0), (1.0, 8.0)):
        retry = Retry(
            delay=timedelta(seconds=10), backoff="fixed", jitter=0.2, _random=lambda r=random: r
        )
        assert retry.next(1, ValueError()) == RetryAfter(timedelta(seconds=expected))


def test_an_error_to_give_up_on_is_not_tried_again() -> None:
    retry = Retry(give_up_on=(CardRefused,))
    assert retry.next(1, CardRefused("stolen")) == DeadLetter(
        "gave up at once on CardRefused: stolen"
    )
    assert isinstance(retry.next(1, ValueError()), RetryAfter)


def test_only_errors_to_retry_on_are_tried_again() -> None:
    retry = Retry(retry_on=[ConnectionError], give_up_on=[ConnectionRefusedError])
    assert isinstance(retry.next(1, ConnectionResetError()), RetryAfter)
    assert isinstance(retry.next(1, ConnectionRefusedError()), DeadLetter)
    assert isinstance(retry.next(1, ValueError()), DeadLetter)


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"max_attempts": 1001},
        {"max_attempts": 2.5},
        {"max_attempts": True},
        {"max_attempts": "5"},
        {"delay": 5},
        {"delay": timedelta(seconds=-1)},
        {"delay": timedelta(days=31)},
        {"max_delay": timedelta(days=31)},
        {"backoff": "linear"},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"factor": "5"},
        {"jitter": 1.5},
        {"jitter": None},
        {"retry_on": ValueError},
        {"retry_on": (ValueError, "KeyError")},
        {"give_up_on": CardRefused},
        {"give_up_on": (int,)},
    ],
    ids=str,
)
def test_a_policy_that_cannot_work_is_refused_where_it_is_declared(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(DeclarationError, match=f"Retry {name}="):
        Retry(**options)


@given(
    st.integers(1, 1000),
    st.integers(1, 1000),
    st.timedeltas(timedelta(0), timedelta(days=30)),
    st.floats(1, 100),
    st.timedeltas(timedelta(0), timedelta(days=30)),
    st.floats(0, 1),
)
def test_no_delay_is_negative_or_over_the_limit(
    max_attempts: int,
    attempt: int,
    delay: timedelta,
    factor: float,
    limit: timedelta,
    jitter: float,
) -> None:
    retry = Retry(
        max_attempts=max_attempts, delay=delay, factor=factor, max_delay=limit, jitter=jitter
    )
    outcome = retry.next(attempt, ValueError())
    if attempt >= max_attempts:
        assert isinstance(outcome, DeadLetter)
    else:
        assert isinstance(outcome, RetryAfter)
        assert timedelta(0) <= outcome.delay <= min(limit, retry.longest_delay)


def test_an_error_is_described_in_one_bounded_line() -> None:
    assert describe(ValueError()) == "ValueError"
    assert describe(ValueError("\n\n a\n b")) == "ValueError: a"
    assert len(describe(ValueError("x" * 1_000_000))) == 300
