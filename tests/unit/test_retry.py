"""Retry: the policy as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import Reject, Retry, RetryLater, Skip
from eventbus.errors import DeclarationError
from eventbus.outcome import Ack, DeadLetter, RetryAfter
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
    assert seconds(Retry(backoff="fixed", delay=timedelta(hours=1)), 1) == [3600]


def test_the_last_delay_of_a_sequence_repeats() -> None:
    delays = (timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1))
    retry = Retry(backoff="sequence", delays=delays, max_attempts=6)
    assert seconds(retry, 5) == [1, 60, 3600, 3600, 3600]
    assert retry.longest_delay == timedelta(hours=1)
    assert isinstance(retry.next(6, ValueError()), DeadLetter)


def test_the_longest_delay_of_a_sequence_is_the_longest_that_is_reached() -> None:
    delays = (timedelta(hours=1), timedelta(seconds=1), timedelta(days=1))
    retry = Retry(backoff="sequence", delays=delays, max_attempts=3)
    assert retry.longest_delay == timedelta(hours=1)


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


def test_a_handler_may_say_itself_what_becomes_of_its_event() -> None:
    retry = Retry(max_attempts=2, retry_on=(ConnectionError,), give_up_on=(Exception,))
    assert retry.next(1, Reject("no account")) == DeadLetter("no account")
    assert retry.next(1, Skip("stale")) == Ack(skipped="stale")
    assert retry.next(9, Skip("")) == Ack(skipped="") != Ack()
    assert retry.next(1, RetryLater(timedelta(days=30))) == RetryAfter(timedelta(days=30))


def test_a_later_retry_that_counts_ends_with_the_attempts() -> None:
    retry = Retry(max_attempts=2)
    wish = RetryLater(timedelta(hours=1), "the bank is closed")
    assert retry.next(2, wish) == DeadLetter(
        "failed 2 of 2 attempts: RetryLater: the bank is closed"
    )
    free = RetryLater(timedelta(hours=1), counted=False)
    assert retry.next(2, free) == RetryAfter(timedelta(hours=1), counted=False)
    assert retry.next(1, wish) == RetryAfter(timedelta(hours=1))


@pytest.mark.parametrize("delay", [5, None, "1h", timedelta(seconds=-1), timedelta(days=31)])
def test_a_later_retry_that_cannot_be_kept_is_refused_where_it_is_raised(delay: Any) -> None:
    with pytest.raises(DeclarationError, match="RetryLater delay="):
        RetryLater(delay)


def test_a_reason_may_be_anything_with_a_text() -> None:
    assert Reject(ValueError("no")).reason == "no"  # type: ignore[arg-type]
    assert str(Skip(7)) == "7"  # type: ignore[arg-type]
    assert RetryLater(timedelta(0)).reason is None


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
        {"delays": (timedelta(seconds=1),)},
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


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"delays": timedelta(seconds=1)},
        {"delays": (timedelta(seconds=1), 5)},
        {"delays": (timedelta(days=31),)},
        {"delays": (timedelta(seconds=1),), "delay": timedelta(seconds=7)},
    ],
    ids=str,
)
def test_a_sequence_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="Retry delay"):
        Retry(backoff="sequence", **options)


def test_a_first_delay_beyond_the_longest_is_refused() -> None:
    with pytest.raises(DeclarationError, match="give a longer max_delay too"):
        Retry(delay=timedelta(hours=1))


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
    delay, limit = sorted((delay, limit))
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
