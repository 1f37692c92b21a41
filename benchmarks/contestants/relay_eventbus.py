"""One dispatcher empties the outbox."""

from __future__ import annotations

import time
from typing import Any

from eventbus.outbox.store import OutboxStore, StoredRow
from eventbus.workers.dispatcher import Dispatcher

from ..errors import expect
from ..process import answer, given
from ..workload import make_bus


class TimedStore(OutboxStore):
    """Notes when the first batch was asked for and when the last row was settled."""

    first: float | None = None
    last = 0.0

    def next_batch(self, *arguments: Any, **keywords: Any) -> list[StoredRow]:
        """See `OutboxStore.next_batch`."""
        if self.first is None:
            self.first = time.perf_counter()
        return super().next_batch(*arguments, **keywords)

    def settle(self, *arguments: Any, **keywords: Any) -> None:
        """See `OutboxStore.settle`."""
        super().settle(*arguments, **keywords)
        self.last = time.perf_counter()


def main(count: int, **settings: Any) -> None:
    """Dispatch what is in the outbox once."""
    bus = make_bus(**settings)
    dispatcher = Dispatcher(bus)
    dispatcher._store = store = TimedStore(bus.engine)
    expect("rows read", dispatcher.run_once(), count)
    stats = store.stats()
    expect("rows left", (stats.pending, stats.failed, stats.unrouted), (0, 0, 0))
    expect("rows in the event log", stats.logged, count)
    assert store.first is not None
    answer(seconds=store.last - store.first)


if __name__ == "__main__":
    main(**given())
