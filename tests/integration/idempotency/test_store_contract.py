"""What every idempotency store promises; the model of pure functions is held to it as well."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from eventbus.tables import idempotency
from eventbus.workers.idempotency.port import KEEP_STARTS_MS, Claim, Key, Verdict

from .stores import MINUTE, InDatabase, InRedis, StoreUnderTest

DAY = 24 * 60 * MINUTE
LEASE = 5 * MINUTE + MINUTE // 2
KEYS = [Key("charge", f"/shop {number}", "9f86d081") for number in range(3)]
KEY = KEYS[0]

MINE = Claim(Verdict.MINE, 1)
DONE, BUSY = Claim(Verdict.DONE), Claim(Verdict.BUSY)
MISMATCH = Claim(Verdict.MISMATCH)


def test_the_first_claim_is_mine_and_others_are_told_busy(under_test: StoreUnderTest) -> None:
    store, other = under_test.store, under_test.another()
    assert store.claim(KEYS, "a", LEASE) == [MINE] * 3
    assert other.claim(KEYS, "b", LEASE) == [BUSY] * 3


def test_what_is_remembered_is_done_for_everybody(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim(KEYS, "a", LEASE)
    assert store.remember(KEYS, "a", 7 * DAY) == [True] * 3
    assert store.claim(KEYS, "a", LEASE) == [DONE] * 3
    assert under_test.another().claim(KEYS, "b", LEASE) == [DONE] * 3


def test_a_look_tells_what_is_done_and_changes_nothing(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim(KEYS[:2], "a", LEASE)
    store.remember([KEYS[1]], "a", DAY)
    other_data = Key(KEYS[1].handler, KEYS[1].event_id, "00000000")
    for _ in range(2):
        assert store.done([*KEYS, other_data]) == [False, True, False, True]
    assert store.done([]) == []
    assert store.claim(KEYS, "b", LEASE) == [BUSY, DONE, MINE]
    under_test.pass_time(DAY + MINUTE)
    assert store.done([KEYS[1]]) == [False]


def test_answers_come_in_the_order_of_the_keys(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim([KEYS[2]], "a", LEASE)
    store.remember([KEYS[2]], "a", DAY)
    store.claim([KEYS[0]], "a", LEASE)
    assert store.claim([*reversed(KEYS)], "b", LEASE) == [DONE, MINE, BUSY]
    assert store.remember([KEYS[1], KEYS[0], KEYS[2]], "b", DAY) == [True, False, True]


def test_the_memory_ends_with_its_period(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim([KEY], "a", LEASE)
    store.remember([KEY], "a", 7 * DAY)
    under_test.pass_time(7 * DAY - MINUTE)
    assert store.claim([KEY], "b", LEASE) == [DONE]
    under_test.pass_time(2 * MINUTE)
    assert store.claim([KEY], "b", LEASE) == [MINE]


def test_remembering_again_does_not_lengthen_the_memory(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim([KEY], "a", LEASE)
    store.remember([KEY], "a", 10 * MINUTE)
    under_test.pass_time(9 * MINUTE)
    assert store.remember([KEY], "b", 10 * MINUTE) == [True]
    under_test.pass_time(2 * MINUTE)
    assert store.claim([KEY], "c", LEASE) == [MINE]


def test_the_same_token_is_answered_mine_again_without_another_start(
    under_test: StoreUnderTest,
) -> None:
    store = under_test.store
    store.claim([KEY], "a", LEASE)
    assert store.claim([KEY], "a", LEASE) == [MINE]
    under_test.pass_time(LEASE + MINUTE)
    assert store.claim([KEY], "a", LEASE) == [MINE]
    # and the lease runs from then on
    assert store.claim([KEY], "b", LEASE) == [BUSY]


def test_starts_without_an_outcome_are_counted_beyond_the_lease(under_test: StoreUnderTest) -> None:
    store = under_test.store
    for starts, token in enumerate("abcdefghijklm", start=1):
        assert store.claim([KEY], token, LEASE, alone=True) == [Claim(Verdict.MINE, starts)]
        assert store.claim([KEY], "z", LEASE, alone=True) == [BUSY]
        under_test.pass_time(LEASE + 10 * 60 * MINUTE)


def test_a_key_whose_start_was_lost_is_given_only_to_who_runs_it_alone(
    under_test: StoreUnderTest,
) -> None:
    store = under_test.store
    store.claim(KEYS[:1], "dead", LEASE)
    under_test.pass_time(LEASE + MINUTE)
    for _ in range(3):
        assert store.claim(KEYS[:2], "a", LEASE) == [Claim(Verdict.SUSPECT, 1), MINE]
    assert store.renew(KEYS[:1], "a", LEASE) == [False]
    assert store.claim(KEYS, "b", LEASE, alone=True) == [Claim(Verdict.MINE, 2), BUSY, MINE]
    assert store.claim(KEYS[:1], "a", LEASE, alone=True) == [BUSY]


def test_an_unclaimed_key_is_free_and_its_start_does_not_count(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim(KEYS, "a", LEASE)
    store.unclaim(KEYS[:2], "a")
    store.unclaim(KEYS[:2], "a")
    assert store.claim(KEYS, "b", LEASE) == [MINE, MINE, BUSY]
    assert store.renew(KEYS, "a", LEASE) == [False, False, True]


def test_unclaiming_keeps_the_starts_before(under_test: StoreUnderTest) -> None:
    store = under_test.store
    for token in ("dead", "dead as well"):
        store.claim([KEY], token, LEASE, alone=True)
        under_test.pass_time(LEASE + MINUTE)
    assert store.claim([KEY], "a", LEASE, alone=True) == [Claim(Verdict.MINE, 3)]
    store.unclaim([KEY], "a")
    assert store.claim([KEY], "a", LEASE) == [Claim(Verdict.SUSPECT, 2)]
    assert store.claim([KEY], "a", LEASE, alone=True) == [Claim(Verdict.MINE, 3)]


def test_starts_that_are_given_back_are_remembered_as_long_as_asked(
    under_test: StoreUnderTest,
) -> None:
    store = under_test.store
    store.claim([KEY], "dead", LEASE)
    under_test.pass_time(LEASE + MINUTE)
    store.claim([KEY], "a", LEASE, alone=True)
    store.unclaim([KEY], "a", 0, 5 * MINUTE + MINUTE // 2)
    under_test.pass_time(5 * MINUTE)
    assert store.claim([KEY], "b", LEASE) == [Claim(Verdict.SUSPECT, 1)]
    under_test.pass_time(MINUTE)
    assert store.claim([KEY], "b", LEASE) == [MINE]


def test_a_start_can_be_taken_back_before_its_lease_ends(under_test: StoreUnderTest) -> None:
    """Its handler may still be running, in a process that is about to end."""
    store = under_test.store
    store.claim([KEY], "a", LEASE)
    store.unclaim([KEY], "a", LEASE)
    under_test.pass_time(4 * MINUTE)
    assert store.claim([KEY], "b", LEASE) == [BUSY]
    under_test.pass_time(2 * MINUTE)
    assert store.claim([KEY], "b", LEASE) == [MINE]


def test_only_the_holder_can_unclaim_and_only_what_is_not_done(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim(KEYS, "a", LEASE)
    store.remember(KEYS[1:2], "a", DAY)
    store.unclaim(KEYS, "b")
    store.unclaim(KEYS[1:2], "a")
    assert store.claim(KEYS, "b", LEASE) == [BUSY, DONE, BUSY]


def test_the_count_of_starts_is_forgotten_after_a_while(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim([KEY], "a", LEASE)
    under_test.pass_time(LEASE + KEEP_STARTS_MS + MINUTE)
    assert store.claim([KEY], "b", LEASE) == [MINE]


def test_a_released_key_can_be_claimed_at_once_and_counts_anew(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim(KEYS, "a", LEASE)
    under_test.pass_time(LEASE + MINUTE)
    assert store.claim(KEYS, "b", LEASE, alone=True) == [Claim(Verdict.MINE, 2)] * 3
    store.release(KEYS[:2], "b")
    assert store.claim(KEYS, "c", LEASE) == [MINE, MINE, BUSY]


def test_a_renewed_claim_outlives_its_first_lease(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim(KEYS, "a", LEASE)
    under_test.pass_time(4 * MINUTE)
    assert store.renew(KEYS[:2], "a", LEASE) == [True, True]
    under_test.pass_time(4 * MINUTE)
    assert store.claim(KEYS, "b", LEASE, alone=True) == [BUSY, BUSY, Claim(Verdict.MINE, 2)]
    assert store.renew(KEYS, "a", LEASE) == [True, True, False]


def test_renewing_keeps_the_count_of_starts(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim([KEY], "a", LEASE)
    under_test.pass_time(LEASE + MINUTE)
    store.claim([KEY], "b", LEASE, alone=True)
    store.renew([KEY], "b", LEASE)
    under_test.pass_time(LEASE + MINUTE)
    assert store.claim([KEY], "c", LEASE, alone=True) == [Claim(Verdict.MINE, 3)]


def test_a_late_worker_cannot_settle_what_another_has_taken_over(
    under_test: StoreUnderTest,
) -> None:
    store = under_test.store
    store.claim([KEY], "late", LEASE)
    under_test.pass_time(LEASE + MINUTE)
    store.claim([KEY], "new", LEASE, alone=True)
    assert store.remember([KEY], "late", DAY) == [False]
    assert store.renew([KEY], "late", LEASE) == [False]
    store.release([KEY], "late")
    assert store.claim([KEY], "other", LEASE) == [BUSY]
    assert store.remember([KEY], "new", DAY) == [True]
    store.release([KEY], "new")
    assert store.claim([KEY], "other", LEASE) == [DONE]
    assert store.remember([KEY], "late", DAY) == [True]


def test_a_late_worker_that_nobody_replaced_can_settle(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim(KEYS, "late", LEASE)
    under_test.pass_time(LEASE + MINUTE)
    assert store.renew([KEYS[0]], "late", LEASE) == [True]
    assert store.remember([KEYS[1]], "late", DAY) == [True]
    store.release([KEYS[2]], "late")
    assert store.claim(KEYS, "b", LEASE) == [BUSY, DONE, MINE]


def test_an_effect_whose_claim_was_forgotten_is_remembered(under_test: StoreUnderTest) -> None:
    store = under_test.store
    store.claim(KEYS, "a", LEASE)
    under_test.clear()
    assert store.renew(KEYS, "a", LEASE) == [False] * 3
    assert store.remember(KEYS, "a", DAY) == [True] * 3
    assert store.claim(KEYS, "b", LEASE) == [DONE] * 3


def test_the_same_id_with_other_data_is_a_mismatch(under_test: StoreUnderTest) -> None:
    store = under_test.store
    other = Key(KEY.handler, KEY.event_id, "other")
    store.claim([KEY], "a", LEASE)
    assert store.claim([other], "b", LEASE) == [MISMATCH]
    store.remember([KEY], "a", DAY)
    assert store.claim([other], "b", LEASE) == [MISMATCH]
    assert store.claim([KEY], "b", LEASE) == [DONE]


def test_a_key_twice_in_one_batch_is_mine_once(under_test: StoreUnderTest) -> None:
    store = under_test.store
    other = Key(KEY.handler, KEY.event_id, "other")
    answers = store.claim([KEY, KEYS[1], KEY, other], "a", LEASE)
    assert answers == [MINE, MINE, BUSY, MISMATCH]
    assert store.renew([KEY, KEY], "a", LEASE) == [True, True]
    assert store.remember([KEY, KEY], "a", DAY) == [True, True]
    assert store.claim([KEY, KEY], "a", LEASE) == [DONE, DONE]


def test_handlers_do_not_share_their_keys(under_test: StoreUnderTest) -> None:
    store = under_test.store
    handlers = ["a", "a:b", "A", "b", ""]
    keys = [Key(handler, event, "f") for handler in handlers for event in ("b:c", "c", "")]
    assert store.claim(keys, "a", LEASE) == [MINE] * len(keys)


ODD = ["", " ", "a", "A", "a ", " a", "ä", "a\u0308", "\0", "\ud800", "\n", "%", "'", "x" * 10_000]


def test_any_id_token_and_fingerprint_can_be_kept(under_test: StoreUnderTest) -> None:
    store = under_test.store
    keys = [Key("charge", text, "f") for text in ODD]
    assert store.claim(keys, "a", LEASE) == [MINE] * len(keys)
    for number, text in enumerate(ODD):
        key = Key("odd", str(number), text)
        assert store.claim([key], text, LEASE) == [MINE]
        for other in ODD:
            expected = MINE if other == text else BUSY
            assert store.claim([key], other, LEASE) == [expected]
        assert store.remember([key], text, DAY) == [True]
        same = [store.claim([Key("odd", str(number), f)], "t", LEASE) == [DONE] for f in ODD]
        assert same == [f == text for f in ODD]


def test_a_batch_may_be_empty_or_large(under_test: StoreUnderTest) -> None:
    store = under_test.store
    assert store.claim([], "a", LEASE) == []
    assert store.remember([], "a", DAY) == []
    assert store.renew([], "a", LEASE) == []
    store.release([], "a")
    store.unclaim([], "a")
    keys = [Key("charge", str(number), "f") for number in range(5000)]
    assert store.claim(keys, "a", LEASE) == [MINE] * 5000
    assert store.renew(keys, "a", LEASE) == [True] * 5000
    assert store.remember(keys, "a", DAY) == [True] * 5000
    assert store.claim(keys, "b", LEASE) == [DONE] * 5000


def test_a_store_that_answers_does_not_raise(under_test: StoreUnderTest) -> None:
    under_test.store.ping()


def test_redis_lets_keys_expire_by_itself(redis_url: str) -> None:
    under_test = InRedis(redis_url)
    under_test.store.claim([KEY], "a", LEASE)
    name = "eventbus:shop:charge:/shop 0"
    client = under_test._client
    assert LEASE + KEEP_STARTS_MS - MINUTE < client.pttl(name) <= LEASE + KEEP_STARTS_MS
    under_test.store.remember([KEY], "a", 7 * DAY)
    assert 7 * DAY - MINUTE < client.pttl(name) <= 7 * DAY
    under_test.close()


def test_a_database_is_purged_in_batches_of_what_has_expired(database_url: str) -> None:
    under_test = InDatabase(database_url)
    store = under_test.store
    keys = [Key("charge", str(number), "f") for number in range(5)]
    store.claim(keys, "a", LEASE)
    store.remember(keys, "a", 10 * MINUTE)
    under_test.pass_time(11 * MINUTE)
    fresh, held = Key("charge", "fresh", "f"), Key("charge", "held", "f")
    store.claim([fresh, held, keys[0]], "b", LEASE)
    store.remember([fresh], "b", DAY)
    assert [store.purge_expired(3) for _ in range(3)] == [3, 1, 0]  # type: ignore[attr-defined]
    with under_test.engine.begin() as connection:
        left = connection.scalars(sa.select(idempotency.c.event_id))
        assert sorted(left) == ["0", "fresh", "held"]
    under_test.close()


@pytest.mark.parametrize("command", ["claim", "remember", "renew", "release", "unclaim"])
def test_a_batch_is_one_call_to_redis(redis_url: str, command: str) -> None:
    under_test = InRedis(redis_url)
    arguments = {"claim": ["a", LEASE], "remember": ["a", DAY], "renew": ["a", LEASE]}
    call = lambda: getattr(under_test.store, command)(  # noqa: E731
        KEYS, *arguments.get(command, ["a"])
    )
    call()  # loads the script
    before = _calls(under_test)
    call()
    assert _calls(under_test) == before + 1
    under_test.close()


def _calls(under_test: InRedis) -> int:
    stats = under_test._client.info("commandstats")
    assert isinstance(stats, dict)
    return sum(
        stats[name]["calls"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats
    )
