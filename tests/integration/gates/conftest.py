"""The shop of the unit tests, with a database and a registry in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbus import database
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.server.application import RegistryApplication
from eventbus.contracts.registry.server.guard import Guard
from eventbus.contracts.registry.server.listening import RegistryServer
from tests.unit.contracts.gates.conftest import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The service ``shop`` on a SQLite file of its own."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    shop = Shop(tmp_path / "contracts", monkeypatch, "shop")
    database.upgrade(shop.bus.engine)
    yield shop
    shop.bus.engine.dispose()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    """A registry over HTTP, in a database of its own."""
    engine = database.make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    database.upgrade(engine)
    server = RegistryServer(RegistryApplication(DatabaseRegistry(engine), Guard()), "127.0.0.1", 0)
    server.start()
    yield server
    server.close()
    engine.dispose()
