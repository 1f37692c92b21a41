"""Alive and ready, from reports."""

from __future__ import annotations

import pytest

from eventbus.workers.monitoring.condition import STILL_SECONDS, Observer, Pulse, is_live, reasons
from eventbus.workers.monitoring.report import DISPATCHER, WORKER, QueueReport, Report


def worker(state: str = "running", **fields: object) -> Report:
    return Report(WORKER, "shop", "shop.worker", state=state, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "still_seconds", "live"),
    [
        ("running", 0.0, True),
        ("running", STILL_SECONDS, True),
        ("running", STILL_SECONDS + 1, False),
        ("replacing", STILL_SECONDS + 1, False),
        # It waits for servers, as long as it was told to.
        ("starting", 3600.0, True),
        # The shutdown time-out ends it.
        ("draining", 3600.0, True),
    ],
)
def test_a_loop_that_does_not_move_is_dead_only_while_it_should(
    state: str, still_seconds: float, live: bool
) -> None:
    assert is_live(worker(state), still_seconds) is live


def test_a_loop_is_still_for_as_long_as_its_beat_does_not_change() -> None:
    now = 100.0
    pulse = Pulse(clock=lambda: now)
    report = worker(beat=5.0)
    assert pulse.still_seconds(report) == 0
    now += 7
    assert pulse.still_seconds(report) == 7
    # The wall clock was set back: it moves all the same.
    report.beat = 1.0
    assert pulse.still_seconds(report) == 0


QUEUES = {
    "shop.billing": QueueReport(consuming=True),
    "shop.ledger": QueueReport(paused=True),
    "shop.mail": QueueReport(),
    "shop.audit": QueueReport(breaker="open", consuming=True),
}


@pytest.mark.parametrize(
    ("report", "startup_trouble", "expected"),
    [
        (worker(ready=True), None, []),
        # An operator's pause and an open breaker are no reason to roll a deployment back.
        (worker(ready=True, queues=QUEUES), None, []),
        (worker("starting"), None, ["starting"]),
        (worker("starting"), "no broker", ["starting: no broker"]),
        (worker("starting", trouble="no Redis"), None, ["starting: no Redis"]),
        (worker("draining", ready=True), None, ["draining"]),
        (worker(trouble="connection lost"), None, ["connection lost"]),
        (worker(queues=QUEUES), None, ["not consuming shop.mail"]),
        (worker(), None, ["not ready"]),
        (worker("replacing", ready=True), None, []),
        (Report(DISPATCHER, "shop", "d", state="running", ready=True), None, []),
    ],
)
def test_why_it_is_not_ready(
    report: Report, startup_trouble: str | None, expected: list[str]
) -> None:
    assert list(reasons(report, startup_trouble)) == expected


class Service:
    def __init__(self, report: Report) -> None:
        self._report = report

    def report(self) -> Report:
        return self._report


def test_a_pool_hangs_when_all_of_its_processes_do(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, moves = worker(pid=1, beat=1.0), worker(pid=2, beat=1.0)
    pool = Service(worker(pid=3, ready=True, children=[hangs, moves]))
    observer = Observer({"worker": pool})
    observer.look()
    monkeypatch.setattr("eventbus.workers.monitoring.condition.STILL_SECONDS", 0.0)
    pool.report().beat = moves.beat = 2.0
    now = observer.look()["worker"]
    assert now.live
    pool.report().beat = 3.0
    assert not observer.look()["worker"].live


def test_the_observer_looks_at_all_services_and_at_how_they_start() -> None:
    services = {"worker": Service(worker(ready=True)), "dispatcher": Service(worker("starting"))}
    found = Observer(services, {"dispatcher": "no tables"}.get).look()
    assert found["worker"].ready
    assert found["worker"].live
    assert found["dispatcher"].reasons == ("starting: no tables",)
