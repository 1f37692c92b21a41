"""Relay: from PostgreSQL to confirmed in RabbitMQ, beside pika alone."""

from __future__ import annotations

from sqlalchemy.orm import Session

from eventbus import EventBus

from ..errors import expect
from ..measuring import Contestant, Goal, Measures, Samples
from ..process import compete
from ..servers import Servers, declare, queue_stats
from ..workload import QUEUE, events, order_key
from .case import Case, Size

OURS = "eventbus dispatcher"
PIPELINED = "pika, pipelined confirms"
SINGLE = "pika, one confirm at a time"
RATE = "events/s"


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    return [
        Contestant(
            OURS,
            lambda: _run(servers, "relay_eventbus", size.relay, filled=True),
            "reads and settles PostgreSQL rows too",
        ),
        Contestant(
            PIPELINED,
            lambda: _run(servers, "relay_pika", size.relay),
            "SelectConnection, no database, properties built before",
        ),
        Contestant(
            SINGLE,
            lambda: _run(servers, "relay_pika_single", size.relay_single),
            "BlockingConnection, no database",
        ),
    ]


def _run(servers: Servers, module: str, count: int, *, filled: bool = False) -> Measures:
    with servers.place() as place:
        bus = place.bus()
        declare(bus)
        if filled:
            _fill(bus, count)
        bus.engine.dispose()
        seconds = compete(module, count=count, **place.settings())["seconds"]
        expect("messages in the queue", queue_stats(bus, QUEUE).messages, count)
    return {RATE: count / seconds}


def _fill(bus: EventBus, count: int) -> None:
    with Session(bus.engine) as session, session.begin():
        bus.publish_many(events(count), session=session, key=order_key)


def _goals(samples: Samples) -> list[Goal]:
    ours, pipelined = samples.of(OURS, RATE), samples.of(PIPELINED, RATE)
    return [
        Goal("relay / pika with pipelined confirms", ours.over(pipelined), 0.8, "×"),
        Goal(
            "relay / pika with one confirm at a time",
            ours.over(samples.of(SINGLE, RATE)),
            1.0,
            "×",
        ),
    ]


CASE = Case(
    name="relay",
    title="Relay: PostgreSQL → confirmed in RabbitMQ, one process",
    notes=(
        "The same messages, persistent and mandatory, to the same exchange and quorum queue. "
        "eventbus: from the first read of the outbox to the last row settled. pika: from the "
        "first publish to the last confirm."
    ),
    contestants=_contestants,
    goals=_goals,
)
