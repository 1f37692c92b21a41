"""Replay: events of the log go to one queue only, in order, each at least once, with a memory."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from eventbus import Event, EventBus, Retry, database, tables
from eventbus.errors import BrokerUnavailable, OperationInterrupted, UnknownName
from eventbus.outbox import event_log as event_log_module
from eventbus.outbox.event_log import EventLog, Selection
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.operations import replay as replay_module
from eventbus.workers.operations.audit import OperationLog
from eventbus.workers.operations.operation import Limits, Operation
from eventbus.workers.operations.replay import Replay, Target, read_position
from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker
from tests.waiting import wait_until


class ReplayedEvent(Event, name="replay.happened"):
    number: int


class OtherEvent(Event, name="replay.other"):
    number: int


class History:
    """A bus with published events, and replays of them."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.seen: list[int] = []
        self.log = EventLog(bus.engine)
        bus.handler("replay.happened", queue="early", name="early")(lambda event: None)

        @bus.handler("replay.#", queue="late", name="late", retry=Retry(max_attempts=1))
        def late(event: Event) -> None:
            self.seen.append(event.number)  # type: ignore[attr-defined]

        self.declare("early")

    def declare(self, *queues: str) -> None:
        admin = self.bus.broker.admin()
        admin.declare(self.bus.topology(queues))
        admin.close()

    def publish(self, *events: Event) -> None:
        with Session(self.bus.engine) as session, session.begin():
            self.bus.publish_many(events, session=session, key="all")
        Dispatcher(self.bus).run_once()

    def operation(self, **options: object) -> Operation:
        return Operation("replay", {}, OperationLog(self.bus.engine), **options)  # type: ignore[arg-type]

    def replay(
        self,
        operation: Operation | None = None,
        *,
        queue: str = "shop.late",
        handler: str | None = None,
        max_depth: int = 10_000,
        selection: Selection | None = None,
    ) -> Operation:
        operation = operation or self.operation()
        publisher, admin = self.bus.broker.publisher("replay"), self.bus.broker.admin()
        try:
            assert publisher.wait_ready(30)
            target = Target(queue, handler, max_depth)
            replay = Replay(
                self.log, publisher, admin, target, selection or Selection(), self.log.now_ms()
            )
            with operation:
                replay.run(operation, read_position(operation.record.position))
        finally:
            publisher.close()
            admin.close()
        return operation

    def depths(self, *queues: str) -> list[int]:
        admin = self.bus.broker.admin()
        try:
            stats = admin.stats(queues)
            return [stats[queue].messages for queue in queues]
        finally:
            admin.close()

    @contextmanager
    def working(self, queue: str) -> Iterator[None]:
        worker = Worker(self.bus, WorkerOptions(queues=(queue,)))
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(20)


