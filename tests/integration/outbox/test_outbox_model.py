"""Random histories of an outbox, its producers and its dispatchers, against a pure model.

The dispatchers are the real ones, on a publisher whose answers are drawn; the test runs their steps
one by one, lets leases run out, kills them, and interleaves transactions where the database
allows. After each step the tables are what the model says. No event may leave before one of its key
that was committed before its own transaction began.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventbus import Event, EventBus, database, tables
from eventbus.brokers.port import Confirmation
from eventbus.message import Message
from eventbus.outbox import transitions
from eventbus.outbox.row import SHARDS
from eventbus.outbox.store import OutboxStore, StoredRow
from eventbus.outbox.transitions import (
    Change,
    Fail,
    Hold,
    HoldBack,
    Log,
    ShardState,
    plan_shards,
)
from eventbus.workers import dispatcher as dispatcher_module
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.housekeeping import Housekeeping

_HOUR = timedelta(hours=1)
_TAKEN = (Confirmation.ROUTED, Confirmation.UNROUTED)


class ModelItem(Event, name="model.item"):
    """The event of these tests."""

    item: int


class OtherItem(Event, name="model.other"):
    """Another, so that one may be held back and the other flow."""

    item: int


_Item = ModelItem | OtherItem


@dataclass
class Row:
    """What the model knows of one event."""

    item: int
    seq: int
    name: str
    key: str | None
    shard: int
    state: str
    began: int
    committed: int | None = None
    attempts: int = 0
    held: bool = False
    routed: bool | None = None
    taken: bool = False
    delayed: bool = False

    def must_leave_before(self, other: Row) -> bool:
        if self.key is None or self.key != other.key or self.delayed or other.delayed:
            return False
        if self.began == other.began:
            return self.seq < other.seq
        return self.committed is not None and self.committed < other.began


@dataclass
class Model:
    """The outbox as it should be: committed rows, owners of shards, dispatchers alive."""

    rows: dict[int, Row] = field(default_factory=dict)
    owners: dict[int, str | None] = field(default_factory=lambda: dict.fromkeys(range(SHARDS)))
    alive: list[str] = field(default_factory=list)
    lapsed: set[str] = field(default_factory=set)

    def next_batch(
        self, shards: Collection[int], limit: int, in_flight: Collection[int]
    ) -> list[int]:
        pending = [
            row
            for row in sorted(self.rows.values(), key=lambda row: row.seq)
            if row.state == "pending"
        ]
        found = [
            row
            for row in pending
            if not row.held
            and not self._behind(row, lambda other: other.held or other.state == "held")
        ]
        chosen = [row.seq for row in found if row.shard in shards and row.seq not in in_flight]
        return chosen[:limit]

    def held_batch(
        self, shards: Collection[int], name: str, limit: int, in_flight: Collection[int]
    ) -> list[int]:
        found = [
            row.seq
            for row in sorted(self.rows.values(), key=lambda row: row.seq)
            if (row.state, row.name) == ("held", name)
            and row.shard in shards
            and row.seq not in in_flight
            and not self._behind(row, lambda o: o.attempts > 0 and o.state == "pending")
            and not self._behind(row, lambda o: o.state == "held" and o.name != name)
        ]
        return found[:limit]

    def _behind(self, row: Row, waits: Callable[[Row], bool]) -> bool:
        return row.key is not None and any(
            other.key == row.key
            and other.seq < row.seq
            and other.state in ("pending", "held")
            and waits(other)
            for other in self.rows.values()
        )

    def renew(self, owner: str) -> frozenset[int]:
        self.alive = [name for name in self.alive if name not in self.lapsed - {owner}]
        self.lapsed.discard(owner)
        if owner not in self.alive:
            self.alive.append(owner)
        expired = {s: o for s, o in self.owners.items() if o is not None and o not in self.alive}
        states = {s: ShardState(o, s in expired) for s, o in self.owners.items()}
        plan = plan_shards(states, owner, self.alive)
        self.owners.update(dict.fromkeys(plan.release))
        self.owners.update(dict.fromkeys(plan.owned, owner))
        return plan.owned

    def settle(self, owner: str, changes: Sequence[tuple[StoredRow, Change]]) -> None:
        for stored, change in changes:
            row = self.rows.get(stored.seq)
            if row is None or row.state == "logged" or self.owners[row.shard] != owner:
                continue
            if isinstance(change, Log):
                row.state, row.routed = "logged", change.routed
            elif isinstance(change, Hold):
                row.attempts, row.held, row.state = stored.attempts + 1, True, "pending"
            elif isinstance(change, HoldBack):
                row.attempts, row.held, row.state = max(row.attempts, 1), False, "held"
            elif isinstance(change, Fail):
                row.attempts, row.state = stored.attempts + 1, "failed"


class CheckedStore(OutboxStore):
    """The real store; each answer is compared with the model's."""

    def __init__(self, engine: Any, model: Model) -> None:
        super().__init__(engine)
        self._model = model

    def renew(self, owner: str, lease_ms: int) -> frozenset[int]:
        owned = super().renew(owner, lease_ms)
        assert owned == self._model.renew(owner)
        return owned

    def next_batch(
        self, shards: Collection[int], limit: int, in_flight: Collection[int] = ()
    ) -> list[StoredRow]:
        found = super().next_batch(shards, limit, in_flight)
        assert [row.seq for row in found] == self._model.next_batch(shards, limit, in_flight)
        assert [row.attempts for row in found] == [
            self._model.rows[row.seq].attempts for row in found
        ]
        return found

    def held_batch(
        self, shards: Collection[int], name: str, limit: int, in_flight: Collection[int] = ()
    ) -> list[StoredRow]:
        found = super().held_batch(shards, name, limit, in_flight)
        expected = self._model.held_batch(shards, name, limit, in_flight)
        assert [row.seq for row in found] == expected
        assert all(row.held for row in found)
        return found

    def settle(self, owner: str, changes: Sequence[tuple[StoredRow, Change]]) -> None:
        super().settle(owner, changes)
        self._model.settle(owner, changes)


