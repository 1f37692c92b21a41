"""What is begun next, as a table of situations: no worker, no broker, no clock."""

from __future__ import annotations

import itertools
import math

import pytest

from eventbus import Event, EventBus
from eventbus.brokers.port import Delivery
from eventbus.envelope import Envelope
from eventbus.message import Message
from eventbus.outcome import RetryAfter
from eventbus.workers.admission.scheduling import (
    HOLD_SECONDS,
    PATIENCE_SECONDS,
    SUSPECTS_HOLD_LONGER_SECONDS,
    Room,
    Scheduler,
    prefetch_of,
)
from eventbus.workers.idempotency.port import Key
from eventbus.workers.work import Job, Work

A, B = "shop.a", "shop.b"

_numbers = itertools.count(1)


class Noted(Event, name="scheduling.noted"):
    """An event."""


def _bus() -> EventBus:
    """Queue ``a`` with a limited and a free handler, queue ``b`` with a coroutine."""
    bus = EventBus("shop")

    @bus.handler("scheduling.noted", queue="a")
    def free(event: Noted) -> None: ...

    @bus.handler("scheduling.noted", queue="a", max_concurrency=2)
    def two(event: Noted) -> None: ...

    @bus.handler("scheduling.noted", queue="a", rate_limit="10/s")
    def rated(event: Noted) -> None: ...

    @bus.handler("scheduling.noted", queue="b")
    async def awaited(event: Noted) -> None: ...

    return bus


BUS = _bus()


def _scheduler(*, places: int = 4, ahead: int = 1, prefetch: int = 64) -> Scheduler:
    subscriptions = {one.queue: one for one in BUS.subscriptions.values()}
    return Scheduler(subscriptions, Room(places, ahead), Room(8), prefetch, 0.0)


def _delivery(queue: str = A, *, redelivered: bool = False) -> Delivery:
    message = Message(b"{}", "scheduling.noted")
    return Delivery(queue, next(_numbers), message, redelivered)


def _job(handler: str = "free", *, redelivered: bool = False) -> Job:
    queue = B if handler == "awaited" else A
    delivery = _delivery(queue, redelivered=redelivered)
    envelope = Envelope(f"id-{delivery.tag}", "shop", "scheduling.noted")
    key = Key(handler, envelope.id, "f")
    return Job(Work(delivery), BUS.handlers[handler], Noted(), envelope, key, 1)


def _jobs(count: int, handler: str = "free", *, redelivered: bool = False) -> list[Job]:
    return [_job(handler, redelivered=redelivered) for _ in range(count)]


# -- deliveries ------------------------------------------------------------------------------------


def test_as_many_messages_are_looked_at_as_there_is_room_for() -> None:
    scheduler = _scheduler(places=4, ahead=2)
    scheduler.add([_delivery() for _ in range(20)], 0.0)
    assert len(scheduler.next_deliveries(0.0)) == 8
    assert scheduler.waiting == 12


def test_messages_keep_their_order() -> None:
    scheduler = _scheduler(places=3)
    deliveries = [_delivery() for _ in range(8)]
    scheduler.add(deliveries[:2], 0.0)
    scheduler.add(deliveries[2:], 0.0)
    taken = [one for _ in range(3) for one in scheduler.next_deliveries(0.0)]
    assert taken == deliveries


def test_queues_take_turns() -> None:
    bus = EventBus("shop")
    for queue in ("a", "b"):
        bus.handler("scheduling.noted", queue=queue, name=queue)(lambda event: None)
    subscriptions = {one.queue: one for one in bus.subscriptions.values()}
    scheduler = Scheduler(subscriptions, Room(1), Room(1), 64, 0.0)
    scheduler.add([*(_delivery(A) for _ in range(50)), _delivery(B), _delivery(B)], 0.0)
    order = [one.queue for _ in range(5) for one in scheduler.next_deliveries(0.0)]
    assert order == [A, B, A, B, A]


def test_a_queue_whose_handlers_have_no_room_does_not_hold_up_another() -> None:
    scheduler = _scheduler(places=1)
    assert len(scheduler.admit(_jobs(1), 0.0)) == 1
    scheduler.add([_delivery(A), _delivery(B)], 0.0)
    # Both of the handlers of A need the thread that is taken; that of B is a coroutine.
    assert [one.queue for one in scheduler.next_deliveries(0.0)] == [B]


def test_nothing_of_a_closed_queue_is_begun() -> None:
    scheduler = _scheduler()
    scheduler.closed.add(A)
    scheduler.add([_delivery(A), _delivery(B)], 0.0)
    assert [one.queue for one in scheduler.next_deliveries(0.0)] == [B]
    scheduler.closed.clear()
    assert [one.queue for one in scheduler.next_deliveries(0.0)] == [A]


