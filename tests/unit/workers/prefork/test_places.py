"""Who works at a place, who takes over, and what a parent tells of them."""

from __future__ import annotations

from typing import Any

from eventbus import Event, EventBus
from eventbus.workers.monitoring.report import WORKER, HandlerCounts, QueueReport, Report
from eventbus.workers.options import WorkerOptions
from eventbus.workers.prefork.places import Child, Place
from eventbus.workers.prefork.summary import Summary


class Happened(Event, name="places.happened"):
    number: int


bus = EventBus("places")


@bus.handler(Happened, queue="q")
def handle(event: Happened) -> None: ...


def _child(succeeded: int = 0, **values: Any) -> Child:
    child = Child(process=None)  # type: ignore[arg-type]
    counts = HandlerCounts(succeeded=succeeded)
    queues = {"places.q": QueueReport(consuming=True, handlers={"handle": counts})}
    child.report = Report(WORKER, "places", "places.worker.1", queues=queues, **values)
    return child


def _summary() -> Summary:
    options = WorkerOptions(pool="prefork", concurrency=2)
    return Summary("places.worker", "places", options, [bus.subscription("q")])


def _succeeded(summary: Summary) -> int:
    return summary.report.queues["places.q"].handlers["handle"].succeeded


def test_a_newcomer_takes_over_and_the_one_before_finishes() -> None:
    place = Place(1, child=(before := _child()))
    place.newcomer = newcomer = _child()
    assert list(place.children) == [before, newcomer]
    assert place.take_over() is before
    assert before.leaving
    assert (place.child, place.newcomer, place.leavers) == (newcomer, None, [before])
    place.remove(before)
    assert list(place.children) == [newcomer]


def test_a_place_tells_of_deaths_until_a_process_has_lived_for_a_while() -> None:
    place = Place(3, death="by SIGSEGV")
    assert place.trouble(0.0) is None
    place.crashes.deaths = 4
    place.start_at = 8.0
    assert place.trouble(0.5) == (
        "process 3 died 4 times in a row, by SIGSEGV; the next one starts in 8 s"
    )
    place.child = Child(None, started_at=8.0)  # type: ignore[arg-type]
    assert place.trouble(9.0) == "process 3 died 4 times in a row, by SIGSEGV"
    assert place.trouble(1_000.0) is None


def test_the_counts_of_a_pool_never_shrink_when_a_child_goes() -> None:
    summary = _summary()
    first, second = _child(3, ready=True, running=1), _child(4)
    summary.update("running", [first, second], [])
    assert _succeeded(summary) == 7
    summary.keep_counts_of(first)
    summary.update("running", [second], [])
    assert _succeeded(summary) == 7
    summary.keep_counts_of(second)
    summary.update("running", [], [])
    assert _succeeded(summary) == 7
    assert not summary.report.queues["places.q"].consuming


def test_a_pool_is_ready_when_one_child_is_and_tells_each_trouble_once() -> None:
    summary = _summary()
    summary.update("starting", [], [])
    assert not summary.report.ready
    children = [_child(ready=True), _child(trouble="away"), _child(trouble="away")]
    summary.update("running", children, ["process 1 died"])
    report = summary.report
    assert report.ready
    assert report.trouble == "process 1 died; away"
    assert Report.from_dict(report.as_dict()).children == report.children