class Wire:
    """A publisher: what it is given has left, and is answered when the dispatcher waits for it."""

    trouble = None

    def __init__(self, machine: OutboxMachine) -> None:
        self._machine = machine
        self._under_way: list[tuple[list[Row], Future[list[Confirmation]]]] = []

    def publish(self, messages: Sequence[Message]) -> Future[list[Confirmation]]:
        rows = [self._machine.row_of(message) for message in messages]
        self._machine.check_order(rows)
        future = _Lazy(self._answer)
        self._under_way.append((rows, future))
        return future

    def _answer(self) -> None:
        under_way, self._under_way = self._under_way, []
        for rows, future in under_way:
            answers = [self._machine.answer() for _ in rows]
            for row, answer in zip(rows, answers, strict=True):
                row.taken = row.taken or answer in _TAKEN
            future.set_result(answers)

    def wait_ready(self, timeout: float) -> bool:
        return True

    def close(self) -> None: ...


class _Lazy(Future[list[Confirmation]]):
    def __init__(self, answer: Callable[[], None]) -> None:
        super().__init__()
        self._answer = answer

    def result(self, timeout: float | None = None) -> list[Confirmation]:
        self._answer()
        return super().result(timeout)


@dataclass
class Open:
    """A transaction under way."""

    connection: Any
    began: int
    rows: list[Row] = field(default_factory=list)


_keys = st.sampled_from([None, "a", "a", "b"])
_events = st.sampled_from([ModelItem, OtherItem])
_numbers = st.integers(0, 2)


