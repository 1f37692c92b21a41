"""A queue whose handler fails twice on each event, and a healthy one beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from eventbus import Context, Event, EventBus, Retry
from eventbus.message import Message

from .workload import SERVICE, message_of

STORM = "storm"
HEALTHY = "healthy"
FAILURES = 2
#: The shortest that RabbitMQ holds.
DELAY = timedelta(seconds=1)
#: What the healthy handler waits for, as for a database or another service.
HANDLER_SECONDS = 0.005

Take = Callable[[int], None]


class Struck(Event, name="bench.struck"):
    """Its handler fails at first."""

    number: int


class Calm(Event, name="bench.calm"):
    """Its handler succeeds."""

    number: int


class NotYet(Exception):
    """What the failing handler raises."""


def make_bus(struck: Take, calm: Take, **settings: Any) -> EventBus:
    """The bus with both queues; `struck` and `calm` are told of each event that succeeds."""
    retry = Retry(max_attempts=FAILURES + 1, backoff="fixed", delay=DELAY)
    bus = EventBus(SERVICE, retry=retry, **settings)
    bus.queue(STORM, breaker=None)

    @bus.handler(Struck, queue=STORM)
    def fail_twice(event: Struck, context: Context) -> None:
        if context.attempt <= FAILURES:
            raise NotYet(f"attempt {context.attempt}")
        struck(event.number)

    @bus.handler(Calm, queue=HEALTHY)
    def succeed(event: Calm) -> None:
        time.sleep(HANDLER_SECONDS)
        calm(event.number)

    return bus


def messages(struck: int, calm: int) -> list[Message]:
    """So many events of either kind."""
    return [
        *(message_of(Struck(number=number)) for number in range(struck)),
        *(message_of(Calm(number=number)) for number in range(calm)),
    ]
