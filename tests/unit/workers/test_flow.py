"""Pauses, breakers, limits and suspects in a worker, on doubles."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import timedelta

import pytest

from eventbus import Breaker, Reject, Retry
from eventbus.brokers.port import Delivery
from eventbus.contracts.receiving import Receiving
from eventbus.errors import EventBusError
from eventbus.hooks import BreakerClosed, BreakerOpened
from eventbus.message import ATTEMPTS_HEADER, REASON_HEADER
from eventbus.workers.admission import intake
from eventbus.workers.idempotency.port import Key
from eventbus.workers.options import WorkerOptions
from eventbus.workers.pipeline import open_works
from eventbus.workers.worker import Worker
from tests.waiting import wait_until

from .doubles import Bench, ItemAdded, message

QUEUE = "shop.added"


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "LOOK_SECONDS", 0.01)


def _lose_starts(bench: Bench, item: int, count: int) -> None:
    """Let `count` workers die while they run that event."""
    for number in range(count):
        bench.store.claim([_key(bench, item)], f"dead-{number}", 1_000, alone=True)
        bench.store.model.pass_time(2_000)


def _key(bench: Bench, item: int) -> Key:
    subscriptions = {QUEUE: bench.bus.subscription("added")}
    [work] = open_works([Delivery(QUEUE, 0, message(item))], subscriptions, Receiving(bench.bus))
    return work.jobs[0].key


# -- pause -----------------------------------------------------------------------------------------


def test_a_pause_gives_back_what_was_not_begun_and_lets_run_what_runs(bench: Bench) -> None:
    begun, go = threading.Event(), threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        begun.set()
        assert go.wait(10)

    with bench.running(concurrency=1) as worker:
        deliveries = bench.consumer.deliver([message(n) for n in range(5)])
        assert begun.wait(10)
        worker.set_paused(frozenset({QUEUE}))
        returned = bench.consumer.wait_settled(4)
        assert {one.delivery.tag for one in returned} == {one.tag for one in deliveries[1:]}
        assert all(one.requeue for one in returned)
        assert bench.consumer.paused == {QUEUE}
        report = worker.report()
        assert (report.queues[QUEUE].paused, report.queues[QUEUE].consuming) == (True, False)
        # What was under way when the consumer was cancelled.
        bench.consumer.deliver([message(99)])
        assert bench.consumer.wait_settled(5)[4].requeue
        go.set()
        assert not bench.consumer.wait_settled(6)[5].requeue
        worker.set_paused(frozenset())
        wait_until(lambda: not bench.consumer.paused, 10, "a consumer that goes on")
        bench.consumer.deliver([message(100)])
        assert not bench.consumer.wait_settled(7)[6].requeue
        assert worker.report().queues[QUEUE].paused is False
    assert bench.consumer.switches == [f"pause {QUEUE}", f"resume {QUEUE}"]


def test_a_pause_that_is_older_than_the_worker_holds_from_the_start(bench: Bench) -> None:
    handled = []

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        handled.append(event.item)

    worker = Worker(bench.bus, WorkerOptions())
    worker.set_paused(frozenset({QUEUE}))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(lambda: bench.consumer.on_deliveries is not None, 10, "a started consumer")
        assert bench.consumer.switches == [f"pause {QUEUE}"], "before it consumes"
    finally:
        worker.stop()
        thread.join(10)
    assert not handled


# -- breaker ---------------------------------------------------------------------------------------


class Down(Exception):
    """What the handler needs is away."""


def _breaking(bench: Bench, *, open_for: float = 0.05, retry: Retry | None = None) -> Counter[int]:
    """A handler that fails while `bench.down`, on a queue that opens after ten failures."""
    bench.make_bus(retry=retry or Retry(max_attempts=5))
    breaker = Breaker(
        failure_ratio=0.5,
        minimum=10,
        open_for=timedelta(seconds=open_for),
        longest=timedelta(seconds=open_for),
    )
    bench.bus.queue("added", breaker=breaker)
    runs: Counter[int] = Counter()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        runs[event.item] += 1
        if bench.down:  # type: ignore[attr-defined]
            raise Down

    bench.down = True  # type: ignore[attr-defined]
    return runs


def test_an_open_breaker_begins_nothing_and_holds_what_it_has(bench: Bench) -> None:
    runs = _breaking(bench, open_for=60)
    opened: list[BreakerOpened] = []
    bench.bus.on("breaker_opened")(opened.append)
    with bench.running(concurrency=1) as worker:
        bench.consumer.deliver([message(n) for n in range(10)])
        bench.consumer.wait_settled(10)
        wait_until(lambda: QUEUE in bench.consumer.paused, 10, "a paused consumer")
        bench.consumer.deliver([message(n) for n in range(10, 30)])
        wait_until(lambda: worker.report().waiting == 20, 10, "20 that wait")
        assert worker.report().queues[QUEUE].breaker == "open"
        assert len(bench.consumer.settlements) == 10
        assert [one.queue for one in opened] == [QUEUE]
        assert "10 of 10 runs failed" in opened[0].reason
    assert sum(runs.values()) == 10
    # What failed has gone its usual way, and the stop has given the rest back.
    [forward] = bench.consumer.settlements[0].forwards
    assert (forward.message.headers[ATTEMPTS_HEADER], forward.delay_ms is None) == (1, False)
    assert [one.requeue for one in bench.consumer.settlements] == [False] * 10 + [True] * 20


def test_what_is_claimed_and_not_begun_when_it_opens_waits_with_the_rest(bench: Bench) -> None:
    """Quick handlers are claimed far ahead; they are not to fail all of that."""
    bench.bus.queue("added", breaker=Breaker(minimum=10))
    go = threading.Event()
    runs: list[int] = []

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        runs.append(event.item)
        assert event.item < 20 or go.wait(10)
        raise Down

    with bench.running(concurrency=1) as worker:
        worker._mean_seconds = 1e-4
        bench.consumer.deliver([message(n) for n in range(100)])
        wait_until(lambda: worker.report().waiting == 79, 10, "all but the first 21 that wait")
        go.set()
        bench.consumer.wait_settled(21)
        assert bench.consumer.paused == {QUEUE}
        assert sum(len(call) for call in bench.store.claimed) > 21
        assert bench.store.model.records == {}, "failed or given back"
    assert runs == list(range(21))


def test_a_probe_that_succeeds_closes_it_and_what_was_held_runs(bench: Bench) -> None:
    runs = _breaking(bench)
    opened: list[BreakerOpened] = []
    closed: list[BreakerClosed] = []
    bench.bus.on("breaker_opened")(opened.append)
    bench.bus.on("breaker_closed")(closed.append)
    with bench.running(concurrency=4) as worker:
        bench.consumer.deliver([message(n) for n in range(10)])
        wait_until(lambda: QUEUE in bench.consumer.paused, 10, "a paused consumer")
        bench.consumer.deliver([message(n) for n in range(10, 40)])
        before = sum(runs.values())
        wait_until(lambda: sum(runs.values()) >= before + 3, 10, "three probes")
        assert len(bench.consumer.settlements) == sum(runs.values()), "one at a time"
        assert closed == []
        bench.down = False  # type: ignore[attr-defined]
        bench.consumer.wait_settled(40)
        wait_until(lambda: QUEUE not in bench.consumer.paused, 10, "a consumer that goes on")
        assert worker.report().queues[QUEUE].breaker == "closed"
    assert set(runs) == set(range(40))
    assert ([one.queue for one in opened], [one.queue for one in closed]) == ([QUEUE], [QUEUE])
    assert not any(one.requeue for one in bench.consumer.settlements)


def test_with_nothing_held_the_next_message_is_the_probe(bench: Bench) -> None:
    runs = _breaking(bench)
    with bench.running(concurrency=4):
        bench.consumer.deliver([message(n) for n in range(10)])
        wait_until(
            lambda: bench.consumer.switches == [f"pause {QUEUE}", f"resume {QUEUE}"],
            10,
            lambda: f"a pause, then messages are wanted for a probe: {bench.consumer.switches}",
        )
        bench.consumer.deliver([message(n) for n in range(10, 20)])
        wait_until(lambda: sum(runs.values()) >= 12, 10, "probes")
        assert QUEUE in bench.consumer.paused
        bench.down = False  # type: ignore[attr-defined]
        bench.consumer.wait_settled(20)


@pytest.mark.parametrize("error", ["Reject", "give_up_on", "invalid"])
def test_what_is_the_events_own_fault_opens_nothing(bench: Bench, error: str) -> None:
    bench.make_bus(retry=Retry(max_attempts=5, give_up_on=(KeyError,)))
    bench.bus.queue("added", breaker=Breaker(minimum=4))

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        raise Reject("no such item") if error == "Reject" else KeyError("no")

    items = ["not a number" if error == "invalid" else n for n in range(50)]
    with bench.running() as worker:
        bench.consumer.deliver([message(item, event_id=str(n)) for n, item in enumerate(items)])
        bench.consumer.wait_settled(50)
        assert worker.report().queues[QUEUE].breaker == "closed"
    assert bench.consumer.switches == []


def test_a_failed_last_attempt_counts_like_those_before(bench: Bench) -> None:
    _breaking(bench, open_for=60, retry=Retry(max_attempts=1))
    with bench.running(concurrency=1):
        bench.consumer.deliver([message(n) for n in range(10)])
        wait_until(lambda: QUEUE in bench.consumer.paused, 10, "a paused consumer")


def test_what_is_held_too_long_goes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Well before RabbitMQ's consumer time-out ends the channel."""
    monkeypatch.setattr(intake, "HOLD_SECONDS", 0.1)
    begun, go = threading.Event(), threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        begun.set()
        assert go.wait(10)

    with bench.running(concurrency=1):
        bench.consumer.deliver([message(n) for n in range(5)])
        assert begun.wait(10)
        assert all(one.requeue for one in bench.consumer.wait_settled(4))
        go.set()
        wait_until(
            lambda: bench.consumer.switches == [f"pause {QUEUE}", f"resume {QUEUE}"],
            10,
            lambda: f"no messages while there is no room: {bench.consumer.switches}",
        )


