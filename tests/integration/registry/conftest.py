"""Registries: in each of the databases, and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import Engine

from eventbus import database
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.server.application import RegistryApplication
from eventbus.contracts.registry.server.guard import Guard
from eventbus.contracts.registry.server.listening import RegistryServer


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a database with our tables: the test runs once on each kind."""
    engine = database.make_engine(database_url)
    database.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def registry(engine: Engine) -> DatabaseRegistry:
    """An empty registry in it."""
    return DatabaseRegistry(engine)


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """The database of the registry that is served."""
    engine = database.make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    database.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def served(sqlite_engine: Engine) -> DatabaseRegistry:
    """The registry behind `server`."""
    return DatabaseRegistry(sqlite_engine)


@pytest.fixture
def server(served: DatabaseRegistry) -> Iterator[RegistryServer]:
    """A registry over HTTP that asks for no token."""
    server = RegistryServer(RegistryApplication(served, Guard()), "127.0.0.1", 0)
    server.start()
    yield server
    server.close()


@pytest.fixture
def client(server: RegistryServer) -> Iterator[httpx.Client]:
    """Talks to it."""
    with httpx.Client(base_url=server.address) as client:
        yield client
