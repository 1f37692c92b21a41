"""What is running and what waits, read from the database and from the broker as one value.

Each of the two may be away: then its part is missing, the reason is in `Snapshot.away`, and the
other part is there all the same. ``eventbus status``, ``top`` and ``queue list`` show it;
`eventbus.workers.monitoring.problems` judges it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from eventbus import database
from eventbus.brokers.port import Admin, QueueStats
from eventbus.database import reading
from eventbus.errors import BrokerUnavailable, DatabaseUnavailable, EventBusError
from eventbus.outbox.store import OutboxDepth, OutboxStore
from eventbus.topology import (
    RETRY_LEVELS_MS,
    dead_letter_queue_name,
    overflow_queue_name,
    retry_queue_name,
)

from . import processes
from .pauses import Pause, read_pauses
from .processes import ProcessRow
from .rates import QueueRates, Rates
from .report import QueueReport, merged_queues

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from eventbus.bus import EventBus

T = TypeVar("T")

DATABASE = "database"
BROKER = "broker"

#: A queue that was not there is not asked for again so soon: RabbitMQ writes an error into its log
#: each time.
MISSING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class QueueState:
    """One subscription, and the queues around it.

    Parameters
    ----------
    name:
        Its full name.
    ready, consumers:
        Messages that no consumer has, and consumers; None where the broker does not tell, or has
        no such queue.
    retrying, dead_letters, overflow:
        Messages that wait for their next attempt, that were parked, and that did not fit.
    exists:
        The broker has it; None while the broker is away.
    declared:
        The application that was named declares it.
    workers:
        Living processes that have it.
    pause:
        Who has paused it; None where nobody has.
    breaker:
        ``closed``, or the worst that a worker tells.
    rates:
        Of all living processes together; None while the database is away.
    """

    name: str
    ready: int | None = None
    consumers: int | None = None
    retrying: int | None = None
    dead_letters: int | None = None
    overflow: int | None = None
    exists: bool | None = None
    declared: bool = False
    workers: int = 0
    pause: Pause | None = None
    breaker: str = "closed"
    rates: QueueRates | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment.

    Parameters
    ----------
    taken_at:
        Seconds since the epoch.
    outbox, processes:
        None while the database is away.
    queues:
        By full name; those of the application, and those that a process or a pause names.
    away:
        `DATABASE` or `BROKER` to why it cannot be read.
    """

    service: str
    taken_at: float
    outbox: OutboxDepth | None = None
    processes: tuple[ProcessRow, ...] | None = None
    queues: tuple[QueueState, ...] = ()
    away: dict[str, str] = field(default_factory=dict)

    @property
    def living(self) -> tuple[ProcessRow, ...]:
        """The processes that have reported lately."""
        return tuple(row for row in self.processes or () if not row.gone)

    @property
    def rates(self) -> Rates:
        """Of all living processes together."""
        return sum((row.rates for row in self.living), Rates())


@dataclass(frozen=True, slots=True)
class _Stored:
    """The database's part."""

    outbox: OutboxDepth
    processes: tuple[ProcessRow, ...]
    pauses: dict[str, Pause]


