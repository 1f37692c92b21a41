"""Schemas by id: what is slow, silent or unknown is not asked for again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventbus import EventBus
from eventbus.contracts import writers
from eventbus.contracts.registry.port import RegisteredSchema
from eventbus.contracts.schema import Format, Schema
from eventbus.contracts.writers import NotYetAnswered, Questions, WriterSchemas
from eventbus.errors import RegistryUnavailable, UndecodableMessage, UnknownSchema
from tests.waiting import wait_until

SCHEMA = Schema(Format.AVRO, '{"type": "record", "name": "a", "fields": []}')


class Answers:
    """A registry of which only the look-up by id is asked."""

    def __init__(self, answer: Callable[[int], RegisteredSchema]) -> None:
        self.asked: list[int] = []
        self._answer = answer

    def by_id(self, id: int) -> RegisteredSchema:
        self.asked.append(id)
        return self._answer(id)


def registered(id: int) -> RegisteredSchema:
    """What a registry knows."""
    return RegisteredSchema("order.paid", 3, id, SCHEMA)


def schemas(tmp_path: Path, registry: Any) -> WriterSchemas:
    """With no lock file, and this registry."""
    bus = EventBus("shop", contracts=str(tmp_path), database_url=f"sqlite:///{tmp_path}/a.db")
    found = WriterSchemas(bus)
    found.__dict__["_questions"] = Questions(registry)
    return found


def test_a_schema_is_asked_for_once(tmp_path: Path) -> None:
    registry = Answers(registered)
    found = schemas(tmp_path, registry)
    for _ in range(3):
        writer = found.by_id(7, "order.paid")
    assert (writer.version, writer.contract) == (3, "order.paid version 3")
    assert registry.asked == [7]


def test_the_version_of_another_subject_is_not_taken_for_that_of_the_event(tmp_path: Path) -> None:
    writer = schemas(tmp_path, Answers(registered)).by_id(7, "order.sent")
    assert (writer.version, writer.contract) == (None, "order.paid version 3")


def test_an_unknown_id_is_remembered(tmp_path: Path) -> None:
    def unknown(id: int) -> RegisteredSchema:
        raise UnknownSchema("no such id")

    registry = Answers(unknown)
    found = schemas(tmp_path, registry)
    for _ in range(3):
        with pytest.raises(UndecodableMessage, match="schema 7"):
            found.by_id(7, "order.paid")
    assert registry.asked == [7]


def test_what_is_remembered_as_unknown_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(id: int) -> RegisteredSchema:
        raise UnknownSchema("no such id")

    monkeypatch.setattr(writers, "UNKNOWN_MAX", 10)
    found = schemas(tmp_path, Answers(unknown))
    for id in range(1, 50):
        with pytest.raises(UndecodableMessage):
            found.by_id(id, "order.paid")
    assert len(found._unknown) <= 10


def test_a_registry_that_is_down_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = threading.Event()

    def answer(id: int) -> RegisteredSchema:
        if not up.is_set():
            raise RegistryUnavailable("connection refused")
        return registered(id)

    registry = Answers(answer)
    found = schemas(tmp_path, registry)
    for id in (7, 8, 9):
        with pytest.raises(RegistryUnavailable):
            found.by_id(id, "order.paid")
    assert registry.asked == [7]
    up.set()
    found._silent_until = 0.0
    assert found.by_id(7, "order.paid").version == 3


def test_a_slow_registry_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "PATIENCE_SECONDS", 0.2)
    go = threading.Event()

    def slow(id: int) -> RegisteredSchema:
        assert go.wait(30)
        return registered(id)

    registry = Answers(slow)
    questions = Questions(registry)  # type: ignore[arg-type]
    with pytest.raises(NotYetAnswered):
        questions.by_id(1)
    began = time.monotonic()
    for _ in range(50):
        for id in range(1, 20):
            with pytest.raises(NotYetAnswered):
                questions.by_id(id)
    assert time.monotonic() - began < 5, "nobody waited again"
    assert len(registry.asked) == writers.QUESTIONS_MAX
    go.set()

    def answered() -> RegisteredSchema:
        return questions.by_id(1)

    assert wait_until(answered, 10, "the answer", retry_on=NotYetAnswered).id == 1
