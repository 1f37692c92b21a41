"""Many workers want the same keys at the same time: each key has one of them."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from eventbus.database import make_engine, upgrade
from eventbus.tables import idempotency
from eventbus.workers.idempotency.port import IdempotencyStore, Key, Verdict
from eventbus.workers.idempotency.redis import RedisStore
from eventbus.workers.idempotency.sql import SqlStore
from tests.waiting import wait_until

from .stores import SERVICE, InDatabase, StoreUnderTest, waits_for_a_lock

LEASE_MS = 60_000
KEYS = [Key("charge", str(number), "f") for number in range(60)]
PROCESSES, ROUNDS = 4, 5


def open_store(url: str) -> IdempotencyStore:
    if url.startswith("redis"):
        return RedisStore(url, SERVICE)
    return SqlStore(make_engine(url), SERVICE)


def claim_batches(url: str, number: int, barrier: Any, mine: Any) -> None:
    """One process: in each round, claim all keys of that round in a random order, in batches."""
    store = open_store(url)
    chance = random.Random(number)
    for turn in range(ROUNDS):
        keys = [Key("charge", f"{turn}-{key.event_id}", "f") for key in KEYS]
        chance.shuffle(keys)
        barrier.wait(60)
        for start in range(0, len(keys), 20):
            batch = keys[start : start + 20]
            token = f"{number}-{turn}-{start}"
            answers = store.claim(batch, token, LEASE_MS)
            won = [k for k, a in zip(batch, answers, strict=True) if a.verdict is Verdict.MINE]
            assert store.remember(won, token, LEASE_MS) == [True] * len(won)
            for key in won:
                mine.put(key.event_id)
    mine.put(None)


def test_each_key_is_given_to_one_process(url: str) -> None:
    if not url.startswith("redis"):
        upgrade(make_engine(url, poolclass=sa.NullPool))
    context = multiprocessing.get_context("spawn")
    barrier, mine = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=claim_batches, args=(url, number, barrier, mine))
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    ended, winners = 0, Counter[str]()
    while ended < PROCESSES:
        event_id = mine.get(timeout=90)
        ended += event_id is None
        winners.update([event_id] if event_id is not None else [])
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert set(winners.values()) == {1}
    assert len(winners) == ROUNDS * len(KEYS)


def test_threads_that_share_a_store_get_each_key_once(under_test: StoreUnderTest) -> None:
    store, threads = under_test.store, 4
    barrier = threading.Barrier(threads)

    def claim(number: int) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for turn in range(10):
            barrier.wait(30)
            key = Key("charge", str(turn), "f")
            verdicts += [a.verdict for a in store.claim([key], f"{number}-{turn}", LEASE_MS)]
        return verdicts

    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(claim, range(threads)))
    for verdicts in map(Counter, zip(*answers, strict=True)):
        assert verdicts == {Verdict.MINE: 1, Verdict.BUSY: threads - 1}


def test_workers_that_settle_overlapping_batches_do_not_stand_in_each_others_way(
    under_test: StoreUnderTest,
) -> None:
    """Every command on the same keys in every order: no deadlock reaches the caller."""
    store = under_test.store

    def work(number: int) -> None:
        chance = random.Random(number)
        for turn in range(25):
            keys = chance.sample(KEYS, 30)
            token = f"{number}-{turn}"
            store.claim(keys, token, LEASE_MS)
            store.renew(keys[:20], token, LEASE_MS)
            store.release(keys[:15], token)
            store.remember(keys[15:20], token, 1)
            store.release(keys, token)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_a_key_that_is_released_all_the_time_still_has_one_holder(
    under_test: StoreUnderTest,
) -> None:
    store, keys = under_test.store, KEYS[:3]
    holder: dict[Key, str] = {}
    both: list[tuple[str, str]] = []

    def work(number: int) -> None:
        for turn in range(60):
            token = f"{number}-{turn}"
            answers = store.claim(keys, token, LEASE_MS)
            mine = [k for k, a in zip(keys, answers, strict=True) if a.verdict is Verdict.MINE]
            for key in mine:
                other = holder.setdefault(key, token)
                if other != token:
                    both.append((other, token))
            for key in mine:
                holder.pop(key, None)
            store.release(mine, token)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert both == []


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
@pytest.mark.parametrize("command", ["remember", "renew", "release"])
def test_a_late_worker_waits_for_the_claim_that_takes_over(
    kind: str, command: str, request: pytest.FixtureRequest
) -> None:
    """Its answer is about what that claim has written, not about what it overwrote."""
    under_test = InDatabase(request.getfixturevalue(f"{kind}_url"))
    store, engine = under_test.store, under_test.engine
    store.claim(KEYS[:1], "late", LEASE_MS)
    arguments = [] if command == "release" else [LEASE_MS]
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            connection.execute(idempotency.update().values(token="new"))
            late = pool.submit(getattr(store, command), KEYS[:1], "late", *arguments)
            wait_until(lambda: waits_for_a_lock(engine), what="the late worker waits")
        assert not late.result(30) or late.result(30) == [False]
    assert store.renew(KEYS[:1], "new", LEASE_MS) == [True]
    under_test.close()