# -- limits ----------------------------------------------------------------------------------------


def test_a_limited_handler_waits_without_holding_up_the_other(bench: Bench) -> None:
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    go = threading.Event()
    lock = threading.Lock()

    @bench.bus.handler("item.added", queue="added", max_concurrency=2)
    def slow(event: ItemAdded) -> None:
        with lock:
            running["slow"] += 1
            most["slow"] = max(most["slow"], running["slow"])
        assert go.wait(10)
        with lock:
            running["slow"] -= 1

    @bench.bus.handler("item.added", queue="added")
    def quick(event: ItemAdded) -> None:
        running["quick"] += 1

    with bench.running(concurrency=4):
        bench.consumer.deliver([message(n) for n in range(20)])
        wait_until(lambda: running["quick"] == 20, 10, "the quick handler on all")
        claimed = [event_id for call in bench.store.claimed for event_id in call]
        assert len(claimed) == 22, "what waits is not claimed"
        go.set()
        bench.consumer.wait_settled(20)
    assert most["slow"] == 2


def test_a_rate_is_kept(bench: Bench) -> None:
    times: list[float] = []

    @bench.bus.handler("item.added", queue="added", rate_limit="50/s")
    def add(event: ItemAdded) -> None:
        times.append(time.monotonic())

    with bench.running(concurrency=4):
        bench.consumer.deliver([message(n) for n in range(40)])
        bench.consumer.wait_settled(40)
    # Five may begin at once, the others each 20 ms; a loaded machine is slower, never quicker.
    assert times[-1] - times[0] >= 0.65


