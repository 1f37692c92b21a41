"""Words, numbers and styles of what `status` and `top` show."""

from __future__ import annotations

import pytest

from eventbus.cli import panels
from eventbus.workers.monitoring.pauses import Pause
from eventbus.workers.monitoring.snapshot import QueueState


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9_999, "9999"),
        (10_000, "10.0k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (123_456_789, "123M"),
        (10**12, "many"),
    ],
)
def test_a_number_in_five_characters(number: int, text: str) -> None:
    assert panels.short_number(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.04, "0.0"),
        (3.44, "3.4"),
        (99.94, "99.9"),
        (99.95, "100"),
        (12_345.6, "12.3k"),
    ],
)
def test_a_rate_in_five_characters(value: float, text: str) -> None:
    assert panels.rate(value) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0.04, "<0.1 ms"),
        (0.1, "0.1 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (1_500, "1.5 s"),
        (180_000, "3 min"),
    ],
)
def test_a_run_time_in_its_unit(milliseconds: float, text: str) -> None:
    assert panels.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("queue", "text"),
    [
        (QueueState("q", exists=True, consumers=1), "consumed"),
        (QueueState("q", exists=True, consumers=0), "no consumer"),
        (QueueState("q", exists=True, consumers=0, breaker="open"), "breaker open"),
        (QueueState("q", exists=True, pause=Pause("q", 0, "ada", ""), breaker="open"), "paused"),
        (QueueState("q", exists=False), "missing"),
        (QueueState("q"), "?"),
    ],
)
def test_a_queue_in_a_word(queue: QueueState, text: str) -> None:
    assert panels.queue_state(queue).text == text


def test_what_is_not_known_is_no_zero() -> None:
    (row,) = panels.queue_panel([QueueState("q")]).texts
    assert row == ["q", "?", *["-"] * 8]
