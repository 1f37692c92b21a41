"""Fixtures that stand on real servers.

The servers start with the first test that needs them and serve the whole session; what a test gets
is a part of its own: a virtual host, a Redis database, a database. Tests that kill or stop a server
ask for `own_...`, a server of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import redis as redis_client

from tests.services import MariaDB, PostgreSQL, RabbitMQ, Redis

_FAULTS = Path(__file__).parent / "faults"
_redis_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_FAULTS):
            item.add_marker(pytest.mark.faults)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests of rubbish have logged must be text that a test process can send to another."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """The session's RabbitMQ. Most tests want `broker_url`."""
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def managed_rabbitmq() -> Iterator[RabbitMQ]:
    """The session's RabbitMQ that has the management plugin."""
    with RabbitMQ(management=True) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """The session's Redis. Most tests want `redis_url`."""
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """The session's PostgreSQL. Most tests want `postgres_url`."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """The session's MariaDB. Most tests want `mariadb_url`."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def broker_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """An empty virtual host."""
    url = rabbitmq.create_vhost()
    yield url
    rabbitmq.drop_vhost(url)


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis database."""
    url = redis_server.database_url(next(_redis_numbers))
    with redis_client.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def postgres_url(postgres: PostgreSQL) -> Iterator[str]:
    """An empty PostgreSQL database."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def mariadb_url(mariadb: MariaDB) -> Iterator[str]:
    """An empty MariaDB database."""
    url = mariadb.create_database()
    yield url
    mariadb.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'database.db'}"


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database: the test runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ that the test may stop, kill and pause (about 7 s to start)."""
    with RabbitMQ() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A Redis that the test may stop, kill and pause; it forgets everything when it stops."""
    with Redis() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgreSQL]:
    """A PostgreSQL that the test may stop, kill and pause."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def own_mariadb() -> Iterator[MariaDB]:
    """A MariaDB that the test may stop, kill and pause."""
    with MariaDB() as server:
        yield server
