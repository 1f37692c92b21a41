"""The dispatcher and a queue that refuses: what is held back, what flows on, what comes twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
import sqlalchemy as sa

from eventbus import Event, tables
from eventbus.brokers.port import Confirmation
from eventbus.message import Message
from eventbus.outbox import transitions
from eventbus.workers import dispatcher as dispatcher_module
from eventbus.workers import holds
from eventbus.workers.holds import SHARE
from tests.waiting import wait_until

from .test_dispatcher import Outbox, Wire, item_of

_ROUTED, _REFUSED = Confirmation.ROUTED, Confirmation.REFUSED


class ItemRemoved(Event, name="item.removed"):
    """Goes to healthy queues only."""

    item: int


class Queues(Wire):
    """``item.added`` goes to a queue of `bound` messages and to a healthy one."""

    def __init__(self, bound: int) -> None:
        super().__init__()
        self.eager = True
        self.bound = bound
        self.full = False
        self.waiting = 0
        self.sent: Counter[int] = Counter()
        self.refused = 0
        self.order: list[int] = []

    def publish(self, messages: Sequence[Message]) -> Future[list[Confirmation]]:
        answers = [self._take(one) for one in messages]
        future: Future[list[Confirmation]] = Future()
        self.batches.append([item_of(one) for one in messages])
        future.set_result(answers)
        return future

    def _take(self, message: Message) -> Confirmation:
        item = item_of(message)
        self.sent[item] += 1
        if message.routing_key != "item.added":
            self.order.append(item)
            return _ROUTED
        # As RabbitMQ's quorum queues: full until four fifths are left.
        self.full = self.waiting >= (self.bound * 4 // 5 if self.full else self.bound)
        if self.full:
            self.refused += 1
            return _REFUSED
        self.waiting += 1
        self.order.append(item)
        return _ROUTED

    def work(self, count: int) -> None:
        """A worker takes so many."""
        self.waiting = max(self.waiting - count, 0)


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    """An outbox whose dispatcher tries soon, on a queue of 10."""
    monkeypatch.setattr(holds, "FIRST_TRY_SECONDS", 0.02)
    monkeypatch.setattr(holds, "LONGEST_TRY_SECONDS", 0.1)
    outbox = Outbox(tmp_path)
    outbox.wire = Queues(10)
    outbox.make_bus()
    yield outbox
    outbox.bus.engine.dispose()


def _queues(outbox: Outbox) -> Queues:
    assert isinstance(outbox.wire, Queues)
    return outbox.wire


def _remove(outbox: Outbox, *items: int, key: object = None) -> None:
    with outbox.bus.engine.begin() as connection:
        for item in items:
            outbox.bus.publish(ItemRemoved(item=item), session=connection, key=key)


def test_a_refused_event_waits_and_the_others_flow(outbox: Outbox) -> None:
    queues = _queues(outbox)
    outbox.publish(*range(100))
    _remove(outbox, *range(1_000, 1_100))
    outbox.run_once(batch_size=20)
    assert queues.order == [*range(10), *range(1_000, 1_100)]
    assert set(outbox.rows("held")) == set(range(10, 100))
    assert outbox.rows("pending") == {}
    stats = dispatcher_module.OutboxStore(outbox.bus.engine).stats()
    assert (stats.pending, stats.held, stats.logged) == (90, 90, 110)


def test_an_event_behind_a_held_one_of_its_key_waits_whatever_its_name(outbox: Outbox) -> None:
    queues = _queues(outbox)
    queues.waiting = 10
    outbox.publish(1, key="a")
    _remove(outbox, 2, key="a")
    _remove(outbox, 3, key="b")
    outbox.publish(4, key="b")
    _remove(outbox, 5, key="b")
    for _ in range(3):
        outbox.run_once()
    assert queues.order == [3]
    assert set(outbox.rows("held")) == {1, 4}
    assert set(outbox.rows("pending")) == {2, 5}
    queues.waiting = 0
    outbox.run_once()
    assert [item for item in queues.order if item in (1, 2)] == [1, 2]
    assert [item for item in queues.order if item in (3, 4, 5)] == [3, 4, 5]


@pytest.mark.parametrize("batch_size", [1, 2, 500])
def test_new_rows_of_a_held_event_are_not_overtaken_by_others_of_their_key(
    outbox: Outbox, batch_size: int
) -> None:
    queues = _queues(outbox)
    queues.waiting = 10
    outbox.publish(1)
    outbox.run_once()
    outbox.publish(2, key="a")
    _remove(outbox, 3, key="a")
    _remove(outbox, 4, key="b")
    outbox.publish(5, key="b")
    _remove(outbox, 6, key="b")
    for _ in range(3):
        outbox.run_once(batch_size=batch_size)
    assert queues.order == [4]
    assert set(outbox.rows("held")) == {1, 2, 5}
    queues.waiting = 0
    outbox.run_once(batch_size=batch_size)
    assert queues.order.index(2) < queues.order.index(3)
    assert queues.order.index(5) < queues.order.index(6)


def test_a_full_queue_costs_no_row_an_attempt_however_long_it_is_full(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "MAX_ATTEMPTS", 3)
    queues = _queues(outbox)
    queues.waiting = 10
    outbox.publish(*range(5), key="k")
    for _ in range(10):
        outbox.run_once()
    assert queues.sent[0] == 10
    assert outbox.rows("failed") == {}
    queues.waiting = 0
    outbox.run_once()
    assert queues.order == [0, 1, 2, 3, 4]


def test_it_resumes_by_itself_and_tells_what_it_holds(outbox: Outbox) -> None:
    queues = _queues(outbox)
    with outbox.running() as dispatcher:
        queues.eager = True
        outbox.publish(*range(50))
        wait_until(lambda: dispatcher.report().held == ["item.added"], 10, "a held event")
        for _ in range(40):
            before = len(queues.order)
            queues.work(10)
            wait_until(lambda before=before: len(queues.order) > before, 10, "it goes on")
            if len(queues.order) == 50:
                break
        wait_until(lambda: dispatcher.report().held == [], 10, "nothing is held")
    assert sorted(queues.order) == list(range(50))
    assert outbox.rows("held") == {}


def test_a_dispatcher_that_starts_tries_one_and_not_a_whole_batch(outbox: Outbox) -> None:
    queues = _queues(outbox)
    queues.waiting = 10
    outbox.publish(*range(100))
    outbox.run_once()
    queues.refused = 0
    outbox.publish(*range(100, 200))
    outbox.run_once()
    assert queues.refused == 1
    assert set(outbox.rows("held")) == set(range(200))


def test_held_rows_do_not_keep_others_from_being_read(outbox: Outbox) -> None:
    queues = _queues(outbox)
    queues.waiting = 10
    outbox.publish(*range(3_000))
    _remove(outbox, 5_000)
    outbox.run_once(batch_size=100)
    assert queues.order == [5_000]
    assert len(outbox.rows("held")) == 3_000


def test_what_cannot_be_read_among_held_rows_is_parked_as_failed(outbox: Outbox) -> None:
    queues = _queues(outbox)
    queues.waiting = 10
    outbox.publish(1, 2)
    outbox.run_once()
    outbox.execute(sa.update(tables.outbox).where(tables.outbox.c.seq == 1).values(attributes="["))
    queues.waiting = 0
    outbox.run_once()
    assert set(outbox.rows("failed")) == {1}
    assert queues.order == [2]


def test_a_held_message_that_breaks_the_connection_is_found(outbox: Outbox) -> None:
    class Breaking(Queues):
        poisoned = False

        def _take(self, message: Message) -> Confirmation:
            if self.poisoned and item_of(message) == 3:
                return Confirmation.UNKNOWN
            return super()._take(message)

        def publish(self, messages: Sequence[Message]) -> Future[list[Confirmation]]:
            if self.poisoned and any(item_of(one) == 3 for one in messages):
                future: Future[list[Confirmation]] = Future()
                future.set_result([Confirmation.UNKNOWN] * len(messages))
                return future
            return super().publish(messages)

    queues = outbox.wire = Breaking(10)
    outbox.make_bus()
    queues.waiting = 10
    outbox.publish(*range(8))
    outbox.run_once()
    queues.waiting, queues.poisoned = 0, True
    with outbox.running():
        wait_until(lambda: set(outbox.rows("held")) == set(), 20, "no row is held")
        wait_until(lambda: set(outbox.rows()) == {3}, 20, lambda: str(outbox.rows()))
    assert outbox.rows()[3]["attempts"] >= 1
    assert sorted(set(queues.order)) == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize(("bound", "count"), [(50, 500), (1_000, 5_000)])
def test_refusals_stay_below_the_tries_and_a_share_of_what_was_taken(
    outbox: Outbox, bound: int, count: int
) -> None:
    """Each refused publish is a duplicate in the healthy queue."""
    queues = outbox.wire = Queues(bound)
    outbox.make_bus()
    outbox.publish(*range(count))
    outbox.run_once()
    burst = queues.refused
    assert burst <= 3 * 500 + 5, "no more than was under way, and a few tries"
    with outbox.running():
        while queues.refused < burst + count and len(queues.order) < count:
            before = len(queues.order)
            queues.work(bound)
            wait_until(lambda before=before: len(queues.order) > before, 20, "it goes on")
            wait_until(lambda: queues.full or len(queues.order) == count, 20, "a full queue")
    times_full = count // (bound // 5)
    assert len(queues.order) == count
    assert queues.refused - burst <= 2 * times_full + 2 * count // SHARE
    assert sorted(queues.order) == list(range(count))


def test_a_queue_that_this_application_declares_to_block_meets_few_from_the_start(
    outbox: Outbox,
) -> None:
    queues = outbox.wire = Queues(100)
    bus = outbox.make_bus()
    bus.queue("added", max_length=100, overflow="block")
    bus.handler("item.added", queue="added")(lambda event: None)
    outbox.publish(*range(1_000))
    outbox.run_once()
    assert queues.refused <= 100 // SHARE + 3
    assert len(outbox.rows("held")) == 900
