"""When a refused event is tried again, and how it resumes: decisions by the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.workers.holds import CALM_SECONDS, LONGEST_TRY_SECONDS, SHARE, Hold, Holds


def _refused_once(name: str = "order.paid") -> tuple[Holds, Hold]:
    holds = Holds()
    holds.answered(name, sent=0, taken=10, refused=3, now=1_000.0)
    (found,) = [hold for known, hold in holds if known == name]
    return holds, found


def _try(holds: Holds, now: float, *, taken: int = 0, refused: int = 0, sent: int = 1) -> None:
    holds.count_under_way(["order.paid"] * sent)
    holds.answered("order.paid", sent, taken, refused, now)


def test_what_was_never_refused_needs_no_care() -> None:
    holds = Holds()
    holds.meet(["order.paid"])
    holds.answered("order.paid", sent=0, taken=500, refused=0, now=0.0)
    assert not holds
    assert holds.count_under_way(["order.paid"]) == {}


def test_a_refusal_holds_the_event_until_the_next_try() -> None:
    holds, hold = _refused_once()
    assert holds.names() == ["order.paid"]
    assert hold.room(1_000.0) == 0
    assert 0.5 <= holds.seconds_to_look(1_000.0) <= 1.0
    assert hold.room(1_001.0) == 1
    holds.count_under_way(["order.paid"])
    assert hold.room(1_001.0) == 0, "one try at a time"


def test_tries_that_are_refused_come_at_growing_intervals() -> None:
    holds, hold = _refused_once()
    now, pauses = 1_001.0, []
    for _ in range(10):
        _try(holds, now, refused=1)
        pauses.append(hold.try_at - now)
        now = hold.try_at
    bounds = [min(2.0**n, LONGEST_TRY_SECONDS) for n in range(1, 11)]
    for pause, bound in zip(pauses, bounds, strict=True):
        assert bound / 2 <= pause <= bound


def test_refusals_of_what_was_sent_before_the_hold_do_not_make_the_pause_longer() -> None:
    holds, hold = _refused_once()
    try_at = hold.try_at
    for _ in range(2):
        holds.answered("order.paid", sent=0, taken=100, refused=400, now=1_000.1)
    assert (hold.try_at, hold.closed) == (try_at, True)


def test_an_unanswered_try_is_repeated_without_a_longer_pause() -> None:
    holds, hold = _refused_once()
    _try(holds, 1_001.0)
    assert 0.5 <= hold.try_at - 1_001.0 <= 1.0
    assert hold.closed


def test_after_a_try_that_is_taken_the_number_under_way_doubles_up_to_a_share_of_what_was() -> None:
    holds, hold = _refused_once()
    _try(holds, 1_001.0, taken=1)
    windows = [hold.window]
    for _ in range(400):
        sent = hold.room(1_001.0)
        _try(holds, 1_001.0, sent=sent, taken=sent)
        windows.append(hold.window)
    assert windows[0] == 1
    assert windows == sorted(windows)
    assert windows[-1] >= 500
    assert hold.window <= hold.taken // SHARE


def test_the_next_refusal_meets_a_small_share_of_what_was_taken() -> None:
    holds, hold = _refused_once()
    hold.answered(0, 0, 0, 1_001.0)
    _try(holds, 1_001.0, taken=1)
    for _ in range(300):
        sent = hold.room(1_001.0)
        _try(holds, 1_001.0, sent=sent, taken=sent)
    taken, window = hold.taken, hold.window
    _try(holds, 1_002.0, sent=window, refused=window)
    assert window <= taken / SHARE
    assert hold.closed
    # As long a run may come again: it need not grow from nothing.
    assert hold.ceiling == taken // SHARE


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=40))
def test_a_queue_that_takes_few_and_refuses_again_costs_at_most_one_refusal_each_time(
    runs: list[tuple[int, bool]],
) -> None:
    """Whatever the queue does, refused are at most the tries and a share of what was taken."""
    holds, hold = _refused_once()
    now, taken, refused, tries = 2_000.0, 0, 0, 0
    for room, _ in runs:
        while True:
            now = max(now, hold.try_at)
            sent = hold.room(now)
            tries += hold.closed
            fits = min(sent, room)
            room -= fits
            _try(holds, now, sent=sent, taken=fits, refused=sent - fits)
            taken, refused = taken + fits, refused + sent - fits
            if sent > fits:
                break
    assert refused <= tries + len(runs) + 2 * taken / SHARE


def test_an_event_for_a_queue_that_is_known_to_block_is_cautious_from_the_start() -> None:
    bounds = {"order.paid": 1_000, "order.tiny": 3}
    holds = Holds(bounds.get)
    holds.meet(["order.paid", "order.tiny", "order.other"])
    assert {name: hold.room(0.0) for name, hold in holds} == {"order.paid": 20, "order.tiny": 1}
    assert holds.names() == []


def test_what_an_earlier_dispatcher_held_is_tried_at_once_and_one_by_one() -> None:
    holds = Holds()
    holds.found_held(["order.paid"], 50.0)
    (found,) = holds.with_backlog(50.0).values()
    assert found.room(50.0) == 1
    assert holds.names() == ["order.paid"]


def test_an_event_that_flows_for_long_is_forgotten() -> None:
    holds, hold = _refused_once()
    _try(holds, 1_001.0, taken=1)
    hold.backlog = False
    holds.forget_calm(1_000.0 + CALM_SECONDS)
    assert holds
    holds.forget_calm(1_001.0 + CALM_SECONDS)
    assert not holds


def test_waiting_for_a_look_is_never_a_busy_loop() -> None:
    holds, _ = _refused_once()
    assert holds.seconds_to_look(9_999.0) == pytest.approx(0.05)
    assert Holds().seconds_to_look(0.0) == float("inf")
