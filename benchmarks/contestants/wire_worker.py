"""One worker, solo, for events of one flavour."""

from __future__ import annotations

from typing import Any

from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker

from ..flavours import bus_of
from ..process import answer, given
from ..workload import PREFETCH
from .tally import Tally


def main(count: int, flavour: str, **settings: Any) -> None:
    """Handle `count` messages that are in the queue."""
    tally = Tally(count, lambda: worker.stop())
    bus = bus_of(flavour, lambda event: tally.take(event.number), **settings)
    worker = Worker(bus, WorkerOptions(pool="solo", prefetch=PREFETCH))
    worker.run()
    answer(rate=tally.rate())


if __name__ == "__main__":
    main(**given())
