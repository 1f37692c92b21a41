"""Events of one flavour: written to the outbox in batches, then dispatched."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy.orm import Session

from eventbus.workers.dispatcher import Dispatcher

from ..errors import expect
from ..flavours import bus_of, events_of
from ..process import answer, given

BATCH = 500


def main(count: int, flavour: str, **settings: Any) -> None:
    """Publish and dispatch `count` events."""
    bus = bus_of(flavour, **settings)
    events = events_of(flavour, count)
    began, cpu = time.perf_counter(), time.process_time()
    for first in range(0, count, BATCH):
        with Session(bus.engine) as session, session.begin():
            bus.publish_many(events[first : first + BATCH], session=session)
    expect("rows read", Dispatcher(bus).run_once(), count)
    answer(seconds=time.perf_counter() - began, cpu_seconds=time.process_time() - cpu)


if __name__ == "__main__":
    main(**given())
