"""Tells the database what runs here, and hears from it which queues are paused.

One thread in each process that stays. It needs a database and the process does not: while the
database is away, not migrated or missing altogether, the pauses that are known stay in force, the
process is missing from ``eventbus status``, and everything else goes on.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Engine

from eventbus import database
from eventbus.backoff import Backoff
from eventbus.database import reading, writing
from eventbus.errors import DatabaseNotMigrated, DatabaseUnavailable, EventBusError

from ..supervisor import Service
from . import processes
from .pauses import paused_queues
from .rates import Rates, Sample, sample
from .report import Report

if TYPE_CHECKING:
    from eventbus.bus import EventBus

log = logging.getLogger("eventbus.presence")

#: How often it looks for pauses: an operator's command is to reach every worker within 2 s.
LOOK_SECONDS = 0.5

#: How often it reports.
BEAT_SECONDS = 2.0

#: How often it removes what processes left behind that have long been gone.
SWEEP_SECONDS = 60.0

#: A start waits so long for its look; a database that does not answer by then must not hold a
#: worker up.
FIRST_LOOK_SECONDS = 5.0

#: A process that ends waits so long for its rows to be deleted.
LEAVE_SECONDS = 2.0

#: Trouble that ends sooner is not told: a start that makes the tables, a connection that had died.
TELL_AFTER_SECONDS = 3.0

#: How long a report waits for SQLite's one writer; there is another one soon.
BUSY_MS = 250


class Presence:
    """Reports `services` and hands them the paused queues, for as long as it is entered.

    Parameters
    ----------
    bus:
        Whose database it is.
    services:
        What runs in this process. Those that consume have
        ``set_paused(queues: frozenset[str])``, which is called from the thread of this.

    Example::

        with Presence(bus, services.values()) as presence:
            presence.look()
            supervise(services)
    """

    def __init__(self, bus: EventBus, services: Iterable[Service]) -> None:
        self._bus = bus
        self._reporters = [_Reporter(service) for service in services]
        self._paused: frozenset[str] = frozenset()
        self._engine: Engine | None = None
        self._beat_at = self._sweep_at = 0.0
        self._last_beat = time.monotonic()
        self._has_rows = False
        self._missed: str | None = None
        self._failing_since: float | None = None
        self._looks = threading.Condition()
        self._wanted = self._answered = 0
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def __enter__(self) -> Presence:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._looks:
            self._leaving = True
            self._looks.notify_all()
        self._thread.join(LEAVE_SECONDS)

    def look(self) -> None:
        """Look for pauses now; returns when that is done, or after `FIRST_LOOK_SECONDS`.

        To be called before anything is consumed, so that no message of a paused queue slips
        through.
        """
        with self._looks:
            self._wanted += 1
            wanted = self._wanted
            self._looks.notify_all()
            self._looks.wait_for(lambda: self._answered >= wanted, FIRST_LOOK_SECONDS)

    def _run(self) -> None:
        backoff = Backoff(first=0.1, longest=3.0)
        while not self._leaving:
            wanted = self._wanted
            seconds = LOOK_SECONDS
            try:
                self._turn()
                self._succeeded()
                backoff.reset()
            except DatabaseNotMigrated as error:  # it may well do without
                self._failed(str(error), logging.INFO)
                seconds = backoff.next()
            except EventBusError as error:
                self._failed(str(error), logging.WARNING)
                seconds = backoff.next()
            except Exception as error:  # a report that fails must not end the pauses
                self._failed(f"unexpected {type(error).__name__}: {error}", logging.ERROR)
                seconds = backoff.next()
            self._rest(wanted, seconds)
        self._leave()

    def _rest(self, answered: int, seconds: float) -> None:
        """Until the next look is due, or asked for."""
        with self._looks:
            self._answered = answered
            self._looks.notify_all()
            self._looks.wait_for(lambda: self._leaving or self._wanted > answered, seconds)

    # -- one turn -----------------------------------------------------------------------------

    def _turn(self) -> None:
        engine = self._open()
        changed = self._look(engine)
        now = time.monotonic()
        if changed or now >= self._beat_at:
            self._beat_or_later(engine, now)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            _sweep(engine)

    def _open(self) -> Engine:
        """The engine; a SQLite file that is not there is not made by looking."""
        if self._engine is None:
            self._engine = _make_engine(self._bus.engine.url, f"{self._bus.service} presence")
        database.require_file(self._engine)
        return self._engine

    def _look(self, engine: Engine) -> bool:
        """Hand on which queues are paused; whether that has changed."""
        with reading(engine) as connection:
            paused = paused_queues(connection)
        if paused == self._paused:
            return False
        self._paused = paused
        for reporter in self._reporters:
            reporter.set_paused(paused)
        return True

    def _beat_or_later(self, engine: Engine, now: float) -> None:
        """Report; where somebody else writes to SQLite for long, at the next look."""
        # Before the transaction: on SQLite it would keep all other writers waiting.
        rows = [reporter.row(now) for reporter in self._reporters]
        try:
            with writing(engine) as connection:
                for row in rows:
                    processes.write(connection, *row)
        except DatabaseUnavailable:
            if now - self._last_beat > processes.LEASE_MS / 1000:
                raise
        else:
            self._has_rows = True
            self._last_beat = now
            self._beat_at = now + BEAT_SECONDS

    # -- trouble ------------------------------------------------------------------------------

    def _succeeded(self) -> None:
        self._failing_since = None
        if self._missed is not None:
            log.info("reporting to the database again")
            self._missed = None

    def _failed(self, why: str, level: int) -> None:
        """Say why, once it has lasted for a while, and only once."""
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if self._missed is not None or now - self._failing_since < TELL_AFTER_SECONDS:
            return
        self._missed = why
        log.log(
            level,
            "this process is missing from 'eventbus status' and hears of no pause for now; "
            "everything else goes on: %s",
            why,
        )

    def _leave(self) -> None:
        if self._engine is None:
            return
        if self._has_rows:
            self._delete_rows(self._engine)
        self._engine.dispose()

    def _delete_rows(self, engine: Engine) -> None:
        try:
            with writing(engine) as connection:
                processes.delete(connection, [reporter.id for reporter in self._reporters])
        except EventBusError as error:
            log.debug("not deleted, so it will be shown as gone: %s", error)


class _Reporter:
    """One service, its row, and its counts at the last report."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._before: Sample | None = None
        self.id = uuid.uuid4().hex
        self.set_paused = getattr(service, "set_paused", _consumes_nothing)

    def row(self, now: float) -> tuple[str, Report, Rates, int]:
        """What `processes.write` is to write."""
        report = self._service.report()
        counts = sample(report, now)
        rates = counts.since(self._before)
        self._before = counts
        beat_age_ms = max(int((time.time() - report.beat) * 1000), 0)
        return self.id, report, rates, beat_age_ms


def _consumes_nothing(paused: frozenset[str]) -> None:
    """A dispatcher's `set_paused`: it publishes to paused queues too, which then fill up."""


def _make_engine(url: URL, name: str) -> Engine:
    """One connection of its own: not to wait for handlers that use up those of the bus."""
    engine = database.make_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=False,
        connect_args=database.time_outs(database.sync_url(url), name),
    )
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def on_connect(connection: Any, record: Any) -> None:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    return engine


def _sweep(engine: Engine) -> None:
    with reading(engine) as connection:
        forgotten = processes.forgotten(connection)
    if forgotten:
        with writing(engine) as connection:
            processes.delete(connection, forgotten)
