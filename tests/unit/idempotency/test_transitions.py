"""The idempotency rules, without any store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.workers.idempotency import transitions
from eventbus.workers.idempotency.port import KEEP_STARTS_MS, Claim, Key, Verdict
from eventbus.workers.idempotency.transitions import NOBODY, Record, State, with_repeats

NOW = 1_000_000
HELD = Record(State.HELD, "me", "f", 2, NOW + 10, NOW + 10 + KEEP_STARTS_MS)
LAPSED = replace(HELD, lease_until_ms=NOW, expires_at_ms=NOW + KEEP_STARTS_MS)
DONE = Record(State.DONE, "me", "f", 0, 0, NOW + 1)
GIVEN_BACK = replace(LAPSED, token=NOBODY, starts=0)
GONE_HELD = replace(HELD, lease_until_ms=NOW - KEEP_STARTS_MS, expires_at_ms=NOW)
GONE_DONE = replace(DONE, expires_at_ms=NOW)

CLAIMS = [
    # record, token, fingerprint, answer
    pytest.param(None, "me", "f", Claim(Verdict.MINE, 1), id="new"),
    pytest.param(HELD, "me", "f", Claim(Verdict.MINE, 2), id="the same request again"),
    pytest.param(LAPSED, "me", "f", Claim(Verdict.MINE, 2), id="again, after its lease"),
    pytest.param(HELD, "other", "f", Claim(Verdict.BUSY), id="held by another"),
    pytest.param(HELD, "other", "g", Claim(Verdict.MISMATCH), id="held, other data"),
    pytest.param(HELD, "me", "g", Claim(Verdict.MISMATCH), id="held by me, other data"),
    pytest.param(LAPSED, "other", "f", Claim(Verdict.SUSPECT, 2), id="its holder died"),
    pytest.param(LAPSED, "other", "g", Claim(Verdict.SUSPECT, 2), id="its holder died, other data"),
    pytest.param(LAPSED, "me", "g", Claim(Verdict.SUSPECT, 2), id="died by my token, other data"),
    pytest.param(GIVEN_BACK, "other", "f", Claim(Verdict.MINE, 1), id="its start was given back"),
    pytest.param(DONE, "other", "f", Claim(Verdict.DONE), id="done"),
    pytest.param(DONE, "me", "f", Claim(Verdict.DONE), id="done by me"),
    pytest.param(DONE, "other", "g", Claim(Verdict.MISMATCH), id="done, other data"),
    pytest.param(GONE_HELD, "other", "g", Claim(Verdict.MINE, 1), id="forgotten claim"),
    pytest.param(GONE_DONE, "other", "g", Claim(Verdict.MINE, 1), id="forgotten effect"),
]


@pytest.mark.parametrize(("record", "token", "fingerprint", "answer"), CLAIMS)
def test_claim(record: Record | None, token: str, fingerprint: str, answer: Claim) -> None:
    after, answered = transitions.claim(
        record, token=token, fingerprint=fingerprint, lease_ms=30, now_ms=NOW
    )
    assert answered == answer
    if answer.verdict is Verdict.MINE:
        until = NOW + 30
        assert after == Record(
            State.HELD, token, fingerprint, answer.starts, until, until + KEEP_STARTS_MS
        )
    else:
        assert after == record


@pytest.mark.parametrize(
    ("record", "token", "answer"),
    [
        pytest.param(LAPSED, "other", Claim(Verdict.MINE, 3), id="its holder died"),
        pytest.param(LAPSED, "me", Claim(Verdict.MINE, 2), id="the same request again"),
        pytest.param(HELD, "other", Claim(Verdict.BUSY), id="held by another"),
        pytest.param(GIVEN_BACK, "other", Claim(Verdict.MINE, 1), id="its start was given back"),
        pytest.param(None, "me", Claim(Verdict.MINE, 1), id="new"),
    ],
)
def test_whoever_runs_it_alone_may_have_a_suspect(
    record: Record | None, token: str, answer: Claim
) -> None:
    _, answered = transitions.claim(
        record, token=token, fingerprint="f", lease_ms=30, now_ms=NOW, alone=True
    )
    assert answered == answer


FREE = replace(HELD, token=NOBODY, starts=1, lease_until_ms=NOW, expires_at_ms=NOW + KEEP_STARTS_MS)


@pytest.mark.parametrize(
    ("record", "token", "lease_ms", "after"),
    [
        pytest.param(HELD, "me", 0, FREE, id="held"),
        pytest.param(LAPSED, "me", 0, FREE, id="lapsed"),
        pytest.param(replace(HELD, starts=1), "me", 0, None, id="the first start"),
        pytest.param(
            replace(HELD, starts=1),
            "me",
            30,
            replace(
                FREE, starts=0, lease_until_ms=NOW + 30, expires_at_ms=NOW + 30 + KEEP_STARTS_MS
            ),
            id="the first start, still running",
        ),
        pytest.param(HELD, "other", 0, HELD, id="held by another"),
        pytest.param(DONE, "me", 0, DONE, id="done"),
        pytest.param(None, "me", 30, None, id="absent"),
        pytest.param(GONE_HELD, "me", 0, None, id="expired"),
    ],
)
def test_unclaim(record: Record | None, token: str, lease_ms: int, after: Record | None) -> None:
    answer = transitions.unclaim(
        record, token=token, lease_ms=lease_ms, keep_ms=KEEP_STARTS_MS, now_ms=NOW
    )
    assert answer == after


REMEMBERS = [
    pytest.param(HELD, "me", True, True, id="held"),
    pytest.param(LAPSED, "me", True, True, id="lapsed, taken by nobody"),
    pytest.param(HELD, "other", False, False, id="taken over"),
    pytest.param(LAPSED, "other", False, False, id="taken over by one who died"),
    pytest.param(DONE, "other", False, True, id="done by another"),
    pytest.param(None, "me", True, True, id="forgotten"),
    pytest.param(GONE_HELD, "other", True, True, id="expired"),
]


@pytest.mark.parametrize(("record", "token", "written", "answer"), REMEMBERS)
def test_remember(record: Record | None, token: str, written: bool, answer: bool) -> None:
    after, answered = transitions.remember(
        record, token=token, fingerprint="f", ttl_ms=500, now_ms=NOW
    )
    assert answered is answer
    assert after == (Record(State.DONE, token, "f", 0, 0, NOW + 500) if written else record)


@pytest.mark.parametrize(
    ("record", "token", "after"),
    [
        pytest.param(HELD, "me", None, id="held"),
        pytest.param(LAPSED, "me", None, id="lapsed"),
        pytest.param(HELD, "other", HELD, id="taken over"),
        pytest.param(DONE, "me", DONE, id="done"),
        pytest.param(None, "me", None, id="absent"),
    ],
)
def test_release(record: Record | None, token: str, after: Record | None) -> None:
    assert transitions.release(record, token=token, now_ms=NOW) == after


@pytest.mark.parametrize(
    ("record", "token", "answer"),
    [
        pytest.param(HELD, "me", True, id="held"),
        pytest.param(LAPSED, "me", True, id="lapsed, taken by nobody"),
        pytest.param(HELD, "other", False, id="taken over"),
        pytest.param(DONE, "me", False, id="done"),
        pytest.param(None, "me", False, id="absent"),
        pytest.param(GONE_HELD, "me", False, id="expired"),
    ],
)
def test_renew(record: Record | None, token: str, answer: bool) -> None:
    after, answered = transitions.renew(record, token=token, lease_ms=700, now_ms=NOW)
    assert answered is answer
    if answer:
        assert record is not None
        until = NOW + 700
        assert after == replace(record, lease_until_ms=until, expires_at_ms=until + KEEP_STARTS_MS)


def test_a_settled_failure_starts_the_count_anew() -> None:
    record: Record | None = None
    record, _ = _claim(record, "first", NOW)
    record, answer = _claim(record, "second", NOW + 30, alone=True)
    assert answer == Claim(Verdict.MINE, 2)
    record = transitions.release(record, token="second", now_ms=NOW + 31)
    record, answer = _claim(record, "third", NOW + 32)
    assert answer == Claim(Verdict.MINE, 1)


_records = st.none() | st.builds(
    Record,
    state=st.sampled_from(State),
    token=st.sampled_from("abc"),
    fingerprint=st.sampled_from("fg"),
    starts=st.integers(0, 5),
    lease_until_ms=st.integers(NOW - 5, NOW + 5),
    expires_at_ms=st.integers(NOW - 5, NOW + 5),
)


@given(_records, st.sampled_from("fg"), st.integers(1, 10), st.booleans())
def test_of_two_tokens_at_the_same_time_one_at_most_gets_it(
    record: Record | None, fingerprint: str, lease_ms: int, alone: bool
) -> None:
    verdicts = []
    for token in ("x", "y"):
        record, answer = _claim(
            record, token, NOW, fingerprint=fingerprint, lease_ms=lease_ms, alone=alone
        )
        verdicts.append(answer.verdict)
    assert verdicts.count(Verdict.MINE) <= 1


@given(_records)
def test_whoever_was_told_mine_can_remember_and_then_nobody_runs_it(record: Record | None) -> None:
    record, answer = _claim(record, "x", NOW)
    if answer.verdict is Verdict.MINE:
        record, kept = transitions.remember(
            record, token="x", fingerprint="f", ttl_ms=1000, now_ms=NOW + 1
        )
        assert kept
        for token in ("x", "y"):
            record, answer = _claim(record, token, NOW + 999)
            assert answer.verdict is Verdict.DONE


@given(_records, st.sampled_from(["remember", "release", "renew", "unclaim"]))
def test_without_the_token_nothing_can_be_settled(record: Record | None, command: str) -> None:
    record, _ = _claim(record, "holder", NOW, alone=True)
    arguments: dict[str, object] = {
        "remember": {"fingerprint": "f", "ttl_ms": 9},
        "release": {},
        "renew": {"lease_ms": 9},
        "unclaim": {"lease_ms": 0, "keep_ms": 9},
    }[command]
    result = getattr(transitions, command)(record, token="late", now_ms=NOW, **arguments)
    after = result if command in ("release", "unclaim") else result[0]
    assert after == record


def test_a_key_twice_in_one_batch_is_mine_once() -> None:
    key, other, data = Key("h", "1", "f"), Key("h", "2", "f"), Key("h", "1", "g")
    mine, done = Claim(Verdict.MINE, 3), Claim(Verdict.DONE)
    mismatch, busy = Claim(Verdict.MISMATCH), Claim(Verdict.BUSY)
    batch = [key, other, key, data, other, key]
    assert with_repeats(batch, [mine, done, mismatch]) == [mine, done, busy, mismatch, done, busy]
    assert with_repeats([key, other], [mine, done]) == [mine, done]


def _claim(
    record: Record | None,
    token: str,
    now_ms: int,
    *,
    fingerprint: str = "f",
    lease_ms: int = 30,
    alone: bool = False,
) -> tuple[Record, Claim]:
    return transitions.claim(
        record, token=token, fingerprint=fingerprint, lease_ms=lease_ms, now_ms=now_ms, alone=alone
    )
