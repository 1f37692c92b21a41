"""Celery: pool solo, acks_late, without idempotency and without validation."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import celery
from kombu import Connection, Exchange, Queue

from tests.waiting import wait_until

from ..errors import expect
from ..process import answer, given
from ..workload import PREFETCH, events
from .tally import Tally

QUEUE = "bench.celery"

#: What its documentation offers for speed and safety, and nothing that the case does not need.
SETTINGS = {
    "task_acks_late": True,
    "task_ignore_result": True,
    "task_serializer": "json",
    "task_default_queue": QUEUE,
    "worker_prefetch_multiplier": PREFETCH,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_disable_rate_limits": True,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "broker_connection_retry_on_startup": True,
}
COMMAND = (
    "worker --pool=solo --concurrency=1 --without-gossip --without-mingle --without-heartbeat "
    "--loglevel=ERROR"
)


def make_app(url: str, arguments: dict[str, Any]) -> celery.Celery:
    """An application with one durable queue of the same kind as ours."""
    app = celery.Celery("bench", broker=url)
    app.conf.update(SETTINGS)
    exchange = Exchange(QUEUE, type="direct")
    app.conf.task_queues = [Queue(QUEUE, exchange, routing_key=QUEUE, queue_arguments=arguments)]
    return app


def fill(app: celery.Celery, task: Any, count: int) -> None:
    """Send `count` tasks, each with the body of one of our events as its argument."""
    with app.producer_pool.acquire(block=True) as producer:
        for event in events(count):
            task.apply_async((event.__wire__(),), producer=producer)


def stop_soon() -> None:
    """Stop the worker as an operator would, a little later: its last acks are not out yet."""
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()


def depth(url: str) -> int:
    """Messages that are ready in the queue."""
    with Connection(url) as connection:
        return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)


def main(count: int, arguments: dict[str, Any], broker_url: str, **settings: Any) -> None:
    """Handle `count` tasks that are in the queue."""
    app = make_app(broker_url, arguments)
    tally = Tally(count, stop_soon)

    @app.task
    def handler(data: dict[str, Any]) -> None:
        tally.take(data["number"])

    fill(app, handler, count)
    # Celery publishes without confirms: what is sent is not yet there.
    wait_until(lambda: depth(broker_url) == count, 10, "all tasks in the queue")
    try:
        app.worker_main(COMMAND.split())
    except SystemExit as end:
        expect("Celery's exit code", end.code or 0, 0)
    rate = tally.rate()
    # What was acknowledged last may still be on its way to the queue.
    wait_until(lambda: depth(broker_url) == 0, 10, "an empty queue")
    answer(rate=rate)


if __name__ == "__main__":
    main(**given())