# -- suspects --------------------------------------------------------------------------------------


def test_a_suspect_runs_with_nothing_beside_it(bench: Bench) -> None:
    running: set[int] = set()
    beside: dict[int, set[int]] = {}
    lock = threading.Lock()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        with lock:
            running.add(event.item)
            for item in running:
                beside.setdefault(item, set()).update(running)
        time.sleep(0.01)
        with lock:
            running.discard(event.item)

    for item in (3, 7):
        _lose_starts(bench, item, 1)
    with bench.running(concurrency=4):
        bench.consumer.deliver([message(n) for n in range(40)], redelivered=True)
        bench.consumer.wait_settled(40)
    assert (beside[3], beside[7]) == ({3}, {7})
    assert any(len(others) > 1 for others in beside.values())
    assert bench.store.model.records
    assert all(one.starts == 0 for one in bench.store.model.records.values())


def test_of_redelivered_messages_no_more_is_claimed_than_runs(bench: Bench) -> None:
    begun = threading.Semaphore(0)
    go = threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        begun.release()
        assert go.wait(10)

    with bench.running(concurrency=4):
        bench.consumer.deliver([message(n) for n in range(40)], redelivered=True)
        for _ in range(4):
            assert begun.acquire(timeout=10)
        assert sum(len(call) for call in bench.store.claimed) == 4
        go.set()
        bench.consumer.wait_settled(40)


def test_a_stop_neither_forgives_a_culprit_nor_costs_an_innocent(bench: Bench) -> None:
    begun, go = threading.Event(), threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        begun.set()
        assert go.wait(10)

    _lose_starts(bench, 5, 2)
    with bench.running(concurrency=1) as worker:
        bench.consumer.deliver([message(n) for n in range(10)])
        assert begun.wait(10)
        worker.stop()
        go.set()
    starts = [one.starts for one in bench.store.model.records.values() if one.starts]
    assert starts == [2]


def test_a_run_that_a_stop_gives_up_does_not_count_as_a_lost_start(bench: Bench) -> None:
    begun, go = threading.Event(), threading.Event()

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        begun.set()
        go.wait(30)

    try:
        with bench.running(concurrency=1, shutdown_timeout=timedelta(seconds=0.1)):
            bench.consumer.deliver([message(1)])
            assert begun.wait(10)
        [record] = bench.store.model.records.values()
        assert (record.starts, record.lease_until_ms > bench.store.model.now) == (0, True)
    finally:
        go.set()


def test_max_starts_is_a_setting(bench: Bench) -> None:
    bench.make_bus(max_starts="1")

    @bench.bus.handler("item.added", queue="added")
    def add(event: ItemAdded) -> None:
        raise AssertionError("it was to be parked")

    _lose_starts(bench, 1, 1)
    with bench.running():
        bench.consumer.deliver([message(1)])
        [settlement] = bench.consumer.wait_settled(1)
    [forward] = settlement.forwards
    assert "was started 1 times" in forward.message.headers[REASON_HEADER]
    with pytest.raises(EventBusError, match="max_starts='0'"):
        bench.make_bus(max_starts=0)
