"""The worker's loop on doubles: every delivery is settled once, whatever a handler does."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Retry
from eventbus.contracts.receiving import Receiving
from eventbus.message import ATTEMPTS_HEADER, ERROR_HEADER, HANDLER_HEADER, REASON_HEADER
from tests.waiting import wait_until

from .doubles import Bench, ItemAdded, message


def _raises(error: BaseException) -> Any:
    raise error


class NoWords(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        asyncio.CancelledError(),
        GeneratorExit(),
        NoWords(),
        RecursionError("deep"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_handler_raises_it_is_retried_and_the_worker_goes_on(
    bench: Bench, pool: str, error: BaseException
) -> None:
    handled = []

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        if event.item == 0:
            raise error
        handled.append(event.item)

    with bench.running(pool, concurrency=1):
        bench.consumer.deliver([message(0)])
        bench.consumer.deliver([message(1), message(2)])
        settlements = bench.consumer.wait_settled(3)
    assert handled == [1, 2]
    (forward,) = settlements[0].forwards
    assert forward.delay_ms is not None
    assert forward.message.headers[ERROR_HEADER] == type(error).__name__
    assert forward.message.headers[ATTEMPTS_HEADER] == 1


def test_a_coroutine_handler_that_exits_leaves_the_loop_usable(bench: Bench, pool: str) -> None:
    handled = []

    @bench.bus.handler("item.added", queue="added")
    async def add(event: ItemAdded) -> None:
        await asyncio.sleep(0)
        if event.item == 0:
            sys.exit("no more")
        handled.append(event.item)

    with bench.running(pool, concurrency=1):
        bench.consumer.deliver([message(0), message(1)])
        settlements = bench.consumer.wait_settled(2)
    assert handled == [1]
    assert [len(one.forwards) for one in settlements] == [1, 0]


def test_every_delivery_is_settled_once_with_several_handlers_on_threads(bench: Bench) -> None:
    """Handlers of one message that end at the same time must not settle it twice."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    generator = random.Random(3)
    bench.make_bus(retry=Retry(max_attempts=1))
    for name in ("a", "b", "c"):

        @bench.bus.handler("item.added", queue="added", name=name)
        def handle(event: ItemAdded) -> None:
            if generator.random() < 0.2:
                raise ValueError("at random")

    try:
        with bench.running(concurrency=4):
            for start in range(0, 3000, 50):
                bench.consumer.deliver([message(n) for n in range(start, start + 50)])
            bench.consumer.wait_settled(3000, 60)
    finally:
        sys.setswitchinterval(interval)
    assert len(bench.consumer.counts()) == 3000


def test_a_delivery_is_settled_only_after_all_its_handlers_are_remembered(bench: Bench) -> None:
    ended = threading.Event()
    go = threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def quick(event: ItemAdded) -> None:
        ended.set()

    @bench.bus.handler("item.added", queue="added")
    def slow(event: ItemAdded) -> None:
        assert go.wait(10)

    with bench.running():
        bench.consumer.deliver([message(1)])
        assert ended.wait(10)
        wait_until(lambda: len(_done(bench)) == 1, 10, "the quick handler remembered")
        assert bench.consumer.settlements == []
        go.set()
        bench.consumer.wait_settled(1)
        assert len(_done(bench)) == 2


def _done(bench: Bench) -> list[Any]:
    return [r for r in bench.store.model.records.values() if r.state.value == "done"]


def test_only_the_handler_that_failed_is_retried(bench: Bench, pool: str) -> None:
    runs: Counter[str] = Counter()

    @bench.bus.handler("item.added", queue="added")
    def good(event: ItemAdded) -> None:
        runs["good"] += 1

    @bench.bus.handler("item.added", queue="added")
    def bad(event: ItemAdded) -> None:
        runs["bad"] += 1
        raise ValueError("no")

    with bench.running(pool):
        bench.consumer.deliver([message(1)])
        (settlement,) = bench.consumer.wait_settled(1)
        (forward,) = settlement.forwards
        assert forward.message.headers[HANDLER_HEADER] == "bad"
        headers = {**forward.message.headers, "eventbus-not-before": 0}
        bench.consumer.deliver(
            [message(1, **{k: v for k, v in headers.items() if "-" in k})], from_exchange=False
        )
        bench.consumer.wait_settled(2)
    assert runs == {"good": 1, "bad": 2}
    (forward,) = bench.consumer.settlements[1].forwards
    assert forward.message.headers[ATTEMPTS_HEADER] == 2


