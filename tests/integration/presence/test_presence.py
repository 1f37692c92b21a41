"""Processes report, hear of pauses and leave, on each database; without one they go on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from eventbus import EventBus, database, tables
from eventbus.database import reading
from eventbus.workers.monitoring import pauses, presence, processes
from eventbus.workers.monitoring.presence import Presence
from eventbus.workers.monitoring.report import WORKER, Report
from tests.services import PostgreSQL
from tests.waiting import wait_until


class Publishing:
    """Something that runs, and consumes nothing."""

    drained = True

    def __init__(self, name: str = "shop.dispatcher") -> None:
        self.the_report = Report(WORKER, "shop", name, state="running", ready=True)
        self.reports = 0

    def report(self) -> Report:
        self.reports += 1
        return self.the_report

    def run(self) -> None: ...

    def stop(self) -> None: ...

    def stop_now(self) -> None: ...


class Service(Publishing):
    """Something that is told which queues are paused."""

    def __init__(self, name: str = "shop.worker") -> None:
        super().__init__(name)
        self.told: list[frozenset[str]] = []

    def set_paused(self, queues: frozenset[str]) -> None:
        self.told.append(queues)


@pytest.fixture
def bus(database_url: str) -> Iterator[EventBus]:
    bus = EventBus("shop", database_url=database_url)
    database.upgrade(bus.engine)
    yield bus
    bus.engine.dispose()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(presence, "TELL_AFTER_SECONDS", 0.1)


def rows(engine: Engine) -> list[processes.ProcessRow]:
    with reading(engine) as connection:
        return processes.read(connection)


def expire(engine: Engine, seconds: int) -> None:
    """As if every process had last reported that long ago."""
    past = database.now_ms() - seconds * 1000 + processes.LEASE_MS
    with engine.begin() as connection:
        connection.execute(sa.update(tables.process).values(lease_until_ms=past))


def test_a_process_is_there_while_it_runs_and_leaves_when_it_ends(bus: EventBus) -> None:
    service = Service()
    with Presence(bus, [service]):
        (row,) = wait_until(lambda: rows(bus.engine), 10, "a row")
        assert (row.report.name, row.report.ready, row.gone) == ("shop.worker", True, False)
        assert row.seen_ms < 5_000
        service.the_report.running = 3
        wait_until(lambda: rows(bus.engine)[0].report.running == 3, 10, "the next report")
    assert rows(bus.engine) == []


def test_each_service_and_each_start_has_a_row_of_its_own(bus: EventBus) -> None:
    with Presence(bus, [Service(), Service("other")]), Presence(bus, [Service()]):
        wait_until(lambda: len(rows(bus.engine)) == 3, 10, "three rows")
        assert len({row.id for row in rows(bus.engine)}) == 3


def test_a_pause_is_heard_and_so_is_its_end(bus: EventBus) -> None:
    service = Service()
    with Presence(bus, [service]):
        pauses.pause(bus.engine, "shop.billing", by="ada", reason="")
        wait_until(lambda: service.told == [{"shop.billing"}], 10, "the pause")
        pauses.pause(bus.engine, "shop.ledger", by="ada", reason="")
        wait_until(lambda: service.told[-1] == {"shop.billing", "shop.ledger"}, 10, "another")
        pauses.resume(bus.engine, "shop.billing")
        wait_until(lambda: service.told[-1] == {"shop.ledger"}, 10, "the end of one")
    assert len(service.told) == 3  # told of changes only


def test_a_pause_from_before_the_start_is_known_before_anything_runs(bus: EventBus) -> None:
    pauses.pause(bus.engine, "shop.billing", by="ada", reason="")
    service = Service()
    with Presence(bus, [service]) as present:
        present.look()
        assert service.told == [{"shop.billing"}]


def test_a_look_that_is_asked_for_is_taken_at_once(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "LOOK_SECONDS", 3600)
    service = Service()
    with Presence(bus, [service]) as present:
        present.look()
        pauses.pause(bus.engine, "shop.billing", by="ada", reason="")
        present.look()
        assert service.told == [{"shop.billing"}]


def test_a_service_that_consumes_nothing_needs_no_telling(bus: EventBus) -> None:
    pauses.pause(bus.engine, "shop.billing", by="ada", reason="")
    with Presence(bus, [Publishing()]):
        wait_until(lambda: rows(bus.engine), 10, "a row")


def test_a_process_that_was_killed_is_shown_as_gone_for_a_while(bus: EventBus) -> None:
    service = Service()
    killed = Presence(bus, [service])
    with reading(bus.engine), bus.engine.begin() as connection:
        processes.write(connection, *killed._reporters[0].row(time.monotonic()))
    expire(bus.engine, 40)
    (row,) = rows(bus.engine)
    assert row.gone
    assert 39_000 < row.seen_ms < 60_000
    expire(bus.engine, 3_600)
    assert rows(bus.engine) == []


def test_what_has_long_been_gone_is_removed_by_whoever_comes_by(bus: EventBus) -> None:
    killed = Presence(bus, [Service()])
    with bus.engine.begin() as connection:
        processes.write(connection, *killed._reporters[0].row(time.monotonic()))
    expire(bus.engine, 3_600)

    def ids() -> set[str]:
        with reading(bus.engine) as connection:
            return set(connection.scalars(sa.select(tables.process.c.id)))

    assert len(ids()) == 1
    with Presence(bus, [Service("new")]):
        wait_until(lambda: not ids() & {killed._reporters[0].id}, 10, "the old row is removed")


def test_a_row_that_was_removed_while_it_lives_comes_back(bus: EventBus) -> None:
    with Presence(bus, [Service()]):
        (row,) = wait_until(lambda: rows(bus.engine), 10, "a row")
        with bus.engine.begin() as connection:
            connection.execute(sa.delete(tables.process))
        wait_until(lambda: [one.id for one in rows(bus.engine)] == [row.id], 10, "the row again")


def test_a_report_that_fails_does_not_end_the_pauses(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    service.report = lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    with Presence(bus, [service]):
        wait_until(lambda: "ZeroDivisionError" in caplog.text, 10, "the log says why")
        pauses.pause(bus.engine, "shop.billing", by="ada", reason="")
        wait_until(lambda: service.told == [{"shop.billing"}], 10, "the pause")


def test_two_operators_pause_at_the_same_time(bus: EventBus) -> None:
    barrier = threading.Barrier(4)
    before: list[pauses.Pause | None] = []

    def pause() -> None:
        barrier.wait()
        before.append(pauses.pause(bus.engine, "shop.billing", by="ada", reason=""))

    threads = [threading.Thread(target=pause) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(before) == 4
    assert before.count(None) == 1
    with reading(bus.engine) as connection:
        assert len(pauses.read_pauses(connection)) == 1


# -- without a database ---------------------------------------------------------------------------


def test_a_file_that_is_missing_is_not_made_by_looking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eventbus.presence")
    file = tmp_path / "none.db"
    bus = EventBus("shop", database_url=f"sqlite:///{file}", redis_url="redis://127.0.0.1:1/0")
    service = Service()
    with Presence(bus, [service]):
        wait_until(lambda: "is not there" in caplog.text, 10, "the log says why")
    assert not file.exists()
    assert service.told == []
    assert caplog.text.count("missing from") == 1  # once, however often it looks


def test_tables_that_come_later_are_found(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eventbus.presence")
    bus = EventBus("shop", database_url=sqlite_url)
    with Presence(bus, [Service()]):
        wait_until(lambda: "missing from" in caplog.text, 10, "it has looked in vain")
        database.upgrade(bus.engine)
        wait_until(lambda: rows(bus.engine), 15, "a row")


def test_a_driver_that_is_not_there_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus("shop", database_url="postgresql+nosuchdriver://127.0.0.1:1/shop")
    with Presence(bus, [Service()]):
        wait_until(lambda: "missing from 'eventbus status'" in caplog.text, 10, "the log says why")


def test_a_database_that_does_not_answer_holds_nobody_up_for_long(
    own_postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "FIRST_LOOK_SECONDS", 0.5)
    monkeypatch.setattr(presence, "LEAVE_SECONDS", 0.5)
    bus = EventBus("shop", database_url=own_postgres.create_database())
    database.upgrade(bus.engine)
    own_postgres.pause()
    try:
        began = time.monotonic()
        with Presence(bus, [Service()]) as present:
            present.look()
            assert time.monotonic() - began < 5
        assert time.monotonic() - began < 10
    finally:
        own_postgres.resume()


def test_a_writer_that_holds_sqlite_is_no_trouble(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The report has to wait; the looks for pauses go on at their pace."""
    bus = EventBus("shop", database_url=sqlite_url)
    database.upgrade(bus.engine)
    service = Service()
    with Presence(bus, [service]) as present:
        wait_until(lambda: rows(bus.engine), 10, "a row")
        with bus.engine.begin():  # BEGIN IMMEDIATE: nobody else writes
            before = service.reports
            wait_until(lambda: service.reports >= before + 4, 20, "four reports are tried")
            present.look()
        assert "missing from" not in caplog.text
