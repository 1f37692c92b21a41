"""The tables: created once by any number of processes, and never used in another version."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from eventbus import database, tables
from eventbus.errors import DatabaseNotMigrated, DatabaseUnavailable
from eventbus.outbox.row import SHARDS

_UPGRADE = """
import sys
from eventbus import database
engine = database.make_engine(sys.argv[1])
input()
print(database.upgrade(engine))
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine of ours on an empty database."""
    engine = database.make_engine(database_url)
    yield engine
    engine.dispose()


def version(engine: Engine) -> list[int]:
    with database.reading(engine) as connection:
        return list(connection.scalars(sa.select(tables.schema_version.c.version)))


def set_version(engine: Engine, number: int) -> None:
    with database.writing(engine) as connection:
        connection.execute(tables.schema_version.update().values(version=number))


def test_an_empty_database_is_told_from_an_upgraded_one(engine: Engine) -> None:
    with pytest.raises(DatabaseNotMigrated, match="run 'eventbus db upgrade'") as caught:
        database.check(engine)
    assert caught.value.exit_code == 4
    assert "secret" not in str(caught.value)
    assert database.upgrade(engine) is True
    database.check(engine)


def test_an_upgrade_makes_every_table_and_shard(engine: Engine) -> None:
    database.upgrade(engine)
    assert set(tables.metadata.tables) <= set(sa.inspect(engine).get_table_names())
    with database.reading(engine) as connection:
        shards = list(connection.scalars(sa.select(tables.shard.c.shard)))
    assert sorted(shards) == list(range(SHARDS))
    assert version(engine) == [database.SCHEMA_VERSION]


def test_a_second_upgrade_changes_nothing(engine: Engine) -> None:
    database.upgrade(engine)
    with database.writing(engine) as connection:
        connection.execute(tables.shard.update().values(owner="somebody", lease_until_ms=5))
    assert database.upgrade(engine) is False
    with database.reading(engine) as connection:
        assert set(connection.scalars(sa.select(tables.shard.c.owner))) == {"somebody"}


def test_processes_that_upgrade_at_once_do_it_once(engine: Engine, database_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _UPGRADE, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    # Written to all before any is waited for: they are past their imports together.
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert sorted(out.strip() for out, _ in answers) == ["False", "False", "False", "True"], answers
    assert version(engine) == [database.SCHEMA_VERSION]


def test_an_upgrade_leaves_no_lock_behind_in_the_pool(engine: Engine, database_url: str) -> None:
    database.upgrade(engine)
    # The engine above keeps its connection; another process upgrades meanwhile.
    other = database.make_engine(database_url)
    done = threading.Event()

    def upgrade() -> None:
        database.upgrade(other)
        done.set()

    threading.Thread(target=upgrade, daemon=True).start()
    assert done.wait(20), "the lock of the first upgrade is still held"
    other.dispose()


def test_newer_tables_are_neither_used_nor_touched(engine: Engine) -> None:
    database.upgrade(engine)
    set_version(engine, database.SCHEMA_VERSION + 1)
    for refused in (database.check, database.upgrade):
        with pytest.raises(DatabaseNotMigrated, match=r"newer than .* upgrade the package"):
            refused(engine)
    assert version(engine) == [database.SCHEMA_VERSION + 1]


def test_older_tables_are_not_used_until_they_are_upgraded(engine: Engine) -> None:
    database.upgrade(engine)
    set_version(engine, database.SCHEMA_VERSION - 1)
    with pytest.raises(DatabaseNotMigrated, match="run 'eventbus db upgrade'"):
        database.check(engine)
    assert database.upgrade(engine) is True
    database.check(engine)


def test_a_database_that_is_away_is_named_without_its_password() -> None:
    engine = database.make_engine("postgresql+psycopg://app:s3cret@127.0.0.1:1/shop")
    for attempt in (database.check, database.upgrade):
        with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/shop") as caught:
            attempt(engine)
        assert caught.value.exit_code == 3
        assert "s3cret" not in str(caught.value)


def test_a_product_and_its_version_are_named(engine: Engine) -> None:
    name, number = database.server_version(engine).split()
    assert name in {"PostgreSQL", "MariaDB", "SQLite"}
    assert number.split(".")[0].isdigit()


def test_an_upgrade_makes_the_indexes_that_older_tables_do_not_have(engine: Engine) -> None:
    database.upgrade(engine)
    wanted = {
        (table, index["name"])
        for table in tables.metadata.tables
        for index in sa.inspect(engine).get_indexes(table)
    }
    with database.writing(engine) as connection:
        tables.outbox_state.drop(connection)
    set_version(engine, database.SCHEMA_VERSION - 1)
    database.upgrade(engine)
    found = {
        (table, index["name"])
        for table in tables.metadata.tables
        for index in sa.inspect(engine).get_indexes(table)
    }
    assert found == wanted


def test_tables_of_the_second_version_get_those_of_the_contracts_and_keep_their_rows(
    engine: Engine,
) -> None:
    database.upgrade(engine)
    contracts = [t for t in tables.metadata.tables.values() if "_contract_" in t.name]
    assert len(contracts) == 6
    with database.writing(engine) as connection:
        for table in contracts:
            table.drop(connection)
        connection.execute(tables.shard.update().values(owner="somebody"))
    set_version(engine, 2)
    assert database.upgrade(engine) is True
    found = sa.inspect(engine)
    for table in contracts:
        names = {index.name for index in table.indexes}
        assert names <= {index["name"] for index in found.get_indexes(table.name)}
    assert version(engine) == [3]
    with database.reading(engine) as connection:
        assert set(connection.scalars(sa.select(tables.shard.c.owner))) == {"somebody"}
