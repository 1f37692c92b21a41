"""Commits events by the clock, however long each commit takes (open loop)."""

from __future__ import annotations

import time
from typing import Any

from ..process import answer, given
from ..workload import make_bus, make_event, order_key


def main(count: int, per_second: int, **settings: Any) -> None:
    """Publish `count` events, each in a transaction of its own; answers when each was committed."""
    bus = make_bus(**settings)
    committed = []
    late = 0.0
    with bus.engine.connect() as connection:
        began = time.perf_counter()
        for number in range(count):
            due = began + number / per_second
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            late = max(late, -wait)
            event = make_event(number)
            with connection.begin():
                bus.publish(event, session=connection, key=order_key(event))
            committed.append(time.time_ns())
    answer(committed=committed, late_ms=late * 1000)


if __name__ == "__main__":
    main(**given())
