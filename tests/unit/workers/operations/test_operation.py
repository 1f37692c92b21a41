"""An operation's audit row, its limits and its endings; on a database of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eventbus import database
from eventbus.errors import NotResumable, OperationInterrupted, OperationStopped, UnknownName
from eventbus.workers.operations.audit import (
    LOST_AFTER_MS,
    RUNNING,
    OperationLog,
    OperationRecord,
    who,
)
from eventbus.workers.operations.operation import Limits, Operation, resumable
from tests.waiting import wait_until


@pytest.fixture
def log(tmp_path: Path) -> OperationLog:
    engine = database.make_engine(f"sqlite:///{tmp_path / 'eventbus.db'}")
    database.upgrade(engine)
    return OperationLog(engine)


def test_the_row_is_there_while_it_runs_and_tells_all(log: OperationLog) -> None:
    with Operation("dlq.replay", {"queue": ["q"]}, log, total=10) as operation:
        begun = log.find(operation.id)
        operation.advance(4, failed=1, position=17)
        wait_until(lambda: log.find(operation.id).done == 4, 10, "the counts")
        running = log.find(operation.id)
    ended = log.find(operation.id)
    assert (begun.state, begun.started_by, begun.total) == (RUNNING, who(), 10)
    assert (running.state, running.failed, running.position) == (RUNNING, 1, 17)
    assert (ended.state, ended.done, ended.error) == ("done", 4, None)
    assert ended.finished_at_ms is not None
    assert ended.parameters == {"queue": ["q"]}


def test_the_row_says_that_it_is_alive_while_nothing_moves(log: OperationLog) -> None:
    with Operation("dlq.replay", {}, log) as operation:
        first = log.find(operation.id).updated_at_ms
        wait_until(lambda: log.find(operation.id).updated_at_ms > first, 10, "a sign of life")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (OperationInterrupted("by a person"), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (OperationStopped("too many"), "stopped"),
        (RuntimeError("broken"), "failed"),
    ],
)
def test_what_ends_it_is_in_its_row(log: OperationLog, error: BaseException, state: str) -> None:
    with pytest.raises(type(error)), Operation("dlq.replay", {}, log) as operation:
        raise error
    found = log.find(operation.id)
    assert (found.state, found.error) == (state, str(error) or type(error).__name__)


def test_an_interrupt_ends_it_at_the_next_batch() -> None:
    operation = Operation("dlq.replay", {}, total=100)
    with pytest.raises(OperationInterrupted, match="after 10 of 100"), operation:
        operation.advance(operation.next_batch(10))
        operation.interrupt()
        operation.next_batch(10)


@pytest.mark.parametrize(
    ("done", "failed", "ratio", "exceeded"),
    [
        (19, 19, 0.0, False),  # too few to say
        (20, 0, 0.0, False),
        (20, 1, 0.0, True),
        (100, 10, 0.1, False),
        (100, 11, 0.1, True),
        (100, 100, 1.0, False),
        (100, 100, None, False),
    ],
)
def test_a_ratio_of_failures(done: int, failed: int, ratio: float | None, exceeded: bool) -> None:
    assert Limits(stop_on_failures=ratio).exceeded(done, failed) is exceeded


def test_too_many_failures_stop_it() -> None:
    operation = Operation("dlq.replay", {}, limits=Limits(stop_on_failures=0.1))
    with pytest.raises(OperationStopped, match="30 of 100 failed"), operation:
        operation.advance(100, failed=30)
        operation.next_batch(10)


def test_a_resumed_operation_goes_on_counting_in_the_same_row(log: OperationLog) -> None:
    with pytest.raises(OperationInterrupted), Operation("k", {"a": 1}, log, total=10) as first:
        first.advance(4, position=3)
        raise OperationInterrupted("x")
    record = resumable(log.find(first.id), "k")
    with Operation("k", {"a": 1}, log, total=6, resumed=record) as second:
        second.advance(6)
    found = log.find(first.id)
    assert (second.id, found.done, found.total, found.runs) == (first.id, 10, 10, 2)
    assert (found.state, found.error, found.position) == ("done", None, 3)


def test_only_what_ended_early_and_is_of_the_kind_can_be_resumed() -> None:
    record = OperationRecord("1", "k", RUNNING, "ada@shop", 0, 10**15)
    with pytest.raises(NotResumable, match="running now, started by ada@shop"):
        resumable(record, "k")
    with pytest.raises(NotResumable, match="is a k, not a j"):
        resumable(record, "j")
    with pytest.raises(NotResumable, match="is done"):
        resumable(replace(record, state="done"), "k")
    killed = replace(record, updated_at_ms=0)
    assert killed.state_at(LOST_AFTER_MS + 1) == "killed"
    assert resumable(killed, "k") is killed


def test_a_database_that_is_away_is_told_once_and_holds_nothing_up(tmp_path: Path) -> None:
    engine = database.make_engine(f"sqlite:///{tmp_path}/no/such/folder/eventbus.db")
    warnings: list[str] = []
    with Operation("k", {}, OperationLog(engine), warn=warnings.append) as operation:
        operation.advance(operation.next_batch(5))
    assert operation.record.done == 5
    assert len(warnings) == 1
    assert "cannot be written, it goes on" in warnings[0]


def test_a_database_that_comes_back_gets_the_row(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    engine = database.make_engine(f"sqlite:///{folder}/eventbus.db")
    with Operation("k", {}, OperationLog(engine), warn=lambda text: None) as operation:
        folder.mkdir()
        database.upgrade(engine)
        operation.advance(3)
    assert OperationLog(engine).find(operation.id).done == 3


def test_the_latest_come_first_by_group_of_kinds(log: OperationLog) -> None:
    for number, kind in enumerate(["dlq.replay", "replay", "dlq.delete", "dlqx"]):
        log.write(OperationRecord(str(number), kind, RUNNING, "a", number, number))
    assert [one.id for one in log.latest(10)] == ["3", "2", "1", "0"]
    assert [one.id for one in log.latest(1)] == ["3"]
    assert [one.id for one in log.latest(10, "dlq")] == ["2", "0"]
    assert [one.id for one in log.latest(10, "replay")] == ["1"]


def test_an_unknown_operation_names_the_command_that_lists_them(log: OperationLog) -> None:
    with pytest.raises(UnknownName, match="eventbus operations list"):
        log.find("nope")


def test_text_that_no_database_takes_is_stored_escaped(log: OperationLog) -> None:
    evil = "\0\ud800\x1b[2J"
    with pytest.raises(RuntimeError), Operation("k", {"text": evil}, log) as operation:
        raise RuntimeError(evil)
    found = log.find(operation.id)
    assert found.parameters == {"text": evil}
    assert found.error == "\\x00\\ud800\x1b[2J"
