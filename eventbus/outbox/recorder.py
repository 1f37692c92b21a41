"""Events recorded on an aggregate, written when its session flushes.

An aggregate knows what happened to it, but should know no session. It records::

    class Order(RecordsEvents, Base):
        def pay(self, at: datetime) -> None:
            self.paid_at = at
            self.record_event(OrderPaid(order_id=self.id, paid_at=at), key=self.id)

and whatever session flushes the aggregate writes the event to the outbox, in the same transaction.
Nothing has to be switched on: an event that is recorded and flushed is written, or the flush fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import inspect
from sqlalchemy.orm import Session, SessionTransaction, object_session

from eventbus.bus import EventBus, live_buses
from eventbus.errors import DeclarationError, EventBusError
from eventbus.event import Event

_RECORDED = "_eventbus_recorded"
_AGGREGATES = "eventbus_aggregates"
_WRITTEN = "eventbus_written"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event waiting for its aggregate's flush, with what `EventBus.publish` is to be given."""

    event: Event
    key: object
    delay: timedelta | None
    subject: str | None
    #: What a rollback must undo for this to have never happened; None outside a transaction.
    transaction: SessionTransaction | None


class RecordsEvents:
    """Mixin for a mapped class whose instances record events.

    A process with more than one bus says which one is meant with ``__eventbus__ = bus`` in the
    class body.
    """

    __eventbus__: EventBus | None = None

    def record_event(
        self,
        event: Event,
        *,
        key: object = None,
        delay: timedelta | None = None,
        subject: str | None = None,
    ) -> None:
        """Record `event`; it is written at the next flush of the session that holds this object.

        Parameters are those of `EventBus.publish`.
        """
        session = object_session(self)
        recorded = Recorded(event, key, delay, subject, _current_transaction(session))
        self.__dict__.setdefault(_RECORDED, []).append(recorded)
        # A session does not notice an object none of whose columns changed.
        if session is not None:
            session.info.setdefault(_AGGREGATES, {})[id(self)] = self


def _current_transaction(session: Session | None) -> SessionTransaction | None:
    if session is None:
        return None
    return session.get_nested_transaction() or session.get_transaction()


def _take(session: Session) -> list[tuple[RecordsEvents, Recorded]]:
    candidates: dict[int, Any] = session.info.pop(_AGGREGATES, {})
    for state in (session.new, session.dirty, session.deleted):
        for instance in state:
            if isinstance(instance, RecordsEvents):
                candidates[id(instance)] = instance
    return [
        (aggregate, recorded)
        for aggregate in candidates.values()
        for recorded in aggregate.__dict__.pop(_RECORDED, ())
    ]


def _bus_of(aggregate: RecordsEvents) -> EventBus:
    if aggregate.__eventbus__ is not None:
        return aggregate.__eventbus__
    buses = live_buses()
    if len(buses) == 1:
        return buses[0]
    name = type(aggregate).__name__
    if not buses:
        raise EventBusError(f"{name} recorded an event, but no EventBus exists in this process")
    raise DeclarationError(
        f"{name} recorded an event, and there are {len(buses)} buses; say which one with "
        f"'__eventbus__ = bus' in the class body"
    )


def _write_recorded(session: Session, *_: Any) -> None:
    for aggregate, recorded in _take(session):
        written = session.info.setdefault(_WRITTEN, [])
        written.append((aggregate, recorded, _current_transaction(session)))
        _bus_of(aggregate).publish(
            recorded.event,
            session=session,
            key=recorded.key,
            delay=recorded.delay,
            subject=recorded.subject,
        )


def _undo(session: Session, rolled_back: SessionTransaction) -> None:
    """A rollback undoes what happened, and so what was recorded of it; only that."""
    # A failed flush is a transaction of its own here, but has undone the savepoint around it.
    while rolled_back.parent is not None and not rolled_back.nested:
        rolled_back = rolled_back.parent
    pending: dict[int, Any] = session.info.pop(_AGGREGATES, {})
    for aggregate in pending.values():
        for recorded in aggregate.__dict__.pop(_RECORDED, ()):
            _keep_if_it_stands(session, aggregate, recorded, rolled_back)
    for written in session.info.pop(_WRITTEN, ()):
        aggregate, recorded, written_in = written
        if _within(written_in, rolled_back):
            _keep_if_it_stands(session, aggregate, recorded, rolled_back)
        else:
            session.info.setdefault(_WRITTEN, []).append(written)


def _keep_if_it_stands(
    session: Session, aggregate: Any, recorded: Recorded, rolled_back: SessionTransaction
) -> None:
    """Record again what a rollback has not undone.

    What was new has left the session as it was, and may be added once more. And what was recorded
    before a savepoint, and written in it, has still happened.
    """
    if inspect(aggregate).transient:
        aggregate.__dict__.setdefault(_RECORDED, []).append(replace(recorded, transaction=None))
    elif not _within(recorded.transaction, rolled_back):
        aggregate.__dict__.setdefault(_RECORDED, []).append(recorded)
        session.info.setdefault(_AGGREGATES, {})[id(aggregate)] = aggregate


def _within(transaction: SessionTransaction | None, outer: SessionTransaction) -> bool:
    """Whether `transaction` is `outer` or a savepoint in it; all are in the outermost."""
    while transaction is not None and transaction is not outer:
        transaction = transaction.parent
    return transaction is outer or outer.parent is None


def _committed(session: Session) -> None:
    if not session.in_nested_transaction():
        session.info.pop(_WRITTEN, None)


sqlalchemy_event.listen(Session, "before_flush", _write_recorded)
# A flush without a changed column is skipped; what was recorded is still to be written, also what
# an application's own hook recorded during the flush.
sqlalchemy_event.listen(Session, "after_flush_postexec", _write_recorded)
sqlalchemy_event.listen(Session, "before_commit", _write_recorded)
sqlalchemy_event.listen(Session, "after_commit", _committed)
sqlalchemy_event.listen(Session, "after_soft_rollback", _undo)
