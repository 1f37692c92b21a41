"""A bus on each broker, with lock files in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eventbus import Event
from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.fingerprints import fingerprint, id_of
from eventbus.contracts.lock_files import LockedVersion, LockFile, read_lock, write_lock
from tests.integration.handling.conftest import MakeBus, Shop, make_shop

__all__ = ["LockContract", "make_shop"]

LockContract = Callable[[type[Event]], LockFile]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the lock files."""
    return tmp_path / "contracts"


@pytest.fixture
def shop(make_shop: MakeBus, folder: Path) -> Shop:
    """One bus."""
    return make_shop(contracts=str(folder))


@pytest.fixture
def lock(folder: Path) -> LockContract:
    """Makes a class the next version in the lock file of its event."""

    def add(event_class: type[Event]) -> LockFile:
        name = event_class.__event_name__
        before = read_lock(folder, name)
        versions = before.versions if before else ()
        schema = writer_contract(event_class, [one.schema for one in versions])
        mark = fingerprint(schema)
        made = LockedVersion(len(versions) + 1, id_of(mark), mark, schema)
        lock = LockFile(name, schema.format, (*versions, made))
        write_lock(folder, lock)
        return lock

    return add
