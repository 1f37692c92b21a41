"""A report is one row of bounded size, whatever the process is like."""

from __future__ import annotations

import json

from eventbus.workers.monitoring import processes
from eventbus.workers.monitoring.rates import QueueRates, Rates
from eventbus.workers.monitoring.report import WORKER, HandlerCounts, QueueReport, Report


def worker() -> Report:
    report = Report(WORKER, "shop", "shop.worker", state="running", ready=True)
    report.queues["shop.billing"] = QueueReport(
        consuming=True, handlers={"charge": HandlerCounts(succeeded=3)}
    )
    return report


def test_a_report_comes_back_without_its_histograms() -> None:
    report = worker()
    report.queues["shop.billing"].handlers["charge"].add_duration(0.2)
    data = json.loads(json.dumps(processes.brief(report)))
    assert "durations" not in data["queues"]["shop.billing"]["handlers"]["charge"]
    back = Report.from_dict(data)
    assert back.queues["shop.billing"].handlers["charge"].succeeded == 3
    assert (back.pid, back.state, back.ready) == (report.pid, "running", True)


def test_the_queues_of_children_are_added_up() -> None:
    parent = Report(WORKER, "shop", "shop.worker", pool="prefork")
    parent.children = [worker(), worker()]
    data = processes.brief(parent)
    assert data["queues"]["shop.billing"]["handlers"]["charge"]["succeeded"] == 6
    assert len(data["children"]) == 2
    assert all("queues" not in child for child in data["children"])


def test_a_report_of_any_size_fits() -> None:
    report = worker()
    report.trouble = "x" * 10_000_000
    report.held = ["y" * 10_000] * 10_000
    report.children = [worker() for _ in range(5_000)]
    for number in range(2_000):
        handlers = {f"handler-{n}": HandlerCounts() for n in range(50)}
        report.queues[f"shop.queue-{number}"] = QueueReport(handlers=handlers)
    rates = Rates(queues={name: QueueRates(1) for name in report.queues})
    text = processes._dump(report, rates, 0)
    assert len(text) <= processes.REPORT_MAX_LENGTH
    back = processes._load("id", text, processes.LEASE_MS)
    assert back is not None
    assert back.report.pid == report.pid
    assert len(back.report.queues) == processes.QUEUES_MAX


def test_what_a_database_would_refuse_is_escaped() -> None:
    report = worker()
    report.trouble = "nul \x00 and half a pair \ud800"
    text = processes._dump(report, Rates(), 0)
    assert text.isascii()
    assert "\x00" not in text
    back = processes._load("id", text, processes.LEASE_MS)
    assert back is not None
    assert back.report.trouble == report.trouble


def test_a_row_that_another_version_wrote_is_passed_over() -> None:
    for text in ("", "[]", "null", "{}", '{"queues": 3}', '{"rates": {}, "beat_age_ms": 1}'):
        assert processes._load("id", text, 0) is None


def test_a_lease_tells_how_long_ago_it_was_renewed() -> None:
    text = processes._dump(worker(), Rates(published=5), 0)
    fresh = processes._load("id", text, processes.LEASE_MS - 1_000)
    old = processes._load("id", text, processes.LEASE_MS - 10_000)
    gone = processes._load("id", text, -25_000)
    assert fresh is not None
    assert (fresh.seen_ms, fresh.gone, fresh.rates.published) == (1_000, False, 5)
    assert old is not None
    # It has done nothing that we know of since.
    assert (old.seen_ms, old.gone, old.rates.published) == (10_000, False, 0)
    assert gone is not None
    assert (gone.seen_ms, gone.gone) == (40_000, True)
