"""Rates are the difference of two reports over the time between them."""

from __future__ import annotations

import dataclasses
import json

import pytest

from eventbus.workers.monitoring.rates import QueueRates, Rates, sample
from eventbus.workers.monitoring.report import WORKER, HandlerCounts, QueueReport, Report


def worker(**handlers: HandlerCounts) -> Report:
    report = Report(WORKER, "shop", "shop.worker")
    report.queues["shop.billing"] = QueueReport(handlers=dict(handlers))
    return report


def counts(succeeded: int = 0, **others: int) -> HandlerCounts:
    found = HandlerCounts(succeeded=succeeded, **others)
    for _ in range(succeeded):
        found.add_duration(0.02)
    return found


def test_the_first_look_knows_no_rate() -> None:
    assert sample(worker(charge=counts(100)), 5.0).since(None) == Rates()


def test_a_rate_is_the_growth_over_the_time() -> None:
    before = sample(worker(charge=counts(10)), 100.0)
    after = sample(worker(charge=counts(30, duplicates=4, retried=6, dead_lettered=2)), 104.0)
    rates = after.since(before).queues["shop.billing"]
    assert rates.handled == (20 + 4) / 4
    assert rates.failed == (6 + 2) / 4
    assert rates.mean_run_ms == pytest.approx(20)


def test_what_could_not_be_read_counts_as_failed() -> None:
    report = worker(charge=counts())
    before = sample(report, 1.0)
    report.queues["shop.billing"].parked = 5
    assert sample(report, 2.0).since(before).all_queues.failed == 5


def test_the_handlers_and_the_queues_are_added_up() -> None:
    report = worker(charge=counts(3), book=counts(5))
    report.queues["shop.ledger"] = QueueReport(handlers={"note": counts(2)})
    before = sample(worker(charge=counts(), book=counts()), 0.0)
    assert sample(report, 1.0).since(before).all_queues.handled == 10


def test_a_dispatcher_publishes() -> None:
    report = Report("dispatcher", "shop", "shop.dispatcher")
    report.counts = {"published": 10}
    before = sample(report, 0.0)
    report.counts = {"published": 110}
    assert sample(report, 4.0).since(before).published == 25


def test_the_children_of_a_prefork_parent_are_added_up() -> None:
    parent = Report(WORKER, "shop", "shop.worker")
    parent.children = [worker(charge=counts()), worker(charge=counts())]
    before = sample(parent, 0.0)
    parent.children = [worker(charge=counts(4)), worker(charge=counts(6))]
    assert sample(parent, 1.0).since(before).all_queues.handled == 10


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_no_time_between_two_looks_is_no_rate(seconds: float) -> None:
    before = sample(worker(charge=counts(1)), 10.0)
    assert sample(worker(charge=counts(9)), 10.0 + seconds).since(before) == Rates()


def test_counts_that_begin_anew_give_no_negative_rate() -> None:
    before = sample(worker(charge=counts(1000)), 0.0)
    assert sample(worker(charge=counts(5)), 1.0).since(before).all_queues.handled == 0


def test_no_run_has_no_mean() -> None:
    assert QueueRates(handled=5).mean_run_ms is None


def test_rates_go_through_json_unchanged() -> None:
    rates = Rates(1.5, {"shop.billing": QueueRates(1, 2, 3, 4)})
    assert Rates.from_dict(json.loads(json.dumps(dataclasses.asdict(rates)))) == rates


def test_what_a_later_version_adds_is_left_out() -> None:
    data = {"published": 2, "more": 1, "queues": {"shop.billing": {"handled": 3, "new": 4}}}
    assert Rates.from_dict(data) == Rates(2, {"shop.billing": QueueRates(handled=3)})
