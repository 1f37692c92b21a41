"""Carries out what `eventbus.drift.plan` found: creates, migrates, unbinds, deletes.

What creates comes first and harms nothing; what removes comes last, a queue after those that point
to it. Each removal is looked at again just before it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eventbus import drift
from eventbus.database import reading
from eventbus.drift import BY_HAND, MIGRATE, PRUNE, Change, Found, Kind
from eventbus.errors import DatabaseNotMigrated, EventBusError, QueueInUse
from eventbus.topology import Binding

from ..crash_points import crash_point
from ..monitoring import pauses, processes
from ..monitoring.report import WORKER
from .audit import OperationLog, who
from .operation import Operation

if TYPE_CHECKING:
    from eventbus.brokers.port import Admin
    from eventbus.bus import EventBus

#: The audit's word for it.
KIND = "topology.apply"
#: Why a queue is paused while it is migrated; a run that was killed knows its own pause by it.
PAUSE_REASON = "its arguments are being changed (topology apply --migrate)"
#: Seconds that running workers get to let go of a queue.
LET_GO_SECONDS = 60.0
#: RabbitMQ's management API knows of unacknowledged messages after at most so many seconds.
COUNTED_AFTER_SECONDS = 6.0


@dataclass(frozen=True)
class Permissions:
    """What may be done besides creating."""

    prune: bool = False
    migrate: bool = False

    def allow(self, change: Change) -> bool:
        """Whether `change` may be done, and can be."""
        if change.held_up is not None or change.needs == BY_HAND:
            return False
        return {None: True, PRUNE: self.prune, MIGRATE: self.migrate}[change.needs]

    def leaves(self, changes: Iterable[Change]) -> list[Change]:
        """Those of the `changes` that are left that were to be made.

        What is too much disturbs nobody: it is no failure unless it was asked to go.
        """
        return [change for change in changes if self.prune or change.needs != PRUNE]


class Apply:
    """Makes the broker hold what the application declares.

    Parameters
    ----------
    tell:
        Told each thing that was done, or that could not be, in a sentence.
    warn:
        Told when the audit cannot be written.
    """

    def __init__(
        self,
        bus: EventBus,
        admin: Admin,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._admin = admin
        self._tell = tell
        self._warn = warn
        self.declared = bus.topology()

    def look(self) -> tuple[Found, tuple[Change, ...]]:
        """What is there, and what is to be done about it."""
        service = self._bus.service
        found = self._admin.inspect(self.declared, drift.service_prefix(service))
        told = (*found.notes, *drift.left_alone(self.declared, found, service))
        return replace(found, notes=told), drift.plan(self.declared, found, service)

    def run(self, found: Found, changes: Sequence[Change]) -> None:
        """Carry out `changes`, all of which are allowed.

        Raises
        ------
        EventBusError
            One cannot be done; those before it are.
        """
        self._create(found, changes)
        careful = [change for change in changes if change.needs is not None]
        if not careful:
            return
        parameters = {"changes": [_told(change) for change in careful]}
        log = OperationLog(self._bus.engine)
        with Operation(KIND, parameters, log=log, warn=self._warn) as operation:
            for change in _of(careful, Kind.MIGRATE_QUEUE):
                self._migrate(change, operation)
            for change in _of(careful, Kind.REMOVE_BINDING):
                self._unbind(change)
            removals = list(_of(careful, Kind.REMOVE_QUEUE))
            if removals:
                self._delete(removals)

    def _create(self, found: Found, changes: Sequence[Change]) -> None:
        # One that is to be migrated, now or another time, must not fail the others.
        planned = drift.plan(self.declared, found, self._bus.service)
        differing = {change.name for change in _of(planned, Kind.MIGRATE_QUEUE)}
        names = {queue.name for queue in self.declared.queues} - differing
        alone = drift.only(self.declared, names)
        whole = {
            name for name in found.queues if drift.migration_queue_name(name) not in found.queues
        }
        bound = drift.only(self.declared, names | whole).bindings
        self._admin.declare(replace(alone, bindings=bound))
        for change in changes:
            if change.needs is None:
                self._tell(f"{change.name}: {_done(change)}")

    # -- migrating ----------------------------------------------------------------------------

    def _migrate(self, change: Change, operation: Operation) -> None:
        queue = next(one for one in self.declared.queues if one.name == change.name)
        bindings = [one for one in self.declared.bindings if one.queue == change.name]
        with self._nobody_consumes(change.name):
            self._admin.replace(queue, bindings, _Steps(operation))
        self._tell(f"{change.name}: migrated, it has the arguments that are declared")

    @contextmanager
    def _nobody_consumes(self, queue: str) -> Iterator[None]:
        """Pause `queue` for all workers, where there are any, and wait until they let go of it."""
        workers = self._workers_of(queue)
        try:
            if workers:
                pauses.pause(self._bus.engine, queue, by=who(), reason=PAUSE_REASON)
                self._tell(f"{queue}: paused, waiting for workers to let go of it")
            self._wait_let_go(queue, LET_GO_SECONDS if workers else 0)
            yield
        finally:
            self._end_own_pause(queue)

    def _end_own_pause(self, queue: str) -> None:
        """End the pause of this run, or of an earlier one that was killed; no operator's."""
        with suppress(DatabaseNotMigrated):
            with reading(self._bus.engine) as connection:
                found = pauses.read_pauses(connection)
            if any(one.queue == queue and one.reason == PAUSE_REASON for one in found):
                pauses.resume(self._bus.engine, queue)

    def _wait_let_go(self, queue: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while consumers := self._consumers(queue):
            if time.monotonic() > deadline:
                raise QueueInUse(
                    f"queue {queue!r} still has {consumers} consumers, which do not obey a pause; "
                    f"stop the processes that consume it, and run this again"
                )
            time.sleep(0.2)
        # A message that a handler still has is nowhere in the queue's count, and would go with it.
        not_before = time.monotonic() + COUNTED_AFTER_SECONDS
        while not self._is_settled(queue, not_before):
            if time.monotonic() > deadline:
                raise QueueInUse(
                    f"handlers still run on messages of {queue!r}, as far as can be seen; stop its "
                    f"workers, and run this again"
                )
            time.sleep(0.5)

    def _is_settled(self, queue: str, not_before: float) -> bool:
        """Whether no worker has an unacknowledged message of `queue` any more."""
        if not any(row.report.running for row in self._workers_of(queue)):
            return True
        if time.monotonic() < not_before:
            return False
        found, _ = self.look()
        if not found.complete:
            return False
        ready = self._admin.stats([queue]).get(queue)
        return ready is None or found.queues[queue].messages <= ready.messages

    def _consumers(self, queue: str) -> int:
        stats = self._admin.stats([queue]).get(queue)
        return stats.consumers if stats is not None else 0

    def _workers_of(self, queue: str) -> list[processes.ProcessRow]:
        """The workers alive that consume `queue`, as far as they tell the database."""
        try:
            with reading(self._bus.engine) as connection:
                rows = processes.read(connection)
        except DatabaseNotMigrated:
            return []
        return [
            row
            for row in rows
            if row.report.kind == WORKER and not row.gone and queue in row.report.queues
        ]

    # -- removing -----------------------------------------------------------------------------

    def _unbind(self, change: Change) -> None:
        assert change.exchange is not None
        assert change.pattern is not None
        self._admin.unbind(Binding(change.exchange, change.name, change.pattern))
        self._tell(f"{change.name}: no longer bound to {change.pattern!r}")

    def _delete(self, removals: Iterable[Change]) -> None:
        found, _ = self.look()
        for change in sorted(removals, key=lambda one: drift.removal_order(one.name)):
            queue = found.queues.get(change.name)
            if queue is None:
                continue
            reason = drift.hindrance(change.name, found)
            if reason is not None:
                self._tell(f"{change.name}: not deleted, {reason}")
                continue
            for binding in found.bindings or ():
                if binding.queue == change.name:
                    self._admin.unbind(binding)
            try:
                self._admin.delete(queue)
            except QueueInUse as error:
                self._tell(f"{change.name}: not deleted, {error}")
                continue
            remaining = {name: one for name, one in found.queues.items() if name != change.name}
            found = replace(found, queues=remaining)
            self._tell(f"{change.name}: deleted")


class _Steps:
    """Writes a migration's progress to its audit row; where the tests kill it."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def step(self, name: str) -> None:
        self._operation.note("step", name)
        crash_point(f"topology.{name}")

    def moved(self, count: int) -> None:
        self._operation.advance(count)
        crash_point("topology.moving")


def _of(changes: Iterable[Change], kind: Kind) -> Iterator[Change]:
    return (change for change in changes if change.kind is kind)


def _done(change: Change) -> str:
    return {
        Kind.CREATE_EXCHANGE: "exchange created",
        Kind.CREATE_QUEUE: "queue created",
        Kind.CREATE_BINDING: f"bound to {change.pattern!r}",
    }.get(change.kind, change.action)


def _told(change: Change) -> str:
    pattern = "" if change.pattern is None else f" {change.pattern}"
    return f"{change.kind.value} {change.name}{pattern}"


def required_sight(found: Found, permissions: Permissions) -> None:
    """Raise where something is asked for that cannot be seen."""
    if permissions.prune and not found.complete:
        raise EventBusError(f"--prune: what is too much cannot be seen; {'; '.join(found.notes)}")
