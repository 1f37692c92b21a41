"""The event log: read in the order of publishing, cleaned in batches and by partition."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from eventbus import EventBus, database, tables
from eventbus.outbox import partitions
from eventbus.outbox.event_log import Counted, EventLog, Position, Selection
from eventbus.workers import housekeeping
from eventbus.workers.housekeeping import Housekeeping

DAY = partitions.DAY_MS


@pytest.fixture
def bus(database_url: str) -> Iterator[EventBus]:
    bus = EventBus("shop", database_url=database_url)
    database.upgrade(bus.engine)
    yield bus
    bus.engine.dispose()


@pytest.fixture
def postgres_bus(postgres_url: str) -> Iterator[EventBus]:
    bus = EventBus("shop", database_url=postgres_url)
    database.upgrade(bus.engine)
    yield bus
    bus.engine.dispose()


def add(engine: Engine, *events: tuple[int, int, str, str | None]) -> None:
    """Log events: seq, published at, name, key."""
    rows = [
        {
            "seq": seq,
            "published_at_ms": published,
            "name": name,
            "partition_key": key,
            "event_id": f"id-{seq}",
            "attributes": "{}",
            "body": b"{}",
            "created_at_ms": 1,
            "routed": True,
        }
        for seq, published, name, key in events
    ]
    with database.writing(engine) as connection:
        connection.execute(tables.event_log.insert(), rows)


def sequences(engine: Engine) -> list[int]:
    with database.reading(engine) as connection:
        return sorted(connection.scalars(sa.select(tables.event_log.c.seq)))


def table_names(engine: Engine) -> set[str]:
    names = sa.text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relispartition")
    with database.reading(engine) as connection:
        return set(connection.scalars(names))


def read_all(log: EventLog, selection: Selection, page: int) -> list[int]:
    found: list[int] = []
    position = None
    while rows := log.read(selection, position, page):
        found += [one.row.seq for one in rows]
        position = rows[-1].position
    return found


@pytest.mark.parametrize("page", [1, 2, 100])
def test_a_reader_gets_every_event_once_in_the_order_of_publishing(
    bus: EventBus, page: int
) -> None:
    # Two of one millisecond, and a later row that was published earlier.
    add(bus.engine, (3, 10, "a", None), (1, 20, "a", None), (2, 20, "b", None), (4, 15, "a", None))
    assert read_all(EventLog(bus.engine), Selection(), page) == [3, 4, 1, 2]


def test_a_selection_is_by_name_key_and_time(bus: EventBus) -> None:
    log = EventLog(bus.engine)
    add(bus.engine, (1, 10, "a", "k"), (2, 20, "b", "k"), (3, 30, "a", "l"), (4, 40, "a", None))
    assert read_all(log, Selection(names=("a",)), 2) == [1, 3, 4]
    assert read_all(log, Selection(names=("a", "b"), keys=("k",)), 2) == [1, 2]
    assert read_all(log, Selection(since_ms=20, until_ms=40), 2) == [2, 3]
    assert read_all(log, Selection(names=()), 2) == []
    assert log.counts(Selection(since_ms=20)) == {"a": Counted(2), "b": Counted(1)}
    assert log.counts(Selection(), Position(20, 2)) == {"a": Counted(2)}
    assert log.counts(Selection(), old_before_ms=30) == {"a": Counted(3, old=1), "b": Counted(1, 1)}


def test_what_is_old_is_deleted_in_batches(bus: EventBus) -> None:
    log = EventLog(bus.engine)
    now = log.now_ms()
    add(bus.engine, *((n, now - 10 * DAY, "a", None) for n in range(5)), (9, now, "a", None))
    assert log.delete_before(7 * DAY, 3) == 3
    assert log.delete_before(7 * DAY, 3) == 2
    assert sequences(bus.engine) == [9]


def test_days_ahead_are_made_and_days_that_are_wholly_old_are_dropped() -> None:
    today = 20_000
    now = today * DAY + DAY // 2
    made = partitions.plan({today, today - 1, today - 7, today - 8}, now, 7 * DAY)
    assert made == partitions.Plan(create=(today + 1, today + 2), drop=(today - 8,))
    assert partitions.plan({today}, now, 0).drop == ()


def test_a_dispatcher_makes_the_partitions_and_drops_the_old_ones(
    postgres_bus: EventBus,
) -> None:
    engine, log = postgres_bus.engine, EventLog(postgres_bus.engine)
    today = log.now_ms() // DAY
    partitions._change(engine, partitions._create(today - 20))
    Housekeeping(postgres_bus).maintain_partitions()
    partitions._change(engine, partitions._create(today - 20))
    add(engine, (1, (today - 20) * DAY, "a", None), (2, log.now_ms(), "a", None))
    # This one came on a day without a dispatcher: it has no partition of its own.
    add(engine, (3, (today - 30) * DAY, "a", None))
    Housekeeping(postgres_bus)._delete_logged()
    wanted = {partitions.partition_name(today + ahead) for ahead in range(3)}
    assert table_names(engine) == {"eventbus_event_log_default", *wanted}
    assert sequences(engine) == [2]


def test_a_day_that_began_in_the_default_partition_does_not_hold_up_the_next(
    postgres_bus: EventBus,
) -> None:
    engine, now = postgres_bus.engine, EventLog(postgres_bus.engine).now_ms()
    add(engine, (1, now, "a", None))
    Housekeeping(postgres_bus).maintain_partitions()
    today = now // DAY
    wanted = {partitions.partition_name(today + ahead) for ahead in (1, 2)}
    assert table_names(engine) == {"eventbus_event_log_default", *wanted}
    assert sequences(engine) == [1]


def test_a_day_that_is_partly_old_is_not_deleted_row_by_row(postgres_bus: EventBus) -> None:
    engine, log = postgres_bus.engine, EventLog(postgres_bus.engine)
    eight_days_ago = log.now_ms() - 7 * DAY - 1
    partitions._change(engine, partitions._create(eight_days_ago // DAY))
    add(engine, (1, eight_days_ago, "a", None))
    Housekeeping(postgres_bus)._delete_logged()
    whole_day_is_old = (eight_days_ago // DAY + 1) * DAY <= log.now_ms() - 7 * DAY
    assert sequences(engine) == ([] if whole_day_is_old else [1])


def test_a_user_who_may_not_create_tables_gets_a_warning_once_and_the_clean_up_all_the_same(
    postgres_bus: EventBus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = postgres_bus.engine
    monkeypatch.setattr(partitions, "_create", lambda day: "SELECT no_such_function()")
    add(engine, (1, 5, "a", None))
    caplog.set_level(logging.WARNING)
    keeper = Housekeeping(postgres_bus)
    keeper._delete_logged()
    keeper._delete_logged()
    assert sequences(engine) == []
    assert [r.message.count("no_such_function") > 0 for r in caplog.records] == [True]


def test_two_dispatchers_may_make_the_same_partitions(postgres_bus: EventBus) -> None:
    for _ in range(2):
        partitions.maintain(postgres_bus.engine, (), 7 * DAY)
    assert len(table_names(postgres_bus.engine)) == 4


def test_a_long_reader_does_not_make_dispatchers_wait(
    postgres_bus: EventBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT_MS", 50)
    with postgres_bus.engine.connect() as reader:
        reader.execute(sa.select(tables.event_log)).all()
        Housekeeping(postgres_bus).maintain_partitions()
    assert "lock timeout" in caplog.text
    Housekeeping(postgres_bus).maintain_partitions()
    assert len(table_names(postgres_bus.engine)) == 4


def test_a_log_of_the_first_version_becomes_partitioned_and_keeps_its_events(
    postgres_url: str,
) -> None:
    engine = database.make_engine(postgres_url)
    database.upgrade(engine)
    first_version = tables.event_log.to_metadata(sa.MetaData())
    first_version.dialect_options["postgresql"]["partition_by"] = None
    with database.writing(engine) as connection:
        tables.event_log.drop(connection)
        first_version.create(connection)
        connection.execute(tables.schema_version.update().values(version=1))
    now = int(datetime.now(timezone.utc).timestamp() * 1000)
    add(engine, (1, now, "a", None), (2, 5, "b", "k"))
    assert partitions.existing_days(engine) is None
    database.upgrade(engine)
    assert sequences(engine) == [1, 2]
    assert partitions.existing_days(engine) == set()
    engine.dispose()


def test_the_clean_up_of_a_short_retention_does_not_wait_for_the_day_to_end(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = EventBus("shop", database_url=postgres_url, event_log_retention="1h")
    database.upgrade(bus.engine)
    monkeypatch.setattr(housekeeping, "DELETE_BATCH", 2)
    now = EventLog(bus.engine).now_ms()
    Housekeeping(bus).maintain_partitions()
    add(bus.engine, *((n, now - 3 * 3_600_000, "a", None) for n in range(5)), (9, now, "a", None))
    Housekeeping(bus)._delete_logged()
    assert sequences(bus.engine) == [9]
    bus.engine.dispose()
