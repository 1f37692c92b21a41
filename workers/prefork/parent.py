"""The parent of the prefork pool: keeps children running, one at each place.

It opens connections only for its checks at the start, and declares the topology once. A child that
dies is replaced; what it had goes back to its queues when its connections close.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from eventbus import database
from eventbus.errors import EventBusError
from eventbus.workers.idempotency import make_store
from eventbus.workers.options import WorkerOptions

from .assignment import Assignment
from .channel import Message
from .places import Child, Place, end_of, failure_of
from .starting import Starter, make_starter
from .summary import Summary

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.workers.monitoring.report import Report

logger = logging.getLogger("eventbus.prefork")

#: How often it looks at deadlines and pauses although nothing happens.
TICK_SECONDS = 0.2

#: What a process gets to end by itself after the hard limit of its handler, then it is killed.
LIMIT_GRACE_SECONDS = 2.0

#: The same after the shutdown time-out, and after a second signal.
STOP_GRACE_SECONDS = 10.0
STOP_NOW_GRACE_SECONDS = 4.0


class Prefork:
    """A `Service` and a `Parent`: runs the handlers of some subscriptions in child processes.

    Parameters
    ----------
    bus:
        An attribute of a module, so that a child can import it.
    application:
        How it was named: ``module`` or ``module:attribute``; by default it is looked for.

    Raises
    ------
    ApplicationNotFound
        It is not.
    UnknownName
        No subscription has one of the queues.
    """

    def __init__(
        self, bus: EventBus, options: WorkerOptions, application: str | None = None
    ) -> None:
        chosen = bus.subscriptions if options.queues is None else options.queues
        self._subscriptions = [bus.subscription(queue) for queue in chosen]
        self._bus = bus
        self._options = options
        self._name = options.name or f"{bus.service}.worker"
        self._assignment = Assignment.of(bus, options, application)
        self._places = [Place(number) for number in range(1, options.concurrency + 1)]
        self._summary = Summary(self._name, bus.service, options, self._subscriptions)
        self._paused: frozenset[str] = frozenset()
        self._ever_running = False
        self._replacing: list[Place] = []
        self._error: EventBusError | None = None
        #: Whether every child had finished what it did when `run` returned.
        self.drained = True
        self._stopping = False
        self._kill_at = math.inf
        self._wishes: deque[Callable[[], None]] = deque()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    # -- control, from any thread -----------------------------------------------------------------

    def stop(self) -> None:
        """See `Service.stop`."""
        self._wish(self._begin_stop)

    def stop_now(self) -> None:
        """See `Service.stop_now`."""
        self._wish(self._begin_stop_now)

    def set_paused(self, queues: frozenset[str]) -> None:
        """See `Worker.set_paused`; also before `run`."""
        self._wish(lambda: self._pause(queues))

    def replace(self) -> bool:
        """See `Parent.replace`."""
        self._wish(self._begin_replacing)
        return True

    def dump_stacks(self) -> None:
        """See `Parent.dump_stacks`."""
        self._wish(lambda: self._tell_all("dump_stacks"))

    def report(self) -> Report:
        """What the children do, together and each."""
        return self._summary.report

    def _wish(self, wish: Callable[[], None]) -> None:
        self._wishes.append(wish)
        with contextlib.suppress(BlockingIOError):  # it is awake then
            os.write(self._wake, b"\0")

    # -- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Keep children running until `stop`.

        Raises
        ------
        EventBusError
            As `Worker.run`, and what keeps the first children from running.
        """
        self._check()
        self._starter: Starter = make_starter(self._assignment)
        self._error = None
        try:
            while not self._is_over():
                self._turn()
        finally:
            self._kill_all()
            self._starter.close()
        if self._error is not None:
            raise self._error

    def _is_over(self) -> bool:
        ending = self._stopping or self._error is not None
        return ending and not any(self._children())

    def _turn(self) -> None:
        while self._wishes:
            self._wishes.popleft()()
        now = time.monotonic()
        self._fill_places(now)
        self._renew_places()
        self._enforce_deadlines(now)
        self._update_summary(now)
        self._listen()

    def _check(self) -> None:
        """Raise what would keep every child from running; declare what they need."""
        handlers = [h for s in self._subscriptions for h in s.handlers]
        in_database = self._bus.settings.redis_url is None
        if in_database or any(handler.transactional for handler in handlers):
            database.check(self._bus.engine)
            self._bus.engine.dispose()
        store = make_store(self._bus)
        try:
            store.ping()
        finally:
            store.close()
        admin = self._bus.broker.admin()
        try:
            admin.declare(self._bus.topology([one.name for one in self._subscriptions]))
        finally:
            admin.close()

    def _children(self) -> Iterator[Child]:
        return (child for place in self._places for child in place.children)

    def _listen(self) -> None:
        """Wait for what children say, for their ends, and for wishes."""
        talkers = {
            child.process.channel.fileno(): (place, child)
            for place in self._places
            for child in place.children
        }
        # Not `select.select`, which knows descriptors below 1024 only.
        poll = select.poll()
        for source in (self._woken, *talkers):
            poll.register(source, select.POLLIN)
        for source, _event in poll.poll(TICK_SECONDS * 1000):
            if source == self._woken:
                os.read(self._woken, 4096)
            else:
                self._hear(*talkers[source])

    def _hear(self, place: Place, child: Child) -> None:
        try:
            for message in child.process.channel.receive():
                self._on_message(place, child, message)
        except EOFError:
            self._on_end(place, child)

    def _on_message(self, place: Place, child: Child, message: Message) -> None:
        kind = message["kind"]
        if kind == "report":
            child.report = self._summary.read(message["report"])
        elif kind == "running":
            child.running = self._ever_running = True
            logger.info("process %d runs (%d)", place.number, child.process.pid)
        elif kind == "failed":
            child.failure = failure_of(message)
        elif kind == "ending":
            child.exit_code = message["exit_code"]
        elif kind == "leaving":
            logger.info(
                "process %d (%d) is replaced: %s", place.number, child.process.pid, message["why"]
            )
            place.leave(child)

    # -- starting and ending ----------------------------------------------------------------------

    def _fill_places(self, now: float) -> None:
        if self._stopping or self._error is not None:
            return
        for place in self._places:
            if place.child is None and place.newcomer is None and now >= place.start_at:
                place.child = self._start(place)

    def _start(self, place: Place) -> Child | None:
        name = f"{self._name}.{place.number}"
        options = replace(self._assignment.options, name=name)
        assignment = replace(self._assignment, options=options, paused=self._paused)
        try:
            return Child(self._starter.start(assignment))
        except EventBusError as error:
            self._on_failure(place, error)
        except OSError as error:
            self._on_failure(place, EventBusError(f"no process can be started: {error}"))
        return None

    def _on_failure(self, place: Place, error: EventBusError) -> None:
        """A child cannot run: that ends a pool that never ran; another one goes on trying."""
        if not self._ever_running:
            self._error = self._error or error
            self._tell_all("stop_now")
            self._kill_at = min(self._kill_at, time.monotonic() + STOP_NOW_GRACE_SECONDS)
            return
        self._back_off(place, f"as it cannot run: {error}", 0.0)

    def _on_end(self, place: Place, child: Child) -> None:
        """A child is gone, however that came."""
        now = time.monotonic()
        status = self._starter.status(child.process.pid)
        if status is None:
            status = child.exit_code
        child.process.close()
        newcomer = child is place.newcomer
        place.remove(child)
        self._summary.keep_counts_of(child)
        if self._stopping or self._error is not None:
            self.drained &= status == 0
        elif newcomer:
            self._give_up_replacing(str(child.failure or f"it died {end_of(status)}"))
        elif child.failure is not None:
            self._on_failure(place, child.failure)
        elif child.leaving:
            return
        elif status == 0:
            logger.info("process %d was told to end from outside, and is replaced", place.number)
        else:
            self._back_off(place, end_of(status), now - child.started_at)

    def _back_off(self, place: Place, death: str, lived_seconds: float) -> None:
        self._summary.deaths += 1
        pause = place.crashes.died(lived_seconds)
        place.death = death
        place.start_at = time.monotonic() + pause
        logger.error(
            "process %d died %s; %s",
            place.number,
            death,
            f"the next one starts in {pause:g} s" if pause else "another one takes its place",
        )

    # -- limits -----------------------------------------------------------------------------------

    def _enforce_deadlines(self, now: float) -> None:
        for child in list(self._children()):
            deadline = child.process.deadline.get()
            if now >= self._kill_at:
                self.drained = False
                self._kill(child, "it did not end in time")
            elif deadline and now >= deadline + LIMIT_GRACE_SECONDS:
                self._kill(child, "its handler goes on after its time limit")

    def _kill(self, child: Child, why: str) -> None:
        if not child.killed:
            child.killed = True
            logger.error("killing process %d: %s", child.process.pid, why)
            child.process.kill()

    def _kill_all(self) -> None:
        for place in self._places:
            for child in list(place.children):
                child.process.kill()
                child.process.close()
                place.remove(child)

    # -- wishes -----------------------------------------------------------------------------------

    def _tell_all(self, kind: str, **values: object) -> None:
        for child in self._children():
            child.process.channel.send(kind, **values)

    def _begin_stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._replacing.clear()
            seconds = self._options.shutdown_timeout.total_seconds() + STOP_GRACE_SECONDS
            self._kill_at = time.monotonic() + seconds
            self._tell_all("drain", for_good=True)

    def _begin_stop_now(self) -> None:
        self._stopping = True
        self._kill_at = min(self._kill_at, time.monotonic() + STOP_NOW_GRACE_SECONDS)
        self._tell_all("stop_now")

    def _pause(self, queues: frozenset[str]) -> None:
        self._paused = queues
        self._tell_all("paused", queues=sorted(queues))

    def _begin_replacing(self) -> None:
        if self._stopping or self._replacing:
            return
        self._replacing = list(self._places)
        self._starter.renew()

    def _renew_places(self) -> None:
        """Go on replacing: one place after the other, so that the work goes on."""
        while self._replacing:
            place = self._replacing[0]
            if place.newcomer is None and place.child is not None:
                place.newcomer = self._start(place)
                return
            if place.newcomer is not None:
                if not place.newcomer.is_ready:
                    return
                before = place.take_over()
                if before is not None:
                    before.process.channel.send("drain", for_good=False)
            self._replacing.pop(0)
            if not self._replacing:
                logger.info("all processes are replaced")

    def _give_up_replacing(self, why: str) -> None:
        if self._replacing:
            logger.error("no more processes are replaced, as a new one cannot run: %s", why)
            self._replacing.clear()

    def _update_summary(self, now: float) -> None:
        if self._stopping:
            state = "draining"
        elif self._replacing:
            state = "replacing"
        else:
            state = "running" if self._ever_running else "starting"
        troubles = [text for place in self._places if (text := place.trouble(now)) is not None]
        self._summary.update(state, [*self._children()], troubles)
