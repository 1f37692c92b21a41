"""Each store in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .stores import InDatabase, InRedis, Model, StoreUnderTest


@pytest.fixture(params=["model", "redis", "sqlite", "postgres", "mariadb"])
def under_test(request: pytest.FixtureRequest) -> Iterator[StoreUnderTest]:
    """An empty store: the test runs once on each kind."""
    kind: str = request.param
    made: StoreUnderTest
    if kind == "model":
        made = Model()
    elif kind == "redis":
        made = InRedis(request.getfixturevalue("redis_url"))
    else:
        made = InDatabase(request.getfixturevalue(f"{kind}_url"))
    yield made
    made.close()


@pytest.fixture(params=["redis", "sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, for tests that start processes."""
    value: str = request.getfixturevalue(f"{request.param}_url")
    return value
