"""What becomes of a row, of a shard, of a batch: pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.brokers.port import Confirmation
from eventbus.outbox.transitions import (
    LONGEST_HOLD_MS,
    MAX_ATTEMPTS,
    Fail,
    Hold,
    HoldBack,
    Keep,
    Log,
    ShardState,
    hold_ms,
    plan_shards,
    plan_waves,
    settle,
)


def _settle(confirmation: Confirmation, attempts: int = 0, **changed: bool):
    options = {"fail_unrouted": False, "suspect": False, **changed}
    return settle(confirmation, attempts, **options)


def test_what_the_broker_has_is_logged() -> None:
    assert _settle(Confirmation.ROUTED) == Log(routed=True)
    assert _settle(Confirmation.ROUTED, suspect=True, fail_unrouted=True) == Log(routed=True)


def test_what_no_queue_wants_is_logged_as_unrouted_or_fails_by_choice() -> None:
    assert _settle(Confirmation.UNROUTED) == Log(routed=False)
    assert isinstance(_settle(Confirmation.UNROUTED, fail_unrouted=True), Fail)


def test_a_missing_answer_changes_nothing_unless_the_row_was_alone() -> None:
    assert _settle(Confirmation.UNKNOWN, attempts=MAX_ATTEMPTS) == Keep()
    assert isinstance(_settle(Confirmation.UNKNOWN, suspect=True), Hold)


def test_a_refusal_is_of_the_event_and_costs_the_row_nothing_however_often() -> None:
    for attempts in (0, 1, MAX_ATTEMPTS, 10 * MAX_ATTEMPTS):
        assert isinstance(_settle(Confirmation.REFUSED, attempts), HoldBack)
        assert isinstance(_settle(Confirmation.REFUSED, attempts, suspect=True), HoldBack)


def test_what_cannot_be_sent_waits_longer_each_time_and_is_given_up_in_the_end() -> None:
    changes = [_settle(Confirmation.UNSENDABLE, attempts) for attempts in range(MAX_ATTEMPTS)]
    delays = [change.delay_ms for change in changes[:-1]]
    assert delays == sorted(delays)
    assert delays[0] == 1_000
    assert delays[-1] == LONGEST_HOLD_MS
    assert isinstance(changes[-1], Fail)
    assert str(MAX_ATTEMPTS) in changes[-1].error


@given(st.integers(0, 10_000))
def test_a_hold_is_bounded(attempts: int) -> None:
    assert 0 < hold_ms(attempts) <= LONGEST_HOLD_MS


_OWNERS = st.sampled_from(["a", "b", "c", None])


@given(
    st.lists(st.tuples(_OWNERS, st.booleans()), min_size=1, max_size=40),
    st.sets(st.sampled_from(["a", "b", "c"])),
)
def test_a_plan_takes_only_what_is_free_and_keeps_a_fair_share(
    states: list[tuple[str | None, bool]], alive: set[str]
) -> None:
    shards = {number: ShardState(owner, expired) for number, (owner, expired) in enumerate(states)}
    plan = plan_shards(shards, "a", alive)
    share = -(-len(shards) // len(alive | {"a"}))
    assert len(plan.owned) <= share
    for number in plan.take:
        assert shards[number].owner is None or shards[number].expired
        assert shards[number].owner != "a"
    mine = {number for number, state in shards.items() if state.owner == "a"}
    assert plan.keep | plan.release == mine
    assert not plan.keep & plan.release
    free = {n for n, s in shards.items() if s.owner is None or (s.expired and s.owner != "a")}
    assert len(plan.owned) == share or plan.take == free, "a free shard was left with nobody"


@given(st.integers(1, 8), st.integers(1, 40))
def test_dispatchers_that_renew_in_turn_share_all_shards(count: int, shards: int) -> None:
    names = [f"d{number}" for number in range(count)]
    owners: dict[int, str | None] = dict.fromkeys(range(shards))
    for _ in range(3):
        for name in names:
            state = {number: ShardState(owner, False) for number, owner in owners.items()}
            plan = plan_shards(state, name, names)
            owners.update(dict.fromkeys(plan.release))
            owners.update(dict.fromkeys(plan.take, name))
    assert None not in owners.values()
    share = -(-shards // count)
    assert all(list(owners.values()).count(name) <= share for name in names)


_KEYS = st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30)


@given(_KEYS, st.sets(st.sampled_from(["a", "b", "c"])))
def test_waves_hold_each_row_once_and_each_key_once_a_wave_in_order(
    keys: list[str | None], in_flight: set[str]
) -> None:
    waves = plan_waves(keys, in_flight)
    assert sorted(position for wave in waves for position in wave) == list(range(len(keys)))
    for wave in waves:
        named = [keys[position] for position in wave if keys[position] is not None]
        assert len(named) == len(set(named))
    assert not in_flight & {keys[position] for position in waves[0]}
    for key in {"a", "b", "c"}:
        order = [position for wave in waves for position in wave if keys[position] == key]
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("keys", "in_flight", "waves"),
    [
        ([], set(), [[]]),
        ([None, None], {"a"}, [[0, 1]]),
        (["a", "b", "a", None], {"b"}, [[0, 3], [1, 2]]),
        (["a", "a", "a"], set(), [[0], [1], [2]]),
        (["a", "a"], {"a"}, [[], [0], [1]]),
    ],
)
def test_waves(keys: list[str | None], in_flight: set[str], waves: list[list[int]]) -> None:
    assert plan_waves(keys, in_flight) == waves
