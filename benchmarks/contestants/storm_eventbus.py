"""A worker of some of the queues of `benchmarks.storm`, until it has handled what is in them."""

from __future__ import annotations

import logging
import time
from typing import Any

from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker

from ..process import answer, given
from ..storm import HEALTHY, STORM, make_bus
from .tally import Tally


def main(counts: dict[str, int], **settings: Any) -> None:
    """Handle ``counts[queue]`` events of each of its queues."""
    logging.disable(logging.WARNING)  # what is said of each failure is not what is measured
    ended: dict[str, float] = {}

    def tally(queue: str) -> Tally:
        def finished() -> None:
            ended[queue] = time.time()
            if len(ended) == len(counts):
                worker.stop()

        return Tally(counts.get(queue, 0), finished)

    struck, calm = tally(STORM), tally(HEALTHY)
    bus = make_bus(struck.take, calm.take, **settings)
    worker = Worker(bus, WorkerOptions(queues=tuple(counts)))
    began = time.time()
    worker.run()
    answer(
        rate=calm.rate() if HEALTHY in counts else None,
        seconds={queue: at - began for queue, at in ended.items()},
        runs={STORM: struck.calls, HEALTHY: calm.calls},
    )


if __name__ == "__main__":
    main(**given())
