"""Event ids: the layout of RFC 9562 and their order."""

from __future__ import annotations

import os
import threading
import time
import uuid

import pytest

from eventbus import identifiers
from eventbus.identifiers import new_event_id


def test_the_layout_is_that_of_uuid_7() -> None:
    before = time.time_ns() // 1_000_000
    made = new_event_id()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before - 1 <= made.int >> 80 <= after + 1_000


def test_each_id_is_greater_than_the_one_before() -> None:
    made = [new_event_id() for _ in range(50_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_are_unique_and_ordered_within_each_of_many_threads() -> None:
    results: list[list[uuid.UUID]] = []

    def make() -> None:
        results.append([new_event_id() for _ in range(5_000)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(made == sorted(made) for made in results)
    assert len({one for made in results for one in made}) == 40_000


def test_the_order_holds_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_event_id()
    monkeypatch.setattr(identifiers.time, "time_ns", lambda: 1_000_000_000)
    made = [first, *(new_event_id() for _ in range(10_000))]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_forked_child_makes_other_ids() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_event_id().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert uuid.UUID(bytes=pipe.read()) != new_event_id()
