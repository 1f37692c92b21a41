"""The circuit breaker as a state machine, without clock and worker."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eventbus import Breaker
from eventbus.workers.admission.breaker import CLOSED, HALF_OPEN, OPEN, Circuit

BREAKER = Breaker(
    failure_ratio=0.5,
    minimum=10,
    window=timedelta(seconds=30),
    open_for=timedelta(seconds=20),
    longest=timedelta(seconds=60),
)


def _fail(circuit: Circuit, count: int, now: float, *, handler: str = "h", events: int = 0) -> bool:
    """Let `count` runs fail, of `events` different events, by default each of another."""
    numbers = [number % (events or count) for number in range(count)]
    opened = [circuit.failed(handler, f"{handler}-{n}-{now}", now) for n in numbers]
    return any(opened)


def _succeed(circuit: Circuit, count: int, now: float, *, handler: str = "h") -> None:
    for _ in range(count):
        circuit.succeeded(handler, now)


def _opened(now: float = 0.0) -> Circuit:
    circuit = Circuit(BREAKER)
    assert _fail(circuit, 10, now)
    return circuit


def test_it_opens_when_the_ratio_is_reached() -> None:
    circuit = Circuit(BREAKER)
    _succeed(circuit, 10, 0)
    assert not _fail(circuit, 9, 1)
    assert circuit.state is CLOSED
    assert circuit.failed("h", "the last", 2)
    assert circuit.state is OPEN
    assert circuit.reason == "10 of 20 runs failed within 30 s"


def test_below_the_minimum_it_judges_nothing() -> None:
    circuit = Circuit(BREAKER)
    assert not _fail(circuit, 9, 0)
    assert circuit.state is CLOSED


def test_a_few_poisonous_events_open_nothing_however_often_they_are_tried() -> None:
    circuit = Circuit(BREAKER)
    assert not _fail(circuit, 1000, 0, events=4)
    assert circuit.failed("h", "a fifth", 1)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    circuit = Circuit(BREAKER)
    _fail(circuit, 9, 0)
    assert not _fail(circuit, 9, 40)
    assert _fail(circuit, 1, 41)


def test_old_successes_do_not_keep_it_closed() -> None:
    circuit = Circuit(BREAKER)
    _succeed(circuit, 1000, 0)
    assert _fail(circuit, 10, 40)


def test_events_are_counted_within_the_window() -> None:
    circuit = Circuit(BREAKER)
    for second in range(0, 300, 2):
        # The same three events, and each half minute a new one.
        assert not circuit.failed("h", f"poison {second % 6}", second)
        if second % 30 == 0:
            assert not circuit.failed("h", f"new {second}", second)


def test_a_handler_that_works_keeps_the_queue_going() -> None:
    circuit = Circuit(BREAKER)
    _succeed(circuit, 12, 0, handler="good")
    assert not _fail(circuit, 12, 1, handler="bad")
    assert not _fail(circuit, 5, 2, handler="good")
    assert _fail(circuit, 7, 3, handler="good")


def test_an_open_one_waits_before_it_probes() -> None:
    circuit = _opened(100)
    assert circuit.probe_at == 120
    circuit.tick(119.9)
    assert circuit.state is OPEN
    circuit.tick(120)
    assert circuit.state is HALF_OPEN


def test_a_probe_that_succeeds_closes_it_and_the_counts_begin_anew() -> None:
    circuit = _opened()
    circuit.tick(20)
    circuit.probed(True, 21)
    assert circuit.state is CLOSED
    assert not _fail(circuit, 9, 22)
    assert _fail(circuit, 1, 23)
    assert circuit.probe_at == 43, "the first wait again"


def test_each_probe_that_fails_makes_the_wait_longer_up_to_the_longest() -> None:
    circuit = _opened(0)
    waits = []
    now = 0.0
    for _ in range(4):
        waits.append(circuit.probe_at - now)
        now = circuit.probe_at
        circuit.tick(now)
        circuit.probed(False, now)
    assert waits == [20, 40, 60, 60]
    assert circuit.state is OPEN


@pytest.mark.parametrize("state", [OPEN, HALF_OPEN])
def test_what_was_running_when_it_opened_changes_nothing(state: str) -> None:
    circuit = _opened()
    if state is HALF_OPEN:
        circuit.tick(20)
    assert not _fail(circuit, 100, 21)
    _succeed(circuit, 100, 21)
    assert circuit.state is state


def test_a_probe_that_ends_when_it_is_not_half_open_changes_nothing() -> None:
    circuit = Circuit(BREAKER)
    circuit.probed(False, 0)
    assert circuit.state is CLOSED
    circuit = _opened()
    circuit.probed(True, 1)
    assert circuit.state is OPEN
