"""An event is validated against its contract before the INSERT, inside the business transaction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from marshmallow.validate import Length, Range
from sqlalchemy.orm import Session

from eventbus import Event, EventBus, database, tables
from eventbus.contracts import known, publishing
from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.lock_files import lock_path
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.errors import InvalidLockFile, ValidationError

from .conftest import LockContract

FORMATS = ["json", "avro", "protobuf"]


@pytest.fixture
def bus(database_url: str, folder: Path) -> Any:
    """A bus on each database."""
    bus = EventBus("shop", database_url=database_url, contracts=str(folder))
    database.upgrade(bus.engine)
    yield bus
    bus.engine.dispose()


@pytest.fixture
def sqlite_bus(sqlite_url: str, folder: Path) -> Any:
    """Makes a bus on SQLite, for what has nothing to do with the database."""
    made = []

    def make(**settings: Any) -> EventBus:
        bus = EventBus("shop", database_url=sqlite_url, contracts=str(folder), **settings)
        made.append(bus)
        database.upgrade(bus.engine)
        return bus

    yield make
    for bus in made:
        bus.engine.dispose()


def publish(bus: EventBus, *events: Event) -> list[dict[str, Any]]:
    """Publish in one transaction; the rows of the outbox afterwards, with their attributes."""
    with Session(bus.engine) as session, session.begin():
        for event in events:
            bus.publish(event, session=session)
    return rows(bus)


def rows(bus: EventBus) -> list[dict[str, Any]]:
    """What is in the outbox."""
    with bus.engine.connect() as connection:
        found = connection.execute(sa.select(tables.outbox)).mappings().all()
    return [{**row, **json.loads(row["attributes"])} for row in found]


def declare(format: str, **extra: Any) -> type[Event]:
    """The first version of an event."""

    class Paid(Event, name="order.paid", format=format, **extra):
        order_id: UUID
        code: Annotated[str, Length(min=2, max=3)]

    return Paid


def moved(format: str) -> type[Event]:
    """The same event after a change that nobody has registered."""

    class Paid(Event, name="order.paid", format=format):
        order_id: UUID
        code: Annotated[str, Length(max=20)]
        note: Annotated[str, Length(max=20)] = ""

    return Paid


# -- registered ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_class_that_is_registered_is_published_by_its_lock_file(
    sqlite_bus: Any, lock: LockContract, format: str
) -> None:
    Paid = declare(format)
    lock(Paid)
    [row] = publish(sqlite_bus(), Paid(order_id=uuid4(), code="abc"))
    assert row["dataschema"] == "urn:eventbus:schema:order.paid:1"
    assert row.get("datacontenttype") == (None if format == "json" else f"application/{format}")


@pytest.mark.parametrize("format", ["json", "avro"])
def test_a_class_that_is_registered_is_published_by_the_tables(bus: EventBus, format: str) -> None:
    Paid = declare(format)
    made = DatabaseRegistry(bus.engine).register("order.paid", writer_contract(Paid))
    [row] = publish(bus, Paid(order_id=uuid4(), code="abc"))
    assert row["dataschema"] == "urn:eventbus:schema:order.paid:1"
    if format != "json":
        assert row["body"][:5] == b"\0" + made.id.to_bytes(4, "big")


def test_an_earlier_version_is_published_as_that(sqlite_bus: Any, lock: LockContract) -> None:
    Paid = declare("protobuf")
    lock(Paid)
    lock(moved("protobuf"))
    [row] = publish(sqlite_bus(), Paid(order_id=uuid4(), code="abc"))
    assert row["dataschema"] == "urn:eventbus:schema:order.paid:1"


def test_the_contract_is_looked_up_once(
    sqlite_bus: Any, lock: LockContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    Paid = declare("json")
    lock(Paid)
    bus = sqlite_bus()
    publish(bus, Paid(order_id=uuid4(), code="abc"))
    monkeypatch.setattr(known, "read_lock", None)
    monkeypatch.setattr(publishing, "LOOK_AGAIN_SECONDS", 0)
    assert len(publish(bus, Paid(order_id=uuid4(), code="abd"))) == 2


# -- moved away ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_class_that_has_moved_away_is_held_to_the_registered_contract(
    sqlite_bus: Any, lock: LockContract, format: str
) -> None:
    lock(declare(format))
    bus, Paid = sqlite_bus(), moved(format)
    with pytest.raises(ValidationError) as refused:
        publish(bus, Paid(order_id=uuid4(), code="abc", note="new"))
    text = str(refused.value)
    assert "order.paid does not fit its contract, version 1" in text
    assert "note" in text
    assert "eventbus schema lock" in text
    assert rows(bus) == [], "nothing was written"


def test_the_path_and_the_reason_are_named(sqlite_bus: Any, lock: LockContract) -> None:
    lock(declare("json"))

    class Paid(Event, name="order.paid"):
        order_id: UUID
        code: Annotated[str, Length(max=20)]

    bus = sqlite_bus()
    with pytest.raises(ValidationError, match=r"version 1, at \$\.code: 'abcd' is too long"):
        publish(bus, Paid(order_id=uuid4(), code="abcd"))
    [row] = publish(bus, Paid(order_id=uuid4(), code="abc"))
    assert row["dataschema"] == "urn:eventbus:schema:order.paid:1"


def test_what_fits_all_the_same_is_published_as_the_newest_version(
    sqlite_bus: Any, lock: LockContract
) -> None:
    lock(declare("avro"))

    class Paid(Event, name="order.paid", format="avro"):
        order_id: UUID
        code: Annotated[str, Length(max=20)]

    [row] = publish(sqlite_bus(), Paid(order_id=uuid4(), code="abc"))
    assert row["dataschema"] == "urn:eventbus:schema:order.paid:1"


def test_formats_are_checked_as_our_contracts_mean_them(
    sqlite_bus: Any, lock: LockContract
) -> None:
    class Was(Event, name="order.seen"):
        order_id: UUID

    lock(Was)

    class Seen(Event, name="order.seen", style="snapshot", reason="a test"):
        order_id: str

    with pytest.raises(ValidationError, match=r"\$\.order_id: 'no uuid'"):
        publish(sqlite_bus(), Seen(order_id="no uuid"))


def test_a_class_without_a_contract_of_its_own_is_held_to_the_registered_one(
    sqlite_bus: Any, lock: LockContract
) -> None:
    class Was(Event, name="order.counted"):
        count: Annotated[int, Range(max=5)]

    lock(Was)

    def even(value: int) -> bool:
        return value % 2 == 0

    class Counted(Event, name="order.counted"):
        count: Annotated[int, even]

    bus = sqlite_bus()
    publish(bus, Counted(count=4))
    with pytest.raises(ValidationError, match=r"\$\.count: 6 is greater"):
        publish(bus, Counted(count=6))


def test_a_class_of_another_format_is_refused(sqlite_bus: Any, lock: LockContract) -> None:
    lock(declare("json"))
    with pytest.raises(ValidationError, match="its contract is json"):
        publish(sqlite_bus(), declare("avro")(order_id=uuid4(), code="abc"))


def test_a_contract_that_is_registered_later_is_found(
    sqlite_bus: Any, lock: LockContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, Paid = sqlite_bus(), declare("json")
    monkeypatch.setattr(publishing, "LOOK_AGAIN_SECONDS", 0)
    publish(bus, Paid(order_id=uuid4(), code="abc"))
    lock(Paid)
    first, second = publish(bus, Paid(order_id=uuid4(), code="abc"))
    assert "dataschema" not in first
    assert second["dataschema"] == "urn:eventbus:schema:order.paid:1"


# -- nothing registered ----------------------------------------------------------------------------


def test_an_event_without_a_contract_is_published_as_it_was(bus: EventBus) -> None:
    [row] = publish(bus, declare("json")(order_id=uuid4(), code="abc"))
    assert "dataschema" not in row
    assert json.loads(row["body"])["code"] == "abc"


def test_require_contract_refuses_an_event_without_one(sqlite_bus: Any) -> None:
    bus = sqlite_bus(require_contract=True)
    with pytest.raises(ValidationError, match=r"require_contract.*eventbus schema lock"):
        publish(bus, declare("json")(order_id=uuid4(), code="abc"))


@pytest.mark.parametrize("format", ["avro", "protobuf"])
def test_a_binary_format_without_a_contract_is_refused(sqlite_bus: Any, format: str) -> None:
    with pytest.raises(ValidationError, match=f"{format}.*nobody could read.*schema lock"):
        publish(sqlite_bus(), declare(format)(order_id=uuid4(), code="abc"))


def test_tables_that_were_never_made_are_no_contract(sqlite_bus: Any) -> None:
    bus = sqlite_bus()
    tables.contract_version.drop(bus.engine)
    assert len(publish(bus, declare("json")(order_id=uuid4(), code="abc"))) == 1


# -- something is broken ---------------------------------------------------------------------------


def test_a_registry_that_is_down_stops_nothing(sqlite_bus: Any, lock: LockContract) -> None:
    lock(declare("avro"))
    bus = sqlite_bus(registry_url="http://127.0.0.1:9")

    class Other(Event, name="order.other"):
        order_id: UUID

    found = publish(bus, declare("avro")(order_id=uuid4(), code="abc"), Other(order_id=uuid4()))
    assert [row.get("dataschema") for row in found] == ["urn:eventbus:schema:order.paid:1", None]


def test_a_damaged_lock_file_is_stood_in_for_by_the_tables(
    sqlite_bus: Any, folder: Path, lock: LockContract, caplog: pytest.LogCaptureFixture
) -> None:
    Paid = declare("json")
    lock(Paid)
    lock_path(folder, "order.paid").write_text("<<<<<<< HEAD\n")
    bus = sqlite_bus()
    with pytest.raises(InvalidLockFile, match="merge conflict"):
        publish(bus, Paid(order_id=uuid4(), code="abc"))
    DatabaseRegistry(bus.engine).register("order.paid", writer_contract(Paid))
    [row] = publish(bus, Paid(order_id=uuid4(), code="abc"))
    assert row["dataschema"] == "urn:eventbus:schema:order.paid:1"
    assert "a lock file is not used" in caplog.text


def test_the_lookup_does_not_wait_for_the_caller(sqlite_bus: Any) -> None:
    bus = sqlite_bus()
    with Session(bus.engine) as session, session.begin():
        # The transaction holds SQLite's only lock for writing before the contract is looked up.
        session.execute(sa.delete(tables.inbox))
        bus.publish(declare("json")(order_id=uuid4(), code="abc"), session=session)
    assert len(rows(bus)) == 1


def test_a_message_that_is_too_large_is_refused_in_its_own_format(
    sqlite_bus: Any, lock: LockContract
) -> None:
    class Large(Event, name="order.large", format="avro", style="snapshot", reason="a test"):
        text: str

    lock(Large)
    bus = sqlite_bus(max_message_bytes=1024)
    publish(bus, Large(text="x" * 1000))
    with pytest.raises(ValidationError, match="max_message_bytes"):
        publish(bus, Large(text="x" * 1100))