def test_a_message_that_comes_again_while_its_handler_runs_does_not_run_twice(
    bench: Bench,
) -> None:
    """As after a reconnect: the same worker, and so the same token, gets it once more."""
    running: Counter[int] = Counter()
    go = threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        running[event.item] += 1
        assert go.wait(10)

    with bench.running():
        bench.consumer.deliver([message(1)])
        wait_until(lambda: running[1] == 1, 10, "a running handler")
        again = bench.consumer.deliver([message(1)], redelivered=True)
        (settlement,) = bench.consumer.wait_settled(1)
        assert settlement.delivery == again[0]
        (forward,) = settlement.forwards
        assert forward.message.headers[ATTEMPTS_HEADER] == 0, "a busy claim costs no attempt"
        go.set()
        bench.consumer.wait_settled(2)
    assert running == {1: 1}


def test_an_event_that_no_class_can_read_without_an_error_is_parked(bench: Bench) -> None:
    """A validator of the application's own may raise anything."""

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None: ...

    read = ItemAdded.__read__
    try:
        ItemAdded.__read__ = classmethod(lambda cls, data: _raises(NoWords()))  # type: ignore[method-assign]
        with bench.running():
            bench.consumer.deliver([message(1)])
            (settlement,) = bench.consumer.wait_settled(1)
    finally:
        ItemAdded.__read__ = read  # type: ignore[method-assign]
    (forward,) = settlement.forwards
    assert forward.delay_ms is None
    assert "NoWords" in forward.message.headers[REASON_HEADER]


def test_stop_returns_what_waits_and_settles_what_runs(bench: Bench, pool: str) -> None:
    begun = threading.Event()
    go = threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        begun.set()
        assert go.wait(10)

    with bench.running(pool, concurrency=1) as worker:
        deliveries = bench.consumer.deliver([message(n) for n in range(5000)])
        assert begun.wait(10)
        worker.stop()
        go.set()
    settled = bench.consumer.settlements
    assert {one.delivery.tag for one in settled} == {one.tag for one in deliveries}
    assert [one.requeue for one in settled].count(False) == 1
    assert not any(r.state.value == "held" for r in bench.store.model.records.values())


def test_deliveries_that_come_while_it_drains_are_returned_too(bench: Bench) -> None:
    begun = threading.Event()
    go = threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        begun.set()
        assert go.wait(10)

    with bench.running() as worker:
        bench.consumer.deliver([message(0)])
        assert begun.wait(10)
        worker.stop()
        assert bench.consumer.cancelled.wait(10)
        for number in range(1, 21):
            bench.consumer.deliver([message(number)])
        go.set()
    assert len(bench.consumer.counts()) == 21


def test_a_handler_that_does_not_end_is_returned_after_the_timeout(bench: Bench) -> None:
    begun = threading.Event()
    go = threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        begun.set()
        go.wait(30)

    try:
        with bench.running(shutdown_timeout=timedelta(seconds=0.2)):
            bench.consumer.deliver([message(0), message(1)])
            assert begun.wait(10)
        assert [one.requeue for one in bench.consumer.settlements] == [True, True]
    finally:
        go.set()


def test_stop_before_run_returns_at_once(bench: Bench, pool: str) -> None:
    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None: ...

    with bench.running(pool) as worker:
        worker.stop()
    assert bench.consumer.closed.is_set()
    assert bench.store.closed


def test_the_pool_ends_with_the_worker(bench: Bench) -> None:
    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None: ...

    with bench.running(concurrency=3):
        bench.consumer.deliver([message(1)])
        bench.consumer.wait_settled(1)
    wait_until(lambda: not _handler_threads(), 10, lambda: f"no threads; {_handler_threads()}")


def _handler_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("eventbus-handler")]


def test_while_the_store_is_away_the_worker_waits_and_can_be_stopped(
    bench: Bench, pool: str
) -> None:
    handled = []

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        handled.append(event.item)

    with bench.running(pool):
        bench.consumer.deliver([message(1)])
        bench.consumer.wait_settled(1)
        bench.store.away = True
        bench.consumer.deliver([message(n) for n in range(2, 400)])
        before = bench.store.asked
        wait_until(lambda: bench.store.asked > before + 3, 10, "the store asked again and again")
        assert handled == [1]
    assert len(bench.consumer.counts()) == 399
    assert [one.requeue for one in bench.consumer.settlements].count(True) == 398


