"""Contracts: how long the gate in CI takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from eventbus import Event
from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.fingerprints import fingerprint, id_of
from eventbus.contracts.lock_files import LockedVersion, LockFile, lock_text
from eventbus.contracts.schema import Format

from ..errors import BenchmarkFailed
from ..measuring import Contestant, Goal, Measures, Samples
from ..servers import Servers
from .case import Case, Size

EVENTS, VERSIONS = 500, 10
LOCKED = "schema check, as locked"
CHANGED = "schema check, every class changed"
SECONDS = "s"

_CALL = "from eventbus.cli import main; main(['-A', 'shop', 'schema', 'check'])"
_HEAD = """
from datetime import datetime
from enum import Enum
from uuid import UUID

from eventbus import Event, EventBus


class Channel(Enum):
    WEB = "web"
    SHOP = "shop"


"""
_CLASS = """
class Event{number}(Event, name="area{area}.happened{number}"):
    order_id: UUID
    customer_id: UUID
    paid_at: datetime
    channel: Channel
    is_gift: bool
    items: int
"""


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    note = f"{EVENTS} events with {VERSIONS} versions each"
    return [
        Contestant(LOCKED, lambda: _check(VERSIONS, 0), note),
        Contestant(CHANGED, lambda: _check(VERSIONS + 1, 4), f"{note}, and another one not locked"),
    ]


def _check(version: int, expected: int) -> Measures:
    with _application(version) as folder:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _CALL], cwd=folder, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
    if done.returncode != expected:
        raise BenchmarkFailed(f"schema check ended with {done.returncode}: {done.stderr[:500]}")
    return {SECONDS: seconds}


@contextmanager
def _application(version: int) -> Iterator[Path]:
    """A folder with the lock files, and a module whose classes are those of `version`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contracts = folder / "contracts"
        contracts.mkdir()
        for file, text in _lock_files().items():
            (contracts / file).write_text(text)
        classes = "".join(_source(number, version) for number in range(EVENTS))
        (folder / "shop.py").write_text(f'{_HEAD}{classes}\nbus = EventBus("shop")\n')
        yield folder


def _name(number: int) -> str:
    return f"area{number % 20}.happened{number}"


def _source(number: int, version: int) -> str:
    fields = "".join(f"    count_{one}: int = {one}\n" for one in range(1, version))
    return _CLASS.format(number=number, area=number % 20) + fields


@lru_cache(maxsize=1)
def _lock_files() -> dict[str, str]:
    """File name to text; each version has one field more."""
    namespace: dict[str, object] = {}
    exec(_HEAD, namespace)  # the types that the module has as well
    found = {}
    for number in range(EVENTS):
        name = _name(number)
        versions = tuple(
            _locked(_class(number, version, namespace), version)
            for version in range(1, VERSIONS + 1)
        )
        lock = LockFile(name, Format.JSON, versions, source="shop")
        found[f"{name}.lock.json"] = lock_text(lock)
    return found


def _class(number: int, version: int, namespace: dict[str, object]) -> type[Event]:
    made = dict(namespace)
    exec(_source(number, version), made)
    found = made[f"Event{number}"]
    assert isinstance(found, type)
    return found


def _locked(event_class: type[Event], version: int) -> LockedVersion:
    schema = writer_contract(event_class)
    mark = fingerprint(schema)
    return LockedVersion(version, id_of(mark), mark, schema)


def _goals(samples: Samples) -> list[Goal]:
    return [
        Goal(name, samples.of(name, SECONDS), 5.0, SECONDS, below=True)
        for name in (LOCKED, CHANGED)
    ]


CASE = Case(
    name="contracts",
    title="Contracts: eventbus schema check",
    notes=(
        "The command line in a fresh process, from its call to its end, without any server: "
        "reading the lock files, deriving the contract of each class, and comparing every version "
        "with all before it, in both directions (FULL_TRANSITIVE). Each version has one field more."
    ),
    contestants=_contestants,
    goals=_goals,
)