class OutboxMachine(RuleBasedStateMachine):
    """Commands of producers, dispatchers, operators and fate."""

    bus: EventBus
    interleaved: bool

    def __init__(self) -> None:
        super().__init__()
        self.engine = self.bus.engine
        with self.engine.begin() as connection:
            for table in (tables.outbox, tables.event_log, tables.dispatcher):
                connection.execute(sa.delete(table))
            connection.execute(sa.update(tables.shard).values(owner=None, lease_until_ms=0))
        self.model = Model()
        self.items: dict[int, Row] = {}
        self.ticks = itertools.count()
        self.open: list[Open] = []
        self.answers: Iterator[Confirmation] = itertools.repeat(Confirmation.ROUTED)
        self.crashed = 0
        self.wires: list[Wire] = []
        self.dispatchers: list[Dispatcher] = []
        for number in range(3):
            self.dispatchers.append(self._make(number))
            self.wires.append(Wire(self))

    def _make(self, number: int) -> Dispatcher:
        dispatcher = Dispatcher(self.bus, batch_size=2, name=f"d{number}")
        dispatcher._store = CheckedStore(self.engine, self.model)
        return dispatcher

    # -- what the wire asks ------------------------------------------------------------------

    def row_of(self, message: Message) -> Row:
        row = self.items[json.loads(message.body)["item"]]
        assert row.committed is not None, "a ghost: its transaction did not commit"
        return row

    def check_order(self, rows: Sequence[Row]) -> None:
        for row in rows:
            for earlier in self.items.values():
                if earlier.must_leave_before(row):
                    assert earlier.taken or earlier.state == "failed", (earlier, row)

    def answer(self) -> Confirmation:
        return next(self.answers, Confirmation.ROUTED)

    # -- producers -----------------------------------------------------------------------------

    @rule(
        rows=st.lists(st.tuples(_events, _keys), min_size=1, max_size=8),
        commit=st.booleans(),
        delay=st.booleans(),
    )
    def publish(
        self, rows: list[tuple[type[_Item], str | None]], commit: bool, delay: bool
    ) -> None:
        opened = self._begin()
        for kind, key in rows:
            self._insert(opened, kind, key, _HOUR if delay else None)
        self._end(opened, commit)

    @precondition(lambda self: self.interleaved and len(self.open) < 2)
    @rule()
    def begin(self) -> None:
        self.open.append(self._begin())

    @precondition(lambda self: self.open)
    @rule(number=_numbers, kind=_events, key=_keys)
    def publish_in(self, number: int, kind: type[_Item], key: str | None) -> None:
        self._insert(self.open[number % len(self.open)], kind, key, None)

    @precondition(lambda self: self.open)
    @rule(number=_numbers, commit=st.booleans())
    def end(self, number: int, commit: bool) -> None:
        self._end(self.open.pop(number % len(self.open)), commit)

    def _begin(self) -> Open:
        connection = self.engine.connect()
        connection.begin()
        return Open(connection, next(self.ticks))

    def _insert(
        self, opened: Open, kind: type[_Item], key: str | None, delay: timedelta | None
    ) -> None:
        item = len(self.items)
        event_id = self.bus.publish(
            kind(item=item), session=opened.connection, key=key, delay=delay
        )
        columns = tables.outbox.c
        found = opened.connection.execute(
            sa.select(columns.seq, columns.shard).where(columns.event_id == event_id)
        ).one()
        state = "delayed" if delay else "pending"
        name = kind.__event_name__ or ""
        row = Row(item, found.seq, name, key, found.shard, state, opened.began, delayed=bool(delay))
        self.items[item] = row
        opened.rows.append(row)

    def _end(self, opened: Open, commit: bool) -> None:
        if commit:
            opened.connection.commit()
            now = next(self.ticks)
            for row in opened.rows:
                row.committed = now
                self.model.rows[row.seq] = row
        else:
            opened.connection.rollback()
        opened.connection.close()

    # -- dispatchers ---------------------------------------------------------------------------

    @rule(number=_numbers)
    def fill(self, number: int) -> None:
        self.dispatchers[number]._fill(self.wires[number])

    @rule(number=_numbers, answers=st.lists(st.sampled_from(Confirmation), max_size=6))
    def finish(self, number: int, answers: list[Confirmation]) -> None:
        if self.dispatchers[number]._in_flight:
            self.answers = iter(answers)
            self.dispatchers[number]._finish(self.wires[number])

    @rule(number=_numbers, answers=st.lists(st.sampled_from(Confirmation), max_size=6))
    def renew(self, number: int, answers: list[Confirmation]) -> None:
        self.answers = iter(answers)
        self.dispatchers[number]._renew(self.wires[number])

    @precondition(lambda self: self.model.alive)
    @rule(number=st.integers(0, 20))
    def lease_runs_out(self, number: int) -> None:
        """Of a dispatcher that died, or unnoticed by its owner, as in a pause of its process."""
        owner = self.model.alive[number % len(self.model.alive)]
        with self.engine.begin() as connection:
            for table in (tables.shard, tables.dispatcher):
                connection.execute(
                    sa.update(table).where(table.c.owner == owner).values(lease_until_ms=0)
                )
        self.model.lapsed.add(owner)

    @rule(number=_numbers)
    def crash(self, number: int) -> None:
        """With all that it had under way; what it has sent may have arrived."""
        self.dispatchers[number] = self._make(number)
        self.wires[number] = Wire(self)

    # -- time ----------------------------------------------------------------------------------

    @rule()
    def holds_pass(self) -> None:
        columns = tables.outbox.c
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(tables.outbox).where(columns.attempts > 0).values(available_at_ms=0)
            )
        for row in self.model.rows.values():
            row.held = False

    @rule()
    def tries_are_due(self) -> None:
        for dispatcher in self.dispatchers:
            for _, hold in dispatcher._holds:
                hold.try_at = hold.look_at = 0.0

    @rule()
    def delays_pass(self) -> None:
        delayed = [row for row in self.model.rows.values() if row.state == "delayed"]
        store = OutboxStore(self.engine)
        due_ms = store.promote_delayed()
        assert (due_ms is None) == (not delayed)
        assert due_ms is None or due_ms > 0
        columns = tables.outbox.c
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(tables.outbox).where(columns.state == "delayed").values(available_at_ms=1)
            )
        if delayed:
            assert store.promote_delayed() == 0
        assert store.promote_delayed() is None
        for row in delayed:
            row.state = "pending"

    # -- what always holds -----------------------------------------------------------------------

    @invariant()
    def the_tables_are_what_the_model_says(self) -> None:
        outbox, log = tables.outbox.c, tables.event_log.c
        with database.reading(self.engine) as connection:
            rows = connection.execute(sa.select(outbox.seq, outbox.state, outbox.attempts)).all()
            logged = connection.execute(sa.select(log.seq, log.routed)).all()
        model = self.model.rows.values()
        assert sorted(map(tuple, rows)) == sorted(
            (row.seq, row.state, row.attempts) for row in model if row.state != "logged"
        )
        assert sorted(map(tuple, logged)) == sorted(
            (row.seq, row.routed) for row in model if row.state == "logged"
        )

    def teardown(self) -> None:
        """All that was committed reaches the broker in the end."""
        while self.open:
            self._end(self.open.pop(), commit=True)
        for number in range(len(self.model.alive)):
            self.lease_runs_out(number)
        self.crash(0)
        self.delays_pass()
        self.holds_pass()
        self.answers = itertools.repeat(Confirmation.ROUTED)
        last, wire = self.dispatchers[0], self.wires[0]
        last._renew(wire)
        for _ in range(10 * len(self.items) + 10):
            self.tries_are_due()
            last._fill(wire)
            while last._in_flight:
                last._finish(wire)
        assert {row.state for row in self.model.rows.values()} <= {"logged", "failed"}
        assert all(row.taken for row in self.model.rows.values() if row.state == "logged")
        self.the_tables_are_what_the_model_says()