def test_it_goes_on_when_the_store_is_back(bench: Bench, pool: str) -> None:
    handled = []

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        if event.item == 0:
            bench.store.away = True
        handled.append(event.item)

    with bench.running(pool) as worker:
        bench.consumer.deliver([message(n) for n in range(100)])
        wait_until(lambda: handled and worker._claims.trouble, 10, "a worker that waits")
        bench.store.away = False
        bench.consumer.wait_settled(100)
    assert sorted(handled) == list(range(100))


def test_with_continue_it_goes_on_without_the_store(bench: Bench, pool: str) -> None:
    bench.make_bus(idempotency_failure="continue")
    handled = []

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        handled.append(event.item)

    with bench.running(pool) as worker:
        bench.consumer.deliver([message(-1)])
        bench.consumer.wait_settled(1)
        bench.store.away = True
        bench.consumer.deliver([message(n) for n in range(50)])
        bench.consumer.wait_settled(51)
        assert worker._claims.trouble is not None
    assert sorted(handled) == list(range(-1, 50))
    assert not any(one.requeue for one in bench.consumer.settlements)


def test_a_claim_is_renewed_while_its_handler_runs(bench: Bench) -> None:
    bench.make_bus(claim_lease="60ms")
    go = threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        assert go.wait(10)

    with bench.running():
        bench.consumer.deliver([message(1)])
        wait_until(lambda: bench.store.renewed["elsewhere id-1"] >= 3, 10, "three renewals")
        go.set()
        bench.consumer.wait_settled(1)


def test_renewal_survives_any_error_of_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.make_bus(claim_lease="60ms")
    go = threading.Event()
    failed = Counter[str]()
    renew = bench.store.renew

    def broken(*arguments: Any) -> list[bool]:
        if failed["times"] < 2:
            failed["times"] += 1
            raise RuntimeError("of a kind that nobody expects")
        return renew(*arguments)

    monkeypatch.setattr(bench.store, "renew", broken)

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        assert go.wait(10)

    with bench.running():
        bench.consumer.deliver([message(1)])
        wait_until(lambda: bench.store.renewed["elsewhere id-1"], 10, "a renewal")
        go.set()


def test_solo_remembers_an_effect_soon_although_more_work_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies repeats only what it did in the last few milliseconds."""
    unremembered = []

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        time.sleep(0.006)
        unremembered.append(event.item + 1 - len(_done(bench)))

    with bench.running("solo"):
        bench.consumer.deliver([message(n) for n in range(40)])
        bench.consumer.wait_settled(40)
    assert max(unremembered) == 1


def test_a_decorated_coroutine_function_is_run_and_not_only_called(bench: Bench, pool: str) -> None:
    """What a decorator wraps is no coroutine function any more, but still returns a coroutine."""
    handled = []

    async def work(event: ItemAdded) -> None:
        await asyncio.sleep(0)
        handled.append(event.item)

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> Any:
        return work(event)

    with bench.running(pool):
        bench.consumer.deliver([message(1)])
        bench.consumer.wait_settled(1)
    assert handled == [1]


def test_an_event_that_killed_its_workers_is_parked(bench: Bench) -> None:
    runs = Counter[int]()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        runs[event.item] += 1

    from eventbus.workers.pipeline import open_works

    subscriptions = {"shop.added": bench.bus.subscription("added")}
    (work,) = open_works([_delivery(message(1))], subscriptions, Receiving(bench.bus))
    starts = bench.bus.settings.max_starts
    for number in range(starts):
        bench.store.claim([work.jobs[0].key], f"dead-{number}", 1_000, alone=True)
        bench.store.model.pass_time(2_000)
    with bench.running():
        bench.consumer.deliver([message(1)])
        (settlement,) = bench.consumer.wait_settled(1)
    assert not runs
    (forward,) = settlement.forwards
    assert forward.delay_ms is None
    assert f"started {starts} times" in forward.message.headers[REASON_HEADER]


def _delivery(one: Any) -> Any:
    from eventbus.brokers.port import Delivery

    return Delivery("shop.added", 0, one)
