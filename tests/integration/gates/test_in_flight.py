"""What is under way is read as a worker would read it, and stays where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from eventbus import Event, EventBus, database, tables
from eventbus.brokers.port import Confirmation
from eventbus.contracts.gates.findings import IN_FLIGHT, IN_FLIGHT_DOUBTFUL
from eventbus.contracts.gates.in_flight import (
    EVENT_LOG,
    OUTBOX,
    InFlight,
    Kind,
    about_in_flight,
)
from eventbus.contracts.gates.locking import lock_contracts
from eventbus.contracts.lock_files import read_locks
from eventbus.message import ATTEMPTS_HEADER, HANDLER_HEADER, Message
from eventbus.outbox.publication import to_publication
from eventbus.outbox.store import StoredRow
from eventbus.workers.operations.in_flight import look
from tests.unit.contracts.gates.conftest import Shop

QUEUE, DEAD = "shop.billing", "shop.billing.dlq"


class Desk:
    """A shop whose messages are put where they are found."""

    def __init__(self, shop: Shop, settings: dict[str, Any]) -> None:
        self.shop = shop
        self._settings = settings

    @property
    def bus(self) -> EventBus:
        return self.shop.bus

    def release(self, **fields: Any) -> type[Event]:
        """Deploy the shop with these fields of ``order.paid``, locked, and a handler for them."""
        self.shop.restarted(**self._settings)
        made = self.shop.event(**fields)
        self.shop.handler(made)
        folder = self.bus.settings.contracts
        lock_contracts(self.bus, self.bus.published_events, read_locks(folder))
        with closing(self.bus.broker.admin()) as admin:
            admin.declare(self.bus.topology())
        return made

    def publish(self, event: Event) -> None:
        with database.writing(self.bus.engine) as connection:
            self.bus.publish(event, session=connection)

    def message(self, event: Event, **headers: Any) -> Message:
        """What a dispatcher would send; its row is taken out of the outbox."""
        self.publish(event)
        columns = [
            tables.outbox.c[name]
            for name in ("seq", "name", "partition_key", "attributes", "body", "created_at_ms")
        ]
        with database.writing(self.bus.engine) as connection:
            row = connection.execute(
                sa.select(*columns).order_by(tables.outbox.c.seq.desc()).limit(1)
            ).one()
            connection.execute(sa.delete(tables.outbox).where(tables.outbox.c.seq == row.seq))
        return to_publication(StoredRow(*row)).with_headers(headers)

    def put(self, *messages: Message, queue: str = QUEUE) -> None:
        publisher = self.bus.broker.publisher("test")
        assert publisher.wait_ready(30)
        found = publisher.publish(messages, queue).result(30)
        publisher.close()
        assert found == [Confirmation.ROUTED] * len(messages)

    def counts(self) -> dict[str, int]:
        with closing(self.bus.broker.admin()) as admin:
            return {name: one.messages for name, one in admin.stats([QUEUE, DEAD]).items()}

    def rules(self, seen: InFlight) -> list[str]:
        return [one.rule.id for one in about_in_flight(self.bus, seen)]


@pytest.fixture(params=["embedded", "rabbitmq"])
def desk(shop: Shop, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """The shop on each of the brokers."""
    rabbitmq = request.param == "rabbitmq"
    desk = Desk(shop, {"broker_url": request.getfixturevalue("broker_url")} if rabbitmq else {})
    yield desk
    shop.bus.engine.dispose()


def test_nothing_is_under_way(desk: Desk) -> None:
    desk.release(number=int)

    seen = look(desk.bus, 100)

    assert seen.kinds == {}
    assert {place.name for place in seen.places} >= {OUTBOX, EVENT_LOG, QUEUE, DEAD}


def test_what_can_be_read_is_counted_by_place_and_version_and_stays(desk: Desk) -> None:
    first = desk.release(number=int)
    desk.publish(first(number=1))
    desk.put(desk.message(first(number=2)), desk.message(first(number=3)))
    second = desk.release(number=int, count=(int, 1))
    desk.put(desk.message(second(number=4)))
    desk.put(desk.message(second(number=5), **{HANDLER_HEADER: "charge"}), queue=DEAD)

    seen = look(desk.bus, 100)

    assert {kind: (one.messages, one.unreadable) for kind, one in seen.kinds.items()} == {
        Kind(OUTBOX, "order.paid", 1): (1, 0),
        Kind(QUEUE, "order.paid", 1): (2, 0),
        Kind(QUEUE, "order.paid", 2): (1, 0),
        Kind(DEAD, "order.paid", 2): (1, 0),
    }
    assert desk.rules(seen) == []
    assert look(desk.bus, 100).kinds.keys() == seen.kinds.keys()
    assert desk.counts() == {QUEUE: 3, DEAD: 1}


def test_what_the_new_class_cannot_read_is_found_with_place_version_and_path(desk: Desk) -> None:
    old = desk.release(number=int)
    desk.publish(old(number=1))
    desk.put(desk.message(old(number=2)))
    parked = {HANDLER_HEADER: "charge", ATTEMPTS_HEADER: 3}
    desk.put(desk.message(old(number=3), **parked), queue=DEAD)
    desk.release(number=int, needed=int)

    seen = look(desk.bus, 100)
    found = list(about_in_flight(desk.bus, seen))

    assert {one.rule for one in found} == {IN_FLIGHT}
    assert len(found) == 3
    assert all(one.versions == (1,) for one in found)
    assert all(one.difference and one.difference.path == "$.needed" for one in found)
    assert "1 of 1 messages of order.paid version 1 in the outbox" in found[0].message


def test_an_upcaster_makes_it_readable(desk: Desk) -> None:
    old = desk.release(number=int)
    desk.put(desk.message(old(number=2)))
    new = desk.release(number=int, needed=int)
    assert desk.rules(look(desk.bus, 100)) == [IN_FLIGHT.id]

    new.upcast(from_version=1)(lambda data: {**data, "needed": 0})

    assert desk.rules(look(desk.bus, 100)) == []


def test_what_no_worker_could_ever_read_is_a_warning_in_the_dead_letter_queue(desk: Desk) -> None:
    made = desk.release(number=int)
    rubbish = replace(desk.message(made(number=1)), body=b"{")
    desk.put(rubbish, Message(b"", "order.paid"), queue=DEAD)

    seen = look(desk.bus, 100)

    assert set(desk.rules(seen)) == {IN_FLIGHT_DOUBTFUL.id}
    assert sum(one.unreadable for one in seen.kinds.values()) == 2


def test_of_many_messages_a_sample_is_looked_at(desk: Desk) -> None:
    made = desk.release(number=int)
    message = desk.message(made(number=1))
    desk.put(*[replace(message, message_id=str(uuid4())) for _ in range(30)])

    seen = look(desk.bus, 7)

    (place,) = [place for place in seen.places if place.name == QUEUE]
    assert (place.messages, place.looked) == (30, 7)
    assert desk.counts()[QUEUE] == 30


def test_the_event_log_is_read_newest_first_and_only_warned_about(shop: Shop) -> None:
    desk = Desk(shop, {})
    made = desk.release(number=int)
    desk.publish(made(number=1))
    with database.writing(desk.bus.engine) as connection:
        (row,) = connection.execute(sa.select(tables.outbox)).mappings()
        names = set(tables.event_log.c.keys()) & set(row)
        for second in (1, 2):
            values = {name: row[name] for name in names}
            connection.execute(
                sa.insert(tables.event_log).values(
                    **{**values, "seq": second}, published_at_ms=second, routed=True
                )
            )
        connection.execute(sa.delete(tables.outbox))
    desk.release(number=int, needed=int)

    seen = look(desk.bus, 1)

    assert [kind.place for kind in seen.kinds] == [EVENT_LOG]
    assert desk.rules(seen) == [IN_FLIGHT_DOUBTFUL.id]
    (place,) = [place for place in seen.places if place.name == EVENT_LOG]
    assert (place.messages, place.looked) == (2, 1)


def test_a_row_that_somebody_else_has_written_is_found(shop: Shop) -> None:
    desk = Desk(shop, {})
    made = desk.release(number=int)
    desk.publish(made(number=1))
    with database.writing(desk.bus.engine) as connection:
        connection.execute(sa.update(tables.outbox).values(attributes="{"))

    assert desk.rules(look(desk.bus, 10)) == [IN_FLIGHT.id]