# -- gates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "now", "admitted"),
    [("free", 0.0, 4), ("two", 0.0, 2), ("rated", 0.0, 1), ("awaited", 0.0, 8)],
)
def test_so_many_of_ten_jobs_are_claimed_at_once(handler: str, now: float, admitted: int) -> None:
    scheduler = _scheduler(places=4)
    jobs = _jobs(10, handler)
    assert scheduler.admit(jobs, now) == jobs[:admitted]
    assert scheduler.waiting == 10 - admitted
    assert scheduler.next_jobs(now) == []


def test_a_limited_handler_does_not_hold_up_the_others() -> None:
    scheduler = _scheduler(places=4)
    jobs = [*_jobs(5, "two"), *_jobs(1)]
    assert scheduler.admit(jobs, 0.0) == [*jobs[:2], jobs[5]]


def test_who_waits_at_a_gate_goes_first_when_there_is_room() -> None:
    scheduler = _scheduler(places=4)
    jobs = _jobs(4, "two")
    running = scheduler.admit(jobs, 0.0)
    later = _job("two")
    scheduler.leave(running[0])
    assert scheduler.admit([later], 0.0) == []
    assert scheduler.next_jobs(0.0) == [jobs[2]]
    scheduler.leave(running[1])
    scheduler.leave(jobs[2])
    assert scheduler.next_jobs(0.0) == [jobs[3], later]


def test_a_rate_lets_jobs_through_in_time() -> None:
    scheduler = _scheduler()
    jobs = _jobs(4, "rated")
    assert scheduler.admit(jobs, 0.0) == jobs[:1]
    assert scheduler.wait_seconds(0.0) == pytest.approx(0.1)
    assert scheduler.next_jobs(0.05) == []
    assert scheduler.next_jobs(0.1) == [jobs[1]]
    assert scheduler.next_jobs(5.0) == [jobs[2]], "what was not used is not saved up"


def test_a_refused_claim_costs_nothing_of_the_rate() -> None:
    scheduler = _scheduler()
    first, second = _jobs(2, "rated")
    assert scheduler.admit([first], 0.0) == [first]
    scheduler.leave(first, begun=False)
    assert scheduler.admit([second], 0.0) == [second]


def test_what_takes_up_the_prefetch_of_other_handlers_is_put_off() -> None:
    scheduler = _scheduler(prefetch=60)
    jobs = _jobs(20, "two")
    assert scheduler.admit(jobs, 0.0) == jobs[:2]
    put_off = [job for job in jobs if job.outcome is not None]
    assert put_off == jobs[12:], "a third of half of the prefetch waits"
    for job in put_off:
        assert isinstance(job.outcome, RetryAfter)
        assert not job.outcome.counted
    assert scheduler.waiting == 10


def test_the_only_handler_of_a_queue_keeps_what_it_has() -> None:
    scheduler = _scheduler(prefetch=10)
    assert len(scheduler.admit(_jobs(100, "awaited"), 0.0)) == 8
    assert scheduler.waiting == 92


def test_of_what_was_delivered_before_no_more_is_claimed_than_can_begin() -> None:
    """The culprit of a crash is among what was begun; the claims are to tell which that is."""
    scheduler = _scheduler(places=4, ahead=100)
    assert len(scheduler.admit(_jobs(10, redelivered=True), 0.0)) == 4
    scheduler = _scheduler(places=4, ahead=100)
    fresh = scheduler.admit(_jobs(6), 0.0)
    assert scheduler.admit(_jobs(1, redelivered=True), 0.0) == []
    for job in fresh[:3]:
        scheduler.leave(job)
    assert len(scheduler.next_jobs(0.0)) == 1


def test_nothing_is_looked_up_before_something_can_have_changed() -> None:
    scheduler = _scheduler(places=1)
    assert scheduler.wait_seconds(0.0) == math.inf
    scheduler.admit(_jobs(3), 0.0)
    assert scheduler.wait_seconds(0.0) == math.inf, "only the end of a run makes room"
    scheduler = _scheduler(places=1)
    scheduler.admit([*_jobs(1), *_jobs(2, "rated")], 0.0)
    assert scheduler.wait_seconds(9.0) == math.inf, "its token is there, and it waits for room"


# -- suspects --------------------------------------------------------------------------------------


def _with_suspects(*lost_starts: int, now: float = 0.0) -> tuple[Scheduler, list[Job]]:
    scheduler = _scheduler()
    suspects = _jobs(len(lost_starts), redelivered=True)
    for job, lost in zip(suspects, lost_starts, strict=True):
        assert scheduler.admit([job], now) == [job]
        job.lost_starts = lost
        scheduler.suspect(job, now)
    return scheduler, suspects


def test_a_suspect_runs_at_once_where_nothing_else_is_to_be_done() -> None:
    scheduler, [suspect] = _with_suspects(1)
    assert scheduler.next_suspect(0.0) is suspect
    assert scheduler.waiting == 0


def test_while_a_suspect_runs_nothing_else_is_begun() -> None:
    scheduler, suspects = _with_suspects(1, 1)
    running = scheduler.next_suspect(0.0)
    assert running in suspects
    scheduler.add([_delivery(A), _delivery(B)], 0.0)
    assert scheduler.next_deliveries(0.0) == []
    assert scheduler.next_suspect(0.0) is None
    scheduler.leave(running)
    assert scheduler.next_deliveries(0.0) != []


