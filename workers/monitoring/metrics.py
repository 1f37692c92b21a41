"""Reports as Prometheus metrics.

Names and units follow Prometheus' conventions. Labels take their values from what the application
declares, queues and handlers; nothing that comes with a message becomes one, so that their number
is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from eventbus.outbox.store import OutboxDepth

from .condition import Condition, Observer
from .outbox_sample import OutboxSample
from .report import DURATION_BOUNDS, HandlerCounts, QueueReport, Report

#: `HandlerCounts` that say what became of an event.
_OUTCOMES = {
    "succeeded": "succeeded",
    "duplicates": "duplicate",
    "skipped": "skipped",
    "retried": "retried",
    "dead_lettered": "dead_lettered",
    "returned": "returned",
}
_BREAKER_STATES = ("closed", "open", "half-open")
_PROCESS = ("kind", "name")
_HANDLER = ("name", "queue", "handler")
_QUEUE = ("name", "queue")


class Metrics:
    """The page ``/metrics``: ours, then what the application has in prometheus_client's registry.

    Parameters
    ----------
    outbox:
        None where this process does not publish: one that does tells of the outbox.
    """

    def __init__(self, observer: Observer, version: str, outbox: OutboxSample | None) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Ours(observer, version, outbox))

    def page(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, for a request that accepts `accept`."""
        encode, content_type = choose_encoder(accept)
        ours = encode(self._registry)
        try:
            theirs = encode(REGISTRY)
        except Exception:  # a collector of the application's must not hide ours
            return ours, content_type
        # OpenMetrics ends with a line that says so, once.
        return ours.removesuffix(b"# EOF\n") + theirs, content_type


class _Ours(Collector):
    def __init__(self, observer: Observer, version: str, outbox: OutboxSample | None) -> None:
        self._observer = observer
        self._version = version
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        conditions = list(self._observer.look().values())
        yield InfoMetricFamily(
            "eventbus", "The release of eventbus that runs.", {"version": self._version}
        )
        yield from _process_metrics(conditions)
        reports = [condition.report for condition in conditions]
        yield from _worker_metrics([report for report in reports if report.kind == "worker"])
        yield from _dispatcher_metrics([r for r in reports if r.kind == "dispatcher"])
        depth = self._outbox.read() if self._outbox is not None else None
        if depth is not None:
            yield from _outbox_metrics(depth)


def _process_metrics(conditions: list[Condition]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "eventbus_up", "Whether the loop of the service moves (1) or hangs (0).", labels=_PROCESS
    )
    ready = GaugeMetricFamily(
        "eventbus_ready", "Whether the service does its work, as /readyz says.", labels=_PROCESS
    )
    started = GaugeMetricFamily(
        "eventbus_start_time_seconds",
        "When the service started, in seconds since the epoch.",
        labels=_PROCESS,
    )
    for condition in conditions:
        labels = (condition.report.kind, condition.report.name)
        up.add_metric(labels, condition.live)
        ready.add_metric(labels, condition.ready)
        started.add_metric(labels, condition.report.started_at)
    return iter((up, ready, started))


# -- workers --------------------------------------------------------------------------------------


def _worker_metrics(reports: list[Report]) -> Iterator[Metric]:
    if not reports:
        return
    # Those of a prefork parent include what its children did, also those that are gone.
    queues = [(report.name, report.queues) for report in reports]
    yield from _handler_metrics(queues)
    yield from _queue_metrics(queues)
    running = GaugeMetricFamily(
        "eventbus_handlers_running", "Handlers that run now.", labels=("name",)
    )
    waiting = GaugeMetricFamily(
        "eventbus_messages_waiting",
        "Messages that the worker has and no handler has begun with.",
        labels=("name",),
    )
    for report in reports:
        running.add_metric((report.name,), report.running)
        waiting.add_metric((report.name,), report.waiting)
    yield running
    yield waiting
    yield from _pool_metrics([report for report in reports if report.pool == "prefork"])


