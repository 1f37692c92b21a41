"""One worker: marshmallow validation, Redis idempotency, batched acks."""

from __future__ import annotations

from typing import Any

from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker

from ..process import answer, given
from ..workload import PREFETCH, OrderPaid, make_bus
from .tally import Tally


def main(count: int, pool: str, **settings: Any) -> None:
    """Handle `count` messages that are in the queue."""
    tally = Tally(count, lambda: worker.stop())

    def handler(event: OrderPaid) -> None:
        tally.take(event.number)

    worker = Worker(make_bus(handler, **settings), WorkerOptions(pool=pool, prefetch=PREFETCH))
    worker.run()
    answer(rate=tally.rate())


if __name__ == "__main__":
    main(**given())
