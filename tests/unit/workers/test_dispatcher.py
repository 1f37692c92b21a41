"""The dispatcher on a real outbox in SQLite and a publisher whose answers the test decides."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from eventbus import EventBus, database, tables
from eventbus.brokers.port import Confirmation
from eventbus.errors import DatabaseUnavailable, IdempotencyStoreUnavailable
from eventbus.message import Message
from eventbus.outbox import transitions
from eventbus.workers import dispatcher as dispatcher_module
from eventbus.workers import housekeeping
from eventbus.workers.dispatcher import Dispatcher
from tests.waiting import wait_until

from .doubles import FakeBroker, ItemAdded

_ROUTED, _UNROUTED = Confirmation.ROUTED, Confirmation.UNROUTED
_REFUSED, _UNKNOWN = Confirmation.REFUSED, Confirmation.UNKNOWN
_UNSENDABLE = Confirmation.UNSENDABLE


def item_of(message: Message) -> int:
    number: int = json.loads(message.body)["item"]
    return number


class _Unanswered(Future[list[Confirmation]]):
    """Is answered when somebody waits for it."""

    def __init__(self, answer: Callable[[], None]) -> None:
        super().__init__()
        self._answer = answer

    def result(self, timeout: float | None = None) -> list[Confirmation]:
        self._answer()
        return super().result(timeout)


class Wire:
    """A publisher with a connection: a poisonous message breaks it for all that is under way."""

    trouble: str | None = None

    def __init__(self) -> None:
        self.answer: Callable[[int], Confirmation] = lambda item: _ROUTED
        self.poison: set[int] = set()
        self.breaks = 0
        self.batches: list[list[int]] = []
        self.taken: list[int] = []
        self.ready = True
        self.closed = False
        #: Answer at once; else when somebody waits for it.
        self.eager = False
        self._under_way: list[tuple[list[int], Future[list[Confirmation]]]] = []

    def publish(self, messages: Sequence[Message]) -> Future[list[Confirmation]]:
        assert not self.closed
        items = [item_of(one) for one in messages]
        future = _Unanswered(self._answer)
        self.batches.append(items)
        self._under_way.append((items, future))
        if self.eager:
            self._answer()
        return future

    def _answer(self) -> None:
        under_way, self._under_way = self._under_way, []
        broken = any(self.poison & set(items) for items, _ in under_way)
        self.breaks += broken
        for items, future in under_way:
            answers = [_UNKNOWN if broken else self.answer(item) for item in items]
            self.taken += [i for i, a in zip(items, answers, strict=True) if a is _ROUTED]
            future.set_result(answers)

    def wait_ready(self, timeout: float) -> bool:
        return self.ready

    def close(self) -> None:
        self.closed = True
        self._answer()


class Outbox:
    """An outbox, the wire, and a dispatcher whose cycles the test runs one by one."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'outbox.db'}"
        self.wire = Wire()
        self.bus = self.make_bus()
        database.upgrade(self.bus.engine)

    def make_bus(self, **settings: Any) -> EventBus:
        self.bus = EventBus("shop", database_url=self.url, **settings)
        broker = FakeBroker()
        broker.the_publisher = self.wire  # type: ignore[assignment]
        self.bus.__dict__["broker"] = broker
        return self.bus

    def publish(self, *items: int, key: object = None, **options: Any) -> None:
        with self.bus.engine.begin() as connection:
            for item in items:
                self.bus.publish(ItemAdded(item=item), session=connection, key=key, **options)

    def execute(self, statement: Any) -> None:
        with self.bus.engine.begin() as connection:
            connection.execute(statement)

    def rows(self, state: str = "pending") -> dict[int, dict[str, Any]]:
        """Item to row."""
        found = dispatcher_module.OutboxStore(self.bus.engine).rows(state=state, limit=10_000)
        return {json.loads(row["body"])["item"]: row for row in found}

    def let_holds_pass(self) -> None:
        self.execute(sa.update(tables.outbox).values(available_at_ms=0))

    def run_once(self, **options: Any) -> int:
        self.wire.closed = False
        return Dispatcher(self.bus, **options).run_once()

    @contextmanager
    def running(self, **options: Any) -> Iterator[Dispatcher]:
        dispatcher = Dispatcher(self.bus, **options)
        self.wire.eager = True
        raised: list[BaseException] = []

        def run() -> None:
            try:
                dispatcher.run()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield dispatcher
        finally:
            dispatcher.stop()
            thread.join(20)
        assert not thread.is_alive()
        assert not raised, raised


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox and its dispatcher."""
    outbox = Outbox(tmp_path)
    yield outbox
    outbox.bus.engine.dispose()


def test_what_is_confirmed_is_logged_and_what_no_queue_wants_is_logged_as_unrouted(
    outbox: Outbox,
) -> None:
    outbox.wire.answer = lambda item: _UNROUTED if item == 2 else _ROUTED
    outbox.publish(1, 2, 3)
    assert outbox.run_once() == 3
    stats = dispatcher_module.OutboxStore(outbox.bus.engine).stats()
    assert (stats.pending, stats.logged, stats.unrouted) == (0, 3, 1)


def test_with_unroutable_fail_it_stays_as_failed_and_its_key_flows_on(outbox: Outbox) -> None:
    outbox.make_bus(unroutable="fail")
    outbox.wire.answer = lambda item: _UNROUTED if item == 1 else _ROUTED
    outbox.publish(1, 2, key="k")
    outbox.run_once()
    assert "unroutable=fail" in outbox.rows("failed")[1]["last_error"]
    assert outbox.wire.taken == [2]


@pytest.mark.parametrize("batch_size", [1, 2, 500])
def test_an_unsendable_row_holds_its_key_back_and_nothing_else(
    outbox: Outbox, batch_size: int
) -> None:
    refuse = True
    outbox.wire.answer = lambda item: _UNSENDABLE if item == 1 and refuse else _ROUTED
    outbox.publish(1, 2, 3, 4, 5, key="a")
    outbox.publish(6, 7, key="b")
    outbox.publish(8)
    outbox.run_once(batch_size=batch_size)
    assert sorted(outbox.wire.taken) == [6, 7, 8]
    assert {item: row["attempts"] for item, row in outbox.rows().items()} == {
        1: 1,
        **dict.fromkeys((2, 3, 4, 5), 0),
    }
    refuse = False
    outbox.let_holds_pass()
    outbox.run_once(batch_size=batch_size)
    assert outbox.wire.taken[-5:] == [1, 2, 3, 4, 5]


def test_unsendable_for_good_it_is_parked_and_its_key_flows_on(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "MAX_ATTEMPTS", 3)
    outbox.wire.answer = lambda item: _UNSENDABLE if item == 1 else _ROUTED
    outbox.publish(1, 2, key="a")
    for _ in range(3):
        outbox.let_holds_pass()
        outbox.run_once()
    assert outbox.rows("failed")[1]["attempts"] == 3
    assert "3 attempts" in outbox.rows("failed")[1]["last_error"]
    assert outbox.wire.taken == [2]


@pytest.mark.parametrize("position", [0, 57, 299])
def test_a_message_that_breaks_the_connection_is_found_and_held_alone(
    outbox: Outbox, position: int
) -> None:
    outbox.publish(*range(300))
    outbox.wire.poison = {position}
    outbox.run_once(batch_size=50)
    held = {item: row["attempts"] for item, row in outbox.rows().items()}
    assert held == {position: 1}
    assert sorted(set(outbox.wire.taken)) == [n for n in range(300) if n != position]
    assert outbox.wire.breaks < 15


def test_once_found_it_is_sent_alone_and_breaks_nothing_for_others(outbox: Outbox) -> None:
    outbox.publish(*range(20))
    outbox.wire.poison = {5}
    dispatcher = Dispatcher(outbox.bus, batch_size=10)
    publisher: Any = outbox.wire
    dispatcher._open()
    dispatcher._renew(publisher)

    def settle_all() -> None:
        dispatcher._fill(publisher)
        while dispatcher._in_flight:
            dispatcher._finish(publisher)
            dispatcher._fill(publisher)

    settle_all()
    assert set(outbox.rows()) == {5}
    for round_number in range(2, 5):
        outbox.let_holds_pass()
        outbox.publish(*range(100 * round_number, 100 * round_number + 20))
        before = len(outbox.wire.taken)
        settle_all()
        assert outbox.rows()[5]["attempts"] == round_number
        assert len(outbox.wire.taken) == before + 20, "others were published more than once"
    outbox.wire.poison.clear()
    outbox.let_holds_pass()
    settle_all()
    assert outbox.rows() == {}
    assert dispatcher._limit == 10
    assert dispatcher._suspects == set()


def test_two_connection_breaks_by_chance_cost_no_row_an_attempt(outbox: Outbox) -> None:
    outbox.publish(*range(30))
    breaks = iter([True, True])
    outbox.wire.answer = lambda item: _UNKNOWN if next(breaks, False) else _ROUTED
    outbox.run_once(batch_size=10)
    assert outbox.rows() == {}


@pytest.mark.parametrize(
    "attributes", ["", "null", "[]", "{", '{"type": 1}', '{"id": "x"}', "[" * 100_000, '"text"']
)
def test_a_damaged_row_is_parked_with_the_reason_and_the_others_flow(
    outbox: Outbox, attributes: str
) -> None:
    outbox.publish(1, 2, 3, key="k")
    damaged = tables.outbox.c.seq == 1
    outbox.execute(sa.update(tables.outbox).where(damaged).values(attributes=attributes))
    outbox.run_once()
    assert outbox.wire.taken == [2, 3]
    assert outbox.rows("failed")[1]["last_error"]


def test_the_lease_is_renewed_in_time_although_one_key_has_many_rows(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row of a key waits for the confirm of the one before."""
    monkeypatch.setattr(dispatcher_module, "LEASE", dispatcher_module.timedelta(seconds=0.3))
    renewed: list[float] = []
    renew = dispatcher_module.OutboxStore.renew

    def timed(self: Any, owner: str, lease_ms: int) -> frozenset[int]:
        renewed.append(time.monotonic())
        return renew(self, owner, lease_ms)

    def slow(item: int) -> Confirmation:
        time.sleep(0.01)
        return _ROUTED

    monkeypatch.setattr(dispatcher_module.OutboxStore, "renew", timed)
    outbox.wire.answer = slow
    outbox.publish(*range(120), key="hot")
    outbox.run_once()
    assert outbox.wire.taken == list(range(120))
    pauses = [after - before for before, after in itertools.pairwise(renewed)]
    assert max(pauses) < 0.3


