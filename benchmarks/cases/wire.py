"""Wire: what validation costs, and the formats beside each other, from publish to handler."""

from __future__ import annotations

import tempfile

from ..errors import expect
from ..flavours import FLAVOURS, UNCHECKED, bus_of, lock
from ..measuring import Contestant, Goal, Measures, Samples, Spread
from ..process import compete
from ..servers import Servers, declare, queue_stats
from ..workload import QUEUE
from .case import Case, Size

PUBLISH, CONSUME = "published events/s", "handled events/s"
#: What other processes on the machine disturb less than the rates.
PUBLISH_CPU, CONSUME_CPU = "µs of CPU to publish one", "µs of CPU to handle one"


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    notes = {UNCHECKED: "JSON; a class that converts its values and looks at none"}
    return [
        Contestant(
            flavour,
            lambda flavour=flavour: _run(servers, size.worker, flavour),  # type: ignore[misc]
            notes.get(flavour, "validated by its class, which is its registered contract"),
        )
        for flavour in FLAVOURS
    ]


def _run(servers: Servers, count: int, flavour: str) -> Measures:
    with servers.place() as place, tempfile.TemporaryDirectory() as folder:
        lock(folder, flavour)
        settings = {**place.settings(), "contracts": folder, "flavour": flavour, "count": count}
        bus = bus_of(flavour, **place.settings(), contracts=folder)
        declare(bus)
        published = compete("wire_publish", **settings)
        expect("messages in the queue", queue_stats(bus, QUEUE).messages, count)
        handled = compete("wire_worker", **settings)
        expect("messages left in the queue", queue_stats(bus, QUEUE).messages, 0)
        bus.engine.dispose()
    return {
        PUBLISH: count / published["seconds"],
        CONSUME: float(handled["rate"]),
        PUBLISH_CPU: 1e6 * published["cpu_seconds"] / count,
        CONSUME_CPU: 1e6 * handled["cpu_seconds"] / count,
    }


def _goals(samples: Samples) -> list[Goal]:
    def of(flavour: str, rate: str, beside: str) -> Spread:
        return samples.of(flavour, rate).over(samples.of(beside, rate))

    slower = [of("json", rate, UNCHECKED).values for rate in (PUBLISH, CONSUME)]
    cost = Spread(
        tuple(100 * (2 - publish - consume) for publish, consume in zip(*slower, strict=True))
    )
    return [
        Goal("validation at publish and at consume together", cost, 20.0, "%", below=True),
        Goal("Avro / JSON, consume", of("avro", CONSUME, "json"), 1.0, "×"),
        Goal("Protobuf / JSON, consume", of("protobuf", CONSUME, "json"), 1.0, "×"),
    ]


CASE = Case(
    name="wire",
    title="Wire: validation, and the formats of a body",
    notes=(
        "The same thin event. Published: written to the outbox in transactions of 500 and "
        "dispatched, by one process after the other; handled: one worker, solo, Redis idempotency. "
        "The cost of validation is the share of each rate that is lost to it, added up."
    ),
    contestants=_contestants,
    goals=_goals,
)