def test_a_suspect_waits_for_what_runs() -> None:
    scheduler, [suspect] = _with_suspects(1)
    [other] = scheduler.admit(_jobs(1), 0.0)
    assert scheduler.next_suspect(1000.0) is None
    scheduler.leave(other)
    assert scheduler.next_suspect(1000.0) is suspect


def test_others_go_first_but_a_suspect_does_not_wait_for_ever() -> None:
    scheduler, [suspect] = _with_suspects(1)
    scheduler.add([_delivery() for _ in range(100)], 0.0)
    assert scheduler.next_suspect(0.0) is None
    assert scheduler.wait_seconds(1.0) == PATIENCE_SECONDS - 1.0
    assert len(scheduler.next_deliveries(PATIENCE_SECONDS - 0.1)) == 4
    assert scheduler.next_deliveries(PATIENCE_SECONDS) == [], "held back, so that it can be alone"
    assert scheduler.next_suspect(PATIENCE_SECONDS) is suspect


def test_of_several_suspects_the_one_goes_first_that_has_lost_the_fewest_starts() -> None:
    scheduler, suspects = _with_suspects(2, 1, 3)
    order = []
    while (suspect := scheduler.next_suspect(0.0)) is not None:
        order.append(suspect)
        scheduler.leave(suspect)
    assert order == [suspects[1], suspects[0], suspects[2]]


def test_a_suspect_of_a_closed_queue_waits_and_holds_nobody_back() -> None:
    scheduler, [suspect] = _with_suspects(1)
    scheduler.closed.add(A)
    scheduler.add([_delivery(B)], 0.0)
    assert scheduler.next_suspect(1000.0) is None
    assert len(scheduler.next_deliveries(1000.0)) == 1
    assert scheduler.probe(A) is suspect
    assert scheduler.next_suspect(1000.0) is suspect


# -- probes and what goes back ---------------------------------------------------------------------


def test_a_probe_is_the_first_that_waits_at_a_gate() -> None:
    scheduler = _scheduler(places=1)
    running, waiting, _ = jobs = _jobs(3)
    scheduler.admit(jobs, 0.0)
    scheduler.closed.add(A)
    scheduler.leave(running)
    assert scheduler.next_jobs(0.0) == []
    assert scheduler.probe(A) is waiting
    assert scheduler.next_jobs(0.0) == [waiting]
    scheduler.leave(waiting)
    assert scheduler.next_jobs(0.0) == []


def test_else_a_message_is_the_probe() -> None:
    scheduler = _scheduler()
    scheduler.closed.add(A)
    deliveries = [_delivery(), _delivery()]
    scheduler.add(deliveries, 0.0)
    assert scheduler.probe(A) is deliveries[0]
    assert scheduler.waiting == 1
    assert scheduler.probe(B) is None


def test_all_that_waits_of_a_queue_can_be_taken_back() -> None:
    scheduler, [suspect] = _with_suspects(1)
    jobs = _jobs(5, "two")
    scheduler.admit(jobs, 0.0)
    deliveries = [_delivery(), _delivery()]
    scheduler.add([*deliveries, _delivery(B)], 0.0)
    assert scheduler.holds(A)
    assert scheduler.take_back(A) == (deliveries, [*jobs[2:], suspect])
    assert not scheduler.holds(A)
    assert scheduler.holds(B)
    assert scheduler.waiting == 1


def test_only_what_has_waited_too_long_is_taken_back() -> None:
    scheduler = _scheduler()
    old, new = _delivery(), _delivery()
    scheduler.add([old], 0.0)
    scheduler.add([new], 100.0)
    jobs = _jobs(4, "two")
    scheduler.admit(jobs[:3], 0.0)
    scheduler.admit(jobs[3:], 100.0)
    late = scheduler.take_back(A, HOLD_SECONDS + 1 - HOLD_SECONDS)
    assert late == ([old], [jobs[2]])
    assert scheduler.waiting == 2


def test_a_suspect_waits_longer_than_others_for_what_runs() -> None:
    scheduler, [suspect] = _with_suspects(1)
    assert scheduler.take_back(A, 1.0) == ([], [])
    assert scheduler.take_back(A, SUSPECTS_HOLD_LONGER_SECONDS + 1.0) == ([], [suspect])


@pytest.mark.parametrize(
    ("rates", "prefetch"), [(["10/s"], 64), (["30/m"], 30), (["1/h"], 1), (["30/m", None], 64)]
)
def test_a_queue_that_is_slowed_down_by_its_rates_has_little_at_hand(
    rates: list[str | None], prefetch: int
) -> None:
    bus = EventBus("shop")
    for number, rate in enumerate(rates):
        name = f"h{number}"
        bus.handler("scheduling.noted", queue="q", name=name, rate_limit=rate)(lambda event: None)
    assert prefetch_of(bus.subscription("q"), 64) == prefetch
