"""When a successor starts."""

from __future__ import annotations

from eventbus.workers.prefork.crash_loop import LONGEST_PAUSE_SECONDS, STABLE_SECONDS, CrashLoop


def test_the_first_death_costs_nothing() -> None:
    assert CrashLoop().died(lived_seconds=0.1) == 0.0


def test_each_death_of_a_young_process_doubles_the_pause_up_to_the_longest() -> None:
    loop = CrashLoop()
    pauses = [loop.died(lived_seconds=1.0) for _ in range(50)]
    assert pauses[:5] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_a_process_that_lived_long_starts_anew() -> None:
    loop = CrashLoop()
    for _ in range(5):
        loop.died(lived_seconds=1.0)
    assert loop.died(lived_seconds=STABLE_SECONDS) == 0.0
    assert loop.died(lived_seconds=1.0) == 1.0