def _handler_metrics(queues: list[tuple[str, dict[str, QueueReport]]]) -> Iterator[Metric]:
    events = CounterMetricFamily(
        "eventbus_handler_events",
        "Events by what became of them at a handler; duplicate: handled before, not run again.",
        labels=(*_HANDLER, "outcome"),
    )
    durations = HistogramMetricFamily(
        "eventbus_handler_duration_seconds",
        "How long runs of a handler took, whatever their outcome.",
        labels=_HANDLER,
    )
    for name, queue, handler, counts in _handlers(queues):
        for field, outcome in _OUTCOMES.items():
            events.add_metric((name, queue, handler, outcome), getattr(counts, field))
        durations.add_metric((name, queue, handler), _buckets(counts), counts.seconds)
    return iter((events, durations))


def _handlers(
    queues: list[tuple[str, dict[str, QueueReport]]],
) -> Iterator[tuple[str, str, str, HandlerCounts]]:
    for name, reports in queues:
        for queue, report in reports.items():
            for handler, counts in report.handlers.items():
                yield name, queue, handler, counts


def _buckets(counts: HandlerCounts) -> list[tuple[str, float]]:
    bounds = [*map(str, DURATION_BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(counts.durations), strict=True))


def _queue_metrics(queues: list[tuple[str, dict[str, QueueReport]]]) -> Iterator[Metric]:
    consuming = GaugeMetricFamily(
        "eventbus_queue_consuming", "Whether the broker sends its messages here.", labels=_QUEUE
    )
    paused = GaugeMetricFamily(
        "eventbus_queue_paused", "Whether an operator has paused it.", labels=_QUEUE
    )
    breaker = GaugeMetricFamily(
        "eventbus_breaker_state",
        "State of the subscription's circuit breaker: 1 at the state that it is in.",
        labels=(*_QUEUE, "state"),
    )
    parked = CounterMetricFamily(
        "eventbus_unreadable_messages",
        "Messages that could not be read and were parked.",
        labels=_QUEUE,
    )
    for name, reports in queues:
        for queue, report in reports.items():
            consuming.add_metric((name, queue), report.consuming)
            paused.add_metric((name, queue), report.paused)
            parked.add_metric((name, queue), report.parked)
            for state in _BREAKER_STATES:
                breaker.add_metric((name, queue, state), report.breaker == state)
    return iter((consuming, paused, breaker, parked))


def _pool_metrics(reports: list[Report]) -> Iterator[Metric]:
    if not reports:
        return
    alive = GaugeMetricFamily(
        "eventbus_pool_processes", "Processes of the prefork pool that are alive.", labels=("name",)
    )
    deaths = CounterMetricFamily(
        "eventbus_pool_deaths",
        "Processes of the prefork pool that died, not told to end, and were replaced.",
        labels=("name",),
    )
    for report in reports:
        alive.add_metric((report.name,), len(report.children))
        deaths.add_metric((report.name,), report.deaths)
    yield alive
    yield deaths


# -- dispatchers ----------------------------------------------------------------------------------


def _dispatcher_metrics(reports: list[Report]) -> Iterator[Metric]:
    if not reports:
        return
    published = CounterMetricFamily(
        "eventbus_outbox_publishes",
        "Attempts to publish an event, by outcome: published; unrouted: published, and no queue "
        "is bound; refused: to be tried again; failed: given up and kept.",
        labels=("name", "outcome"),
    )
    held = GaugeMetricFamily(
        "eventbus_outbox_held_names",
        "Names of events that wait because a queue is full.",
        labels=("name",),
    )
    for report in reports:
        for outcome, count in report.counts.items():
            published.add_metric((report.name, outcome), count)
        held.add_metric((report.name,), len(report.held))
    yield published
    yield held


def _outbox_metrics(depth: OutboxDepth) -> Iterator[Metric]:
    events = GaugeMetricFamily(
        "eventbus_outbox_events",
        "Events in the outbox: pending; delayed: not due yet; failed: given up and kept; unrouted: "
        "published, and no queue was bound.",
        labels=("state",),
    )
    for state in ("pending", "delayed", "failed", "unrouted"):
        events.add_metric((state,), getattr(depth, state))
    yield events
    yield GaugeMetricFamily(
        "eventbus_outbox_oldest_age_seconds",
        "Age of the oldest event that waits to be published; 0 where none waits.",
        (depth.oldest_age_ms or 0) / 1000,
    )
