"""One worker, solo, for events of one flavour."""

from __future__ import annotations

import time
from typing import Any

from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker

from ..flavours import bus_of
from ..process import answer, given
from ..workload import PREFETCH
from .tally import Tally


def main(count: int, flavour: str, **settings: Any) -> None:
    """Handle `count` messages that are in the queue."""
    cpu: list[float] = []

    def finished() -> None:
        cpu.append(time.process_time())
        worker.stop()

    def handle(event: Any) -> None:
        if not cpu:
            cpu.append(time.process_time())
        tally.take(event.number)

    tally = Tally(count, finished)
    bus = bus_of(flavour, handle, **settings)
    worker = Worker(bus, WorkerOptions(pool="solo", prefetch=PREFETCH))
    worker.run()
    answer(rate=tally.rate(), cpu_seconds=cpu[1] - cpu[0])


if __name__ == "__main__":
    main(**given())
