"""Stacks: RabbitMQ with Redis and PostgreSQL, and the embedded default on one SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stack import Stack
from tests.services import PostgreSQL, RabbitMQ, Redis

_QUICK_LEASE = {"EVENTBUS_CLAIM_LEASE": "3s"}


@pytest.fixture(params=["rabbitmq", "embedded"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """The same test on both; on servers that other tests share."""
    if request.param == "rabbitmq":
        environment = {
            "EVENTBUS_BROKER_URL": request.getfixturevalue("broker_url"),
            "EVENTBUS_REDIS_URL": request.getfixturevalue("redis_url"),
            "EVENTBUS_DATABASE_URL": request.getfixturevalue("postgres_url"),
        }
    else:
        environment = {"EVENTBUS_DATABASE_URL": request.getfixturevalue("sqlite_url")}
    yield from _prepared(Stack({**environment, **_QUICK_LEASE}, tmp_path))


@pytest.fixture
def server_stack(
    broker_url: str, redis_url: str, postgres_url: str, tmp_path: Path
) -> Iterator[Stack]:
    """RabbitMQ, Redis and PostgreSQL, for what only they have."""
    environment = {
        "EVENTBUS_BROKER_URL": broker_url,
        "EVENTBUS_REDIS_URL": redis_url,
        "EVENTBUS_DATABASE_URL": postgres_url,
    }
    yield from _prepared(Stack({**environment, **_QUICK_LEASE}, tmp_path))


@pytest.fixture
def own_stack(
    own_rabbitmq: RabbitMQ, own_redis: Redis, own_postgres: PostgreSQL, tmp_path: Path
) -> Iterator[Stack]:
    """On servers that the test may kill: `own_rabbitmq`, `own_redis`, `own_postgres`."""
    environment = {
        "EVENTBUS_BROKER_URL": own_rabbitmq.url,
        "EVENTBUS_REDIS_URL": own_redis.url,
        "EVENTBUS_DATABASE_URL": own_postgres.create_database(),
    }
    yield from _prepared(Stack({**environment, **_QUICK_LEASE}, tmp_path))


def _prepared(stack: Stack) -> Iterator[Stack]:
    try:
        stack.prepare()
        yield stack
    finally:
        stack.close()
