"""Deploys that register at the same time, in processes and threads of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy.engine import Engine

from eventbus.contracts import Mode, Schema
from eventbus.contracts.registry import database as registering
from eventbus.contracts.registry import statements
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.errors import IncompatibleContract
from tests.integration.registry.schemas import json_schema, reader

#: Registers the schema of its argument in rounds, each time when the others are ready, too.
_DEPLOY = """
import sys
from eventbus.contracts import Schema
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.database import make_engine
from eventbus.errors import IncompatibleContract

registry = DatabaseRegistry(make_engine(sys.argv[1]))
registry.subjects()
for line in sys.stdin:
    subject, _, text = line.partition(" ")
    try:
        print(registry.register(subject, Schema.of(text, "json")).version, flush=True)
    except IncompatibleContract:
        print("refused", flush=True)
"""


class Deploy:
    """A process that registers what it is told to."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _DEPLOY, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, subject: str, schema: Schema) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{subject} {json.dumps(json.loads(schema.text))}\n")
        self.process.stdin.flush()

    def end(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


ROUNDS = 5


def test_deploys_in_processes_of_their_own_agree(
    registry: DatabaseRegistry, database_url: str
) -> None:
    deploys = [Deploy(database_url) for _ in range(3)]
    try:
        for number in range(ROUNDS):
            for deploy in deploys:
                deploy.begin(f"same.{number}", json_schema("a"))
            assert [deploy.end() for deploy in deploys] == ["1", "1", "1"]
            for name, deploy in zip("abc", deploys, strict=True):
                deploy.begin(f"different.{number}", json_schema(name))
            # One was first; the others were compared with it.
            assert sorted(deploy.end() for deploy in deploys) == ["1", "refused", "refused"]
            assert registry.numbers(f"different.{number}") == [1]
    finally:
        for deploy in deploys:
            deploy.process.communicate(timeout=30)


def test_threads_number_their_versions_one_after_the_other(registry: DatabaseRegistry) -> None:
    registry.set_mode(Mode.NONE)
    threads = 6
    ready = Barrier(threads)

    def register(name: str) -> int:
        ready.wait(10)
        return registry.register("order.paid", json_schema(name)).version

    with ThreadPoolExecutor(threads) as pool:
        numbers = list(pool.map(register, "abcdef"))
    assert sorted(numbers) == registry.numbers("order.paid") == [1, 2, 3, 4, 5, 6]


def test_a_version_that_comes_in_during_the_comparison_is_compared_with_too(
    registry: DatabaseRegistry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DatabaseRegistry(engine)
    compare = registering.evolution
    calls = []

    def meanwhile(*arguments: object) -> object:
        calls.append(arguments)
        found = compare(*arguments)  # type: ignore[arg-type]
        if len(calls) == 1:
            other.register("order.paid", json_schema("theirs"))
        return found

    monkeypatch.setattr(registering, "evolution", meanwhile)
    with pytest.raises(IncompatibleContract):
        registry.register("order.paid", json_schema("ours"))
    assert registry.numbers("order.paid") == [1]


def test_a_stricter_mode_that_is_set_during_the_comparison_counts(
    registry: DatabaseRegistry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.set_mode(Mode.NONE)
    registry.register("order.paid", json_schema("a"))
    compare = registering.evolution
    other = DatabaseRegistry(engine)

    def meanwhile(*arguments: object) -> object:
        found = compare(*arguments)  # type: ignore[arg-type]
        if other.mode() is Mode.NONE:
            other.set_mode(Mode.FULL)
        return found

    monkeypatch.setattr(registering, "evolution", meanwhile)
    with pytest.raises(IncompatibleContract):
        registry.register("order.paid", json_schema("b"))


def test_workers_that_start_at_once_say_what_they_read(registry: DatabaseRegistry) -> None:
    threads = 6
    ready = Barrier(threads)

    def start(number: int) -> None:
        ready.wait(10)
        for _ in range(5):
            registry.add_readers([reader(json_schema("a"), seen_at_ms=number)])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(start, range(threads)))
    assert len(registry.readers("order.paid")) == 1


def test_a_registry_without_its_first_row_works(registry: DatabaseRegistry, engine: Engine) -> None:
    """Alembic makes tables, and no rows."""
    with engine.begin() as connection:
        statements.forget_settings(connection, statements.GLOBAL)
    threads = 4
    ready = Barrier(threads)

    def register(name: str) -> int:
        ready.wait(10)
        return registry.register(name, json_schema(name)).version

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(register, "abcd")) == [1, 1, 1, 1]
