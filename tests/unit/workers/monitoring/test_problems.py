"""The verdict: from what on something is a problem, what is only to be known, what comes first."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from eventbus.outbox.store import OutboxDepth
from eventbus.workers.monitoring.pauses import Pause
from eventbus.workers.monitoring.problems import Thresholds, count_problems, find_problems
from eventbus.workers.monitoring.processes import ProcessRow
from eventbus.workers.monitoring.rates import Rates
from eventbus.workers.monitoring.report import DISPATCHER, WORKER, Report
from eventbus.workers.monitoring.snapshot import QueueState, Snapshot

HEALTHY_OUTBOX = OutboxDepth(pending=0, held=0, delayed=0, failed=0, oldest_age_ms=None, unrouted=0)
HEALTHY_QUEUE = QueueState(
    "shop.billing",
    ready=3,
    consumers=1,
    retrying=0,
    dead_letters=0,
    overflow=0,
    exists=True,
    declared=True,
)
#: Of everything here, however long ago this module was imported.
NOW = time.time()
PAUSE = Pause("shop.billing", 0, "ada@shop-3", "the bank is down")


def process(kind: str = WORKER, **values: Any) -> ProcessRow:
    row = {"seen_ms": 500, "gone": False, "beat_age_ms": 0}
    row.update({name: values.pop(name) for name in list(values) if name in row})
    report = Report(
        kind,
        "shop",
        f"shop.{kind}",
        state="running",
        ready=True,
        host="shop-3",
        pid=7,
        started_at=NOW,
        beat=NOW,
    )
    return ProcessRow("id", dataclasses.replace(report, **values), Rates(), **row)


def snapshot(**values: Any) -> Snapshot:
    defaults: dict[str, Any] = {
        "outbox": HEALTHY_OUTBOX,
        "processes": (process(), process(DISPATCHER)),
        "queues": (HEALTHY_QUEUE,),
    }
    return Snapshot("shop", NOW, **{**defaults, **values})


def outbox(**values: Any) -> dict[str, Any]:
    return {"outbox": dataclasses.replace(HEALTHY_OUTBOX, **values)}


def queue(**values: Any) -> dict[str, Any]:
    return {"queues": (dataclasses.replace(HEALTHY_QUEUE, **values),)}


def processes(*rows: ProcessRow) -> dict[str, Any]:
    return {"processes": rows}


def test_a_healthy_system_has_no_problem() -> None:
    assert find_problems(snapshot()) == []


PROBLEMS: list[tuple[str, dict[str, Any], str]] = [
    ("unreachable", {"away": {"database": "it is away"}}, "database: it is away"),
    ("unreachable", {"away": {"broker": "refused"}}, "broker: refused"),
    (
        "unreachable",
        {"away": {"database": "no file", "broker": "no file"}},
        "database and broker: no file",
    ),
    ("outbox-age", outbox(pending=5, oldest_age_ms=61_000), "waits for 61 s"),
    ("outbox-failed", outbox(failed=1), "1 event could not be published"),
    (
        "no-dispatcher",
        {**outbox(pending=2), **processes(process())},
        "2 events in the outbox and no dispatcher runs",
    ),
    (
        "no-dispatcher",
        {**outbox(delayed=1), **processes(process())},
        "1 event in the outbox and no dispatcher runs",
    ),
    (
        "held",
        processes(process(), process(DISPATCHER, held=["order.paid"])),
        "held back because a queue is full: order.paid",
    ),
    ("gone", processes(process(gone=True, seen_ms=40_000)), "last seen 40 s ago"),
    ("stuck", processes(process(beat_age_ms=61_000)), "has not moved for 61 s"),
    ("not-ready", processes(process(trouble="no route to host", ready=False)), "no route to host"),
    ("not-ready", processes(process(ready=False)), "worker shop.worker on shop-3 (pid 7): not rea"),
    (
        "not-ready",
        processes(process(ready=False, state="starting", started_at=time.time() - 100)),
        "starting",
    ),
    (
        "not-ready",
        processes(*[process(trouble="refused", ready=False)] * 4),
        "worker shop.worker on shop-3 (pid 7) and 3 more: refused",
    ),
    ("missing", queue(exists=False, ready=None, consumers=None), "not on the broker"),
    ("no-consumer", queue(consumers=0), "shop.billing: 3 messages and no consumer"),
    ("no-consumer", queue(consumers=0, ready=0), "shop.billing: no consumer"),
    ("breaker", queue(breaker="open", consumers=0), "the circuit breaker is open"),
    ("breaker", queue(breaker="half-open"), "the circuit breaker is half-open"),
    ("backlog", queue(ready=10_001), "10001 messages ready"),
    ("dead-letters", queue(dead_letters=1), "1 message in shop.billing.dlq"),
    ("overflow", queue(overflow=7), "7 messages in its overflow queue"),
]


@pytest.mark.parametrize(("kind", "values", "text"), PROBLEMS)
def test_a_problem_is_told_with_its_numbers(kind: str, values: dict[str, Any], text: str) -> None:
    (found,) = find_problems(snapshot(**values))
    assert (found.kind, found.notice) == (kind, False)
    assert text in found.text


NOTICES: list[tuple[str, dict[str, Any], str]] = [
    ("unrouted", outbox(unrouted=3), "3 events without a queue"),
    (
        "paused",
        queue(pause=PAUSE, consumers=0),
        "shop.billing is paused by ada@shop-3: the bank is down",
    ),
    ("gone", processes(process(gone=True), process()), "was killed or is cut off"),
]


@pytest.mark.parametrize(("kind", "values", "text"), NOTICES)
def test_what_somebody_meant_or_what_passes_is_a_notice(
    kind: str, values: dict[str, Any], text: str
) -> None:
    (found,) = find_problems(snapshot(**values))
    assert (found.kind, found.notice) == (kind, True)
    assert text in found.text
    assert count_problems([found]) == 0


NOTHING: list[dict[str, Any]] = [
    outbox(pending=5, oldest_age_ms=60_000),
    outbox(delayed=9),
    queue(ready=10_000),
    # Nobody declares it and it holds nothing: what is left of an application that was removed.
    queue(declared=False, consumers=0, ready=0),
    queue(declared=False, exists=False),
    # The broker is away: that is told once, not for each queue.
    queue(exists=None, ready=None, consumers=None, dead_letters=None, overflow=None),
    # An application that only consumes needs no dispatcher.
    processes(process()),
    processes(process(ready=False, state="draining")),
    processes(process(ready=False, state="starting")),
]


@pytest.mark.parametrize("values", NOTHING)
def test_what_is_within_limits_is_not_told(values: dict[str, Any]) -> None:
    assert find_problems(snapshot(**values)) == []


def test_a_paused_queue_still_has_its_other_problems() -> None:
    found = find_problems(snapshot(**queue(pause=PAUSE, consumers=0, ready=20_000)))
    assert [one.kind for one in found] == ["backlog", "paused"]


def test_problems_come_before_notices_and_servers_before_all() -> None:
    found = find_problems(
        snapshot(
            away={"broker": "refused"},
            **outbox(unrouted=1, failed=1),
            **queue(dead_letters=2, pause=PAUSE),
        )
    )
    assert [one.kind for one in found] == [
        "unreachable",
        "outbox-failed",
        "dead-letters",
        "unrouted",
        "paused",
    ]


def test_the_thresholds_are_the_callers() -> None:
    limits = Thresholds(outbox_age_ms=1_000, ready=2, dead_letters=5)
    values = {**outbox(pending=1, oldest_age_ms=1_500), **queue(ready=3, dead_letters=5)}
    assert [one.kind for one in find_problems(snapshot(**values), limits)] == [
        "outbox-age",
        "backlog",
    ]


def test_without_a_database_nothing_is_said_of_processes() -> None:
    found = find_problems(
        snapshot(outbox=None, processes=None, away={"database": "refused"}, **queue(consumers=0))
    )
    assert [one.kind for one in found] == ["unreachable", "no-consumer"]