class Reader:
    """Takes snapshots, on connections that it keeps.

    Parameters
    ----------
    bus:
        Whose servers are read, and whose subscriptions are shown even if nobody consumes them.
    patience_seconds:
        How long one snapshot waits for each server. One that answers later is in the next.

    Example::

        with Reader(bus) as reader:
            print(reader.read().queues)
    """

    def __init__(self, bus: EventBus, patience_seconds: float = 15.0) -> None:
        self._bus = bus
        self._patience_seconds = patience_seconds
        self._engine: Engine | None = None
        self._admin: Admin | None = None
        self._stored = _Question(self._read_database, DatabaseUnavailable)
        self._counted = _Question(self._read_broker, BrokerUnavailable)
        self._declared = {s.queue for s in bus.subscriptions.values()}
        self._known: _Stored | None = None
        self._missing: dict[str, float] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        # What a server that hangs has not answered is left to its thread.
        if self._admin is not None and not self._counted.pending:
            self._admin.close()
        if self._engine is not None and not self._stored.pending:
            self._engine.dispose()

    def read(self) -> Snapshot:
        """What is now; never raises because a server is away."""
        away: dict[str, str] = {}
        stored = self._ask(self._stored, DATABASE, away)
        # While the database is away, the queues that it last named are still counted.
        self._known = stored or self._known
        counts = self._ask(self._counted, BROKER, away)
        return Snapshot(
            service=self._bus.service,
            taken_at=time.time(),
            outbox=stored.outbox if stored else None,
            processes=stored.processes if stored else None,
            queues=tuple(self._queues(stored, counts)),
            away=away,
        )

    def _ask(self, question: _Question[T], part: str, away: dict[str, str]) -> T | None:
        try:
            return question.ask(self._patience_seconds)
        except EventBusError as error:
            away[part] = str(error)
            return None

    # -- the database -------------------------------------------------------------------------

    def _read_database(self) -> _Stored:
        engine = self._open_engine()
        with reading(engine) as connection:
            rows = tuple(processes.read(connection))
            pauses = {pause.queue: pause for pause in read_pauses(connection)}
        return _Stored(OutboxStore(engine).depth(), rows, pauses)

    def _open_engine(self) -> Engine:
        if self._engine is None:
            url = self._bus.engine.url
            self._engine = database.make_engine(
                url, connect_args=database.time_outs(database.sync_url(url), "eventbus status")
            )
        database.require_file(self._engine)
        return self._engine

    # -- the broker ---------------------------------------------------------------------------

    def _read_broker(self) -> dict[str, QueueStats]:
        if self._admin is None:
            self._admin = self._open_admin()
        now = time.monotonic()
        names = [
            name
            for queue in self._names()
            for name in _around(queue)
            if self._missing.get(name, 0.0) <= now
        ]
        try:
            found = self._admin.stats(names)
        except BrokerUnavailable:
            self._admin.close()
            self._admin = None
            raise
        for name in names:
            if name not in found:
                self._missing[name] = now + MISSING_SECONDS
        return found

    def _open_admin(self) -> Admin:
        settings = self._bus.settings
        if settings.embedded:
            # It would make the file, or bring its tables up to date; who only looks must not.
            engine = database.make_engine(settings.broker_database_url)
            database.require_file(engine)
            database.check(engine)
            engine.dispose()
        return self._bus.broker.admin()

    def _names(self) -> list[str]:
        """The subscriptions to show: declared, consumed or paused."""
        names = set(self._declared)
        if self._known is not None:
            names.update(self._known.pauses)
            for row in self._known.processes:
                names.update(row.report.queues)
        return sorted(names)

    # -- together -----------------------------------------------------------------------------

    def _queues(
        self, stored: _Stored | None, counts: Mapping[str, QueueStats] | None
    ) -> Iterable[QueueState]:
        living = [row for row in (stored.processes if stored else ()) if not row.gone]
        told = merged_queues(row.report for row in living)
        rates = sum((row.rates for row in living), Rates()).queues
        for name in self._names():
            main = None if counts is None else counts.get(name)
            yield QueueState(
                name,
                ready=main.messages if main else None,
                consumers=main.consumers if main else None,
                retrying=_sum(counts, (retry_queue_name(name, ms) for ms in RETRY_LEVELS_MS)),
                dead_letters=_sum(counts, [dead_letter_queue_name(name)]),
                overflow=_sum(counts, [overflow_queue_name(name)]),
                exists=None if counts is None else main is not None,
                declared=name in self._declared,
                workers=sum(name in row.report.queues for row in living),
                pause=stored.pauses.get(name) if stored else None,
                breaker=told.get(name, QueueReport()).breaker,
                rates=rates.get(name, QueueRates()) if stored else None,
            )


def _around(queue: str) -> list[str]:
    """The names of the queues that belong to one subscription."""
    return [
        queue,
        dead_letter_queue_name(queue),
        overflow_queue_name(queue),
        *(retry_queue_name(queue, level) for level in RETRY_LEVELS_MS),
    ]


def _sum(counts: Mapping[str, QueueStats] | None, names: Iterable[str]) -> int | None:
    """The messages in those of the queues that exist; None while the broker is away."""
    if counts is None:
        return None
    return sum(counts[name].messages for name in names if name in counts)


class _Question(Generic[T]):
    """Something to ask a server that may not answer: on a thread, which nobody has to wait for."""

    def __init__(self, answer: Callable[[], T], late: type[EventBusError]) -> None:
        self._answer = answer
        self._late = late
        self._asked: _Asked[T] | None = None

    @property
    def pending(self) -> bool:
        """Whether the last question has found no answer yet."""
        return self._asked is not None

    def ask(self, timeout: float) -> T:
        """The answer; a late one to the question before counts as this one's."""
        asked = self._asked or _Asked(self._answer)
        if not asked.done.wait(timeout):
            self._asked = asked
            raise self._late(f"no answer for {asked.age:.0f} s")
        self._asked = None
        return asked.result()


class _Asked(Generic[T]):
    def __init__(self, answer: Callable[[], T]) -> None:
        self.done = threading.Event()
        self._answer = answer
        self._since = time.monotonic()
        self._value: T | None = None
        self._error: EventBusError | None = None
        threading.Thread(target=self._run, name="status", daemon=True).start()

    @property
    def age(self) -> float:
        return time.monotonic() - self._since

    def _run(self) -> None:
        try:
            self._value = self._answer()
        except EventBusError as error:
            self._error = error
        except Exception as error:
            self._error = EventBusError(f"unexpected {type(error).__name__}: {error}")
        finally:
            self.done.set()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]