def test_nothing_is_published_while_the_lease_cannot_be_renewed(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = True
    renew = dispatcher_module.OutboxStore.renew

    def renew_or_not(self: Any, owner: str, lease_ms: int) -> frozenset[int]:
        if away:
            raise DatabaseUnavailable("away")
        return renew(self, owner, lease_ms)

    dispatcher = Dispatcher(outbox.bus)
    dispatcher._open()
    publisher: Any = outbox.wire
    away = False
    monkeypatch.setattr(dispatcher_module.OutboxStore, "renew", renew_or_not)
    dispatcher._cycle(publisher)
    away = True
    dispatcher._renew_at = 0.0
    outbox.publish(1)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            dispatcher._cycle(publisher)
    assert outbox.wire.batches == []


def test_when_it_stops_nothing_can_leave_after_the_shards_are_given_up(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    release = dispatcher_module.OutboxStore.release

    def released(self: Any, owner: str) -> None:
        order.append("released")
        release(self, owner)

    monkeypatch.setattr(dispatcher_module.OutboxStore, "release", released)
    monkeypatch.setattr(outbox.wire, "close", lambda: order.append("closed"))
    with outbox.running():
        outbox.publish(1)
        wait_until(lambda: outbox.wire.taken == [1], 10, "a published row")
    assert order == ["closed", "released"]


def test_it_stops_although_the_broker_does_not_answer(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(Wire):
        def publish(self, messages: Sequence[Message]) -> Future[list[Confirmation]]:
            future: Future[list[Confirmation]] = Future()
            self._under_way.append(([item_of(one) for one in messages], future))
            return future

    outbox.wire = Silent()
    outbox.wire.answer = lambda item: _UNKNOWN
    outbox.make_bus()
    monkeypatch.setattr(dispatcher_module, "DRAIN_SECONDS", 0.2)
    outbox.publish(1, 2)
    with outbox.running():
        wait_until(lambda: outbox.wire._under_way, 10, "rows under way")
    assert set(outbox.rows()) == {1, 2}
    assert {row["attempts"] for row in outbox.rows().values()} == {0}
    assert dispatcher_module.OutboxStore(outbox.bus.engine).renew("other", 1000), "shards kept"


def test_run_once_ends_when_it_is_stopped(outbox: Outbox) -> None:
    dispatcher = Dispatcher(outbox.bus, batch_size=1)

    def endless(item: int) -> Confirmation:
        outbox.publish(item + 1)
        if item == 20:
            dispatcher.stop()
        return _ROUTED

    outbox.wire.answer = endless
    outbox.publish(1)
    assert dispatcher.run_once() >= 20


def test_stop_before_run_returns_at_once(outbox: Outbox) -> None:
    dispatcher = Dispatcher(outbox.bus)
    dispatcher.stop()
    dispatcher.run()
    dispatcher.stop()
    assert outbox.wire.closed


def test_while_the_broker_is_blocked_it_reads_nothing_and_goes_on_afterwards(
    outbox: Outbox,
) -> None:
    outbox.wire.ready = False
    outbox.wire.trouble = "blocked"
    outbox.publish(*range(5))
    with outbox.running(poll_interval=dispatcher_module.timedelta(milliseconds=20)) as dispatcher:
        wait_until(lambda: dispatcher._trouble == "blocked", 10, "a dispatcher that waits")
        assert outbox.wire.batches == []
        outbox.wire.ready = True
        wait_until(lambda: len(outbox.wire.taken) == 5, 10, "all published")


# -- housekeeping ----------------------------------------------------------------------------------


@pytest.fixture
def unrouted(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """Ten events that no queue was bound for."""
    monkeypatch.setattr(housekeeping, "INTERVAL_SECONDS", 0.0)
    outbox.wire.answer = lambda item: _UNROUTED
    outbox.publish(*range(10))
    outbox.run_once()
    return outbox


def _unrouted_count(outbox: Outbox) -> int:
    return dispatcher_module.OutboxStore(outbox.bus.engine).stats().unrouted


def test_unrouted_events_are_sent_again_in_order_once_a_queue_is_bound(unrouted: Outbox) -> None:
    unrouted.run_once()
    assert unrouted.wire.batches[-1] == [0], "more than one event was sent to find out"
    unrouted.wire.answer = lambda item: _ROUTED
    unrouted.run_once()
    assert unrouted.wire.taken == list(range(10))
    assert _unrouted_count(unrouted) == 0


def test_a_damaged_row_in_the_log_holds_up_neither_the_others_nor_the_clean_up(
    unrouted: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tables.event_log
    unrouted.execute(sa.update(log).where(log.c.seq == 1).values(attributes="{"))
    unrouted.wire.answer = lambda item: _ROUTED
    deleted = []
    monkeypatch.setattr(housekeeping.Housekeeping, "_delete_old", lambda self: deleted.append(1))
    unrouted.run_once()
    assert unrouted.wire.taken == list(range(1, 10))
    assert _unrouted_count(unrouted) == 1
    assert deleted


def test_sending_again_takes_turns_with_publishing(
    unrouted: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "RESEND_SECONDS", 0.0)
    unrouted.wire.answer = lambda item: _ROUTED
    unrouted.run_once()
    assert unrouted.wire.taken == [0]
    for _ in range(9):
        unrouted.run_once()
    assert unrouted.wire.taken == list(range(10))


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("away"), IdempotencyStoreUnavailable("locked")]
)
def test_housekeeping_that_fails_does_not_stop_publishing(
    unrouted: Outbox, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(housekeeping, "purge_inbox", fail)
    unrouted.wire.answer = lambda item: _ROUTED
    unrouted.publish(77)
    unrouted.run_once()
    assert 77 in unrouted.wire.taken


def test_what_is_older_than_the_settings_keep_is_deleted_in_small_batches(
    unrouted: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "DELETE_BATCH", 3)
    log = tables.event_log
    old = log.c.published_at_ms - 8 * 86_400_000
    unrouted.execute(sa.update(log).where(log.c.seq <= 7).values(published_at_ms=old))
    unrouted.run_once()
    assert dispatcher_module.OutboxStore(unrouted.bus.engine).stats().logged == 3
