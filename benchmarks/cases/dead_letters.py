"""Dead letters: a replay of very many, with a tenth of them beside it to see what grows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from eventbus import EventBus
from eventbus.database import upgrade
from eventbus.message import (
    ATTEMPTS_HEADER,
    ERROR_HEADER,
    HANDLER_HEADER,
    PARKED_AT_HEADER,
    REASON_HEADER,
    TRACEBACK_HEADER,
    Message,
)
from eventbus.outbox.row import now_ms
from eventbus.topology import dead_letter_queue_name

from ..errors import expect
from ..measuring import Contestant, Goal, Measures, Samples, Spread
from ..process import compete
from ..servers import Place, Servers, declare, publish, queue_stats
from ..workload import QUEUE, messages
from .case import Case, Size

ALL = "RabbitMQ, all"
TENTH = "RabbitMQ, a tenth of them"
FILTERED = "RabbitMQ, with a filter"
EMBEDDED = "embedded, in SQLite"
RATE = "messages/s"
PEAK = "MiB at most"

#: As long as a worker keeps of a traceback in most cases.
_TRACEBACK = 'File "/srv/shop/billing.py", line 42, in charge\n' * 40
_CHUNK = 5_000

_Places = Callable[[], AbstractContextManager[Place]]


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    count = size.dead_letters

    @contextmanager
    def embedded() -> Iterator[Place]:
        with tempfile.TemporaryDirectory() as folder:
            place = Place(f"sqlite:///{folder}/eventbus.db", None, None)
            upgrade(place.bus().engine)
            yield place

    def contestant(
        name: str, places: _Places, number: int, options: list[str], note: str
    ) -> Contestant:
        return Contestant(name, lambda: _run(places, number, options), note)

    everything = ["--all"]
    return [
        contestant(ALL, servers.place, count, everything, f"{count:,} messages, one pass"),
        contestant(TENTH, servers.place, count // 10, everything, f"{count // 10:,} messages"),
        contestant(
            FILTERED, servers.place, count, ["--error", "ValueError"], "counted first, then moved"
        ),
        contestant(EMBEDDED, embedded, count, everything, f"{count:,} messages"),
    ]


def _run(places: _Places, count: int, options: list[str]) -> Measures:
    with places() as place:
        bus = place.bus()
        declare(bus)
        _park(bus, count)
        found = compete("dead_letters", arguments=options, **place.settings())
        expect("messages moved", found["replayed"], count)
        expect("messages in the queue", queue_stats(bus, QUEUE).messages, count)
        bus.engine.dispose()
    return {RATE: count / found["seconds"], PEAK: found["peak_mib"]}


def _park(bus: EventBus, count: int) -> None:
    queue = dead_letter_queue_name(bus.subscription(QUEUE).queue)
    for start in range(0, count, _CHUNK):
        publish(bus, [_parked(one) for one in messages(min(_CHUNK, count - start))], queue)


def _parked(message: Message) -> Message:
    return message.with_headers(
        {
            HANDLER_HEADER: "handler",
            ATTEMPTS_HEADER: 5,
            REASON_HEADER: "failed 5 of 5 attempts: ValueError: card declined",
            ERROR_HEADER: "ValueError",
            TRACEBACK_HEADER: _TRACEBACK,
            PARKED_AT_HEADER: now_ms() - 1_000,
        }
    )


def _goals(samples: Samples) -> list[Goal]:
    grown = [
        all_of_them - tenth
        for all_of_them, tenth in zip(
            samples.of(ALL, PEAK).values, samples.of(TENTH, PEAK).values, strict=True
        )
    ]
    return [
        Goal("replay on RabbitMQ", samples.of(ALL, RATE), 3_000.0, RATE),
        Goal("replay on the embedded broker", samples.of(EMBEDDED, RATE), 3_000.0, RATE),
        Goal("memory for ten times as many", Spread(tuple(grown)), 8.0, "MiB more", below=True),
    ]


CASE = Case(
    name="dead_letters",
    title="Dead letters: eventbus dlq replay",
    notes=(
        "The command line in a fresh process, from its call to its end: connections, the audit "
        "row, and moving each message out of the dead-letter queue once its own queue has "
        "confirmed it. Each message is one of the worker's, with 2 kB of traceback."
    ),
    contestants=_contestants,
    goals=_goals,
)