@pytest.fixture(params=["rabbitmq", "embedded"])
def history(
    request: pytest.FixtureRequest, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[History]:
    """The time in which late transactions are waited for is short here."""
    monkeypatch.setattr(replay_module, "SETTLED_AFTER_MS", 50)
    url = request.getfixturevalue("broker_url") if request.param == "rabbitmq" else None
    bus = EventBus("shop", database_url=sqlite_url, broker_url=url)
    database.upgrade(bus.engine)
    yield History(bus)
    bus.engine.dispose()


def test_a_new_queue_is_filled_from_history_and_no_other_notices(history: History) -> None:
    history.publish(*(ReplayedEvent(number=n) for n in range(1200)))
    history.declare("late")
    operation = history.replay()
    assert operation.record.done == 1200
    assert operation.record.state == "done"
    assert history.depths("shop.early", "shop.late") == [1200, 1200]
    with history.working("late"):
        wait_until(lambda: len(history.seen) == 1200, 60, lambda: f"{len(history.seen)} handled")
    assert sorted(history.seen) == list(range(1200))


def test_a_handler_that_has_done_an_event_does_not_do_it_again(history: History) -> None:
    history.declare("late")
    history.publish(*(ReplayedEvent(number=n) for n in range(20)))
    with history.working("late"):
        wait_until(lambda: len(history.seen) == 20, 60, "the first handling")
        history.replay()
        wait_until(lambda: history.depths("shop.late") == [0], 60, "an empty queue")
    assert sorted(history.seen) == list(range(20))


def test_only_what_is_meant_is_sent(history: History) -> None:
    history.publish(ReplayedEvent(number=1), OtherEvent(number=2), ReplayedEvent(number=3))
    history.declare("late")
    history.replay(selection=Selection(names=("replay.other",)))
    assert history.depths("shop.late") == [1]


def test_what_is_published_after_the_start_is_left_to_the_bindings(history: History) -> None:
    history.publish(ReplayedEvent(number=1))
    history.declare("late")
    future = history.log.now_ms() + 10_000
    with database.writing(history.bus.engine) as connection:
        connection.execute(sa.update(tables.event_log).values(published_at_ms=future))
    assert history.replay().record.done == 0


def test_an_event_whose_transaction_is_late_is_not_missed(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "SETTLED_AFTER_MS", 5_000)
    history.declare("late")
    history.publish(ReplayedEvent(number=1))
    assert history.depths("shop.late") == [1]
    with database.reading(history.bus.engine) as connection:
        row = dict(connection.execute(sa.select(tables.event_log)).mappings().one())

    def commit() -> None:
        late = {**row, "seq": 99, "event_id": "late"}
        with database.writing(history.bus.engine) as connection:
            connection.execute(tables.event_log.insert(), late)

    # The reader has found nothing more before it commits.
    late_one = threading.Timer(0.5, commit)
    operation = history.operation(observe=lambda record: record.done == 1 and late_one.start())
    assert history.replay(operation).record.done == 2


def test_an_interrupted_replay_goes_on_where_it_was(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "BATCH", 10)
    history.publish(*(ReplayedEvent(number=n) for n in range(50)))
    history.declare("late")
    operation = history.operation(observe=lambda record: record.done >= 20 and stop())

    def stop() -> None:
        operation.interrupt()

    with pytest.raises(OperationInterrupted):
        history.replay(operation)
    assert history.depths("shop.late") == [20]
    record = OperationLog(history.bus.engine).find(operation.id)
    assert (record.state, record.done) == ("interrupted", 20)
    history.replay(history.operation(resumed=record))
    assert history.depths("shop.late") == [50]
    assert OperationLog(history.bus.engine).find(operation.id).done == 50


def test_a_rate_is_kept(history: History) -> None:
    history.publish(*(ReplayedEvent(number=n) for n in range(30)))
    history.declare("late")
    started = time.monotonic()
    history.replay(history.operation(limits=Limits(rate=30)))
    assert time.monotonic() - started > 0.8


def test_a_replay_waits_while_the_queue_is_deep(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "LOOK_EVERY", 10)
    monkeypatch.setattr(replay_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(replay_module, "BATCH", 10)
    history.publish(*(ReplayedEvent(number=n) for n in range(100)))
    history.declare("late")
    most = itertools.accumulate(iter(lambda: history.depths("shop.late")[0], None), max)
    seen: list[int] = []
    operation = history.operation(observe=lambda record: seen.append(next(most)))
    with history.working("late"):
        history.replay(operation, max_depth=15)
        wait_until(lambda: len(history.seen) == 100, 60, "all of them handled")
    assert seen[-1] <= 15 + 10


def test_a_queue_that_is_gone_is_named(history: History) -> None:
    history.publish(ReplayedEvent(number=1))
    with pytest.raises(UnknownName, match=r"'shop\.nowhere' is not on the broker"):
        history.replay(queue="shop.nowhere")


def test_one_handler_of_a_queue_can_be_meant(history: History) -> None:
    others: list[int] = []
    history.bus.handler("replay.#", queue="late", name="other")(
        lambda event: others.append(event.number)
    )
    history.publish(ReplayedEvent(number=1))
    history.declare("late")
    history.replay(handler="other")
    with history.working("late"):
        wait_until(lambda: others == [1], 30, "the one handler")
        wait_until(lambda: history.depths("shop.late") == [0], 30, "an empty queue")
    assert history.seen == []


def test_a_damaged_row_is_counted_and_the_rest_is_sent(history: History) -> None:
    history.publish(*(ReplayedEvent(number=n) for n in range(3)))
    history.declare("late")
    log = tables.event_log
    with database.writing(history.bus.engine) as connection:
        connection.execute(sa.update(log).where(log.c.seq == 2).values(attributes="{"))
    record = history.replay().record
    assert (record.done, record.failed) == (3, 1)
    assert history.depths("shop.late") == [2]


def test_a_broker_that_takes_nothing_ends_the_replay_which_can_be_resumed(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "PATIENCE_SECONDS", 0.5)
    history.publish(ReplayedEvent(number=1))
    history.declare("late")
    operation = history.operation()
    publisher, admin = history.bus.broker.publisher("replay"), history.bus.broker.admin()
    assert publisher.wait_ready(30)
    publisher.close()
    replay = Replay(
        history.log, publisher, admin, Target("shop.late"), Selection(), history.log.now_ms()
    )
    with pytest.raises(BrokerUnavailable, match="takes nothing"), operation:
        replay.run(operation)
    admin.close()
    assert OperationLog(history.bus.engine).find(operation.id).state == "failed"
    assert history.depths("shop.late") == [0]


def test_the_record_of_an_operation_holds_the_position(history: History) -> None:
    history.publish(ReplayedEvent(number=1))
    history.declare("late")
    record = OperationLog(history.bus.engine).find(history.replay().id)
    position = read_position(json.loads(json.dumps(record.position)))
    assert position is not None
    assert position.seq == 1
    assert read_position(None) is None
    assert event_log_module.SETTLED_AFTER_MS > 0