@contextmanager
def _quiet_dispatchers() -> Iterator[None]:
    """Holds and leases far longer than a test, few attempts, no housekeeping."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transitions, "FIRST_HOLD_MS", 3_600_000)
        patch.setattr(transitions, "LONGEST_HOLD_MS", 3_600_000)
        patch.setattr(transitions, "MAX_ATTEMPTS", 3)
        patch.setattr(dispatcher_module, "LEASE", 3 * _HOUR)
        patch.setattr(Housekeeping, "run", lambda *_: None)
        yield


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 150), ("postgres", 40), ("mariadb", 40)])
def test_any_history_of_an_outbox_is_as_the_model_says(
    kind: str, examples: int, request: pytest.FixtureRequest
) -> None:
    bus = EventBus("shop", database_url=request.getfixturevalue(f"{kind}_url"))
    database.upgrade(bus.engine)
    # SQLite has one writer at a time, which would wait for itself.
    members = {"bus": bus, "interleaved": kind != "sqlite"}
    machine = type("Machine", (OutboxMachine,), members)
    try:
        with _quiet_dispatchers():
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=30,
                    deadline=None,
                    # Shrinking runs for minutes; to look for a shorter history, leave this out.
                    phases=(Phase.reuse, Phase.generate),
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        bus.engine.dispose()
