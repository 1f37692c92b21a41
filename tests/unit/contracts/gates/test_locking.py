"""Lock files follow the classes as long as nobody breaks."""

from __future__ import annotations

import enum
import json
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from marshmallow.validate import Length

from eventbus import Places
from eventbus.contracts import Mode
from eventbus.contracts.gates.locking import Locking, lock_contracts
from eventbus.contracts.gates.standing import State
from eventbus.contracts.lock_files import LockFile, lock_path, read_lock, read_locks
from eventbus.contracts.registry.port import Reader
from eventbus.errors import DeclarationError, InvalidLockFile

from .conftest import Shop

FORMATS = ["json", "avro", "protobuf"]


def lock(shop: Shop, mode: Mode | None = None, pinned: list[Reader] | None = None) -> list[Locking]:
    bus = shop.bus
    locks = read_locks(bus.settings.contracts)
    return lock_contracts(bus, bus.published_events, locks, mode, pinned or [])


def states(done: list[Locking]) -> dict[str, State]:
    return {one.standing.subject: one.standing.state for one in done}


def locked(shop: Shop, name: str = "order.paid") -> LockFile:
    found = read_lock(shop.bus.settings.contracts, name)
    assert found is not None
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_a_new_event_gets_its_first_version(shop: Shop, format: str) -> None:
    shop.event(_format=format, order_id=UUID)

    done = lock(shop)

    assert states(done) == {"order.paid": State.NEW}
    assert locked(shop).source == "shop"
    assert locked(shop).compatibility is Mode.FULL_TRANSITIVE
    assert [one.version for one in locked(shop).versions] == [1]


@pytest.mark.parametrize("format", FORMATS)
def test_locking_twice_changes_nothing(shop: Shop, format: str) -> None:
    shop.event(_format=format, order_id=UUID)
    lock(shop)
    path = lock_path(shop.bus.settings.contracts, "order.paid")
    before = path.stat()

    done = lock(shop)

    assert [one.path for one in done] == [None]
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


@pytest.mark.parametrize("format", FORMATS)
def test_a_field_with_a_default_becomes_the_next_version_at_the_end_of_the_file(
    shop: Shop, format: str
) -> None:
    shop.event(_format=format, order_id=UUID)
    lock(shop)
    path = lock_path(shop.bus.settings.contracts, "order.paid")
    before = path.read_text()

    shop.event(_format=format, order_id=UUID, count=(int, 1))
    done = lock(shop)

    assert states(done) == {"order.paid": State.CHANGED}
    assert [one.version for one in locked(shop).versions] == [1, 2]
    # The first version is as it was, to the letter: a review shows an addition.
    assert path.read_text().startswith(before.rstrip().rstrip("]}\n ").rstrip())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"order_id": UUID, "total": int}, {"order_id": UUID}),
        ({"order_id": UUID}, {"order_id": UUID, "total": int}),
        ({"total": int}, {"total": Annotated[str, Length(max=9)]}),
        ({"total": (int, 1)}, {"total": (bool, True)}),
    ],
    ids=["removed", "added without default", "other type", "other type with default"],
)
def test_what_breaks_a_reader_is_refused_and_the_file_left_as_it_is(
    shop: Shop, format: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    if format == "protobuf" and "added" in str(after):
        pytest.skip("a field of proto3 has a default")
    shop.event(_format=format, **before)
    lock(shop)
    path = lock_path(shop.bus.settings.contracts, "order.paid")
    text = path.read_text()

    shop.event(_format=format, **after)
    done = lock(shop)

    assert states(done) == {"order.paid": State.INCOMPATIBLE}
    assert done[0].standing.found.differences
    assert path.read_text() == text


def test_another_format_is_refused(shop: Shop) -> None:
    shop.event(order_id=UUID)
    lock(shop)

    shop.event(_format="avro", order_id=UUID)
    done = lock(shop)

    assert states(done) == {"order.paid": State.INCOMPATIBLE}
    assert [one.kind for one in done[0].standing.found.differences] == ["FORMAT_CHANGED"]


def test_a_new_major_is_an_event_of_its_own(shop: Shop) -> None:
    shop.event(order_id=UUID)
    lock(shop)

    shop.event(total=int, _major=2)
    done = lock(shop)

    assert states(done) == {"order.paid": State.LOCKED, "order.paid.v2": State.NEW}


@pytest.mark.parametrize("format", FORMATS)
def test_a_class_that_goes_back_to_an_earlier_version_needs_no_new_one(
    shop: Shop, format: str
) -> None:
    shop.event(_format=format, order_id=UUID)
    lock(shop)
    shop.event(_format=format, order_id=UUID, count=(int, 1))
    lock(shop)

    shop.event(_format=format, order_id=UUID)
    done = lock(shop)

    assert states(done) == {"order.paid": State.EARLIER}
    assert done[0].standing.version == locked(shop).versions[0]
    assert len(locked(shop).versions) == 2


def test_going_back_is_refused_where_the_mode_does_not_allow_it(shop: Shop) -> None:
    shop.event(order_id=UUID, total=int)
    lock(shop, Mode.BACKWARD)
    shop.event(order_id=UUID)
    assert states(lock(shop)) == {"order.paid": State.CHANGED}

    shop.event(order_id=UUID, total=int)
    done = lock(shop)

    assert states(done) == {"order.paid": State.INCOMPATIBLE}
    assert {one.version for one in done[0].standing.found.differences} == {2}


def test_a_mode_is_kept_in_the_file_and_counts_from_then_on(shop: Shop) -> None:
    shop.event(order_id=UUID, total=int)
    lock(shop)
    lock(shop, Mode.BACKWARD)
    assert locked(shop).compatibility is Mode.BACKWARD

    shop.event(order_id=UUID)

    assert states(lock(shop)) == {"order.paid": State.CHANGED}
    assert locked(shop).compatibility is Mode.BACKWARD


def test_an_incompatible_event_does_not_keep_the_others_from_being_locked(shop: Shop) -> None:
    shop.event("a.broken", total=int)
    shop.event("b.fine", total=int)
    lock(shop)

    shop.event("a.broken", total=bool)
    shop.event("b.fine", total=int, count=(int, 1))
    done = lock(shop)

    assert states(done) == {"a.broken": State.INCOMPATIBLE, "b.fine": State.CHANGED}
    assert len(locked(shop, "b.fine").versions) == 2


def test_a_class_without_a_contract_stops_everything_before_a_file_is_written(shop: Shop) -> None:
    shop.event("a.fine", total=int)
    shop.event("b.opaque", total=Annotated[int, lambda value: None])

    with pytest.raises(DeclarationError, match="total"):
        lock(shop)

    assert read_locks(shop.bus.settings.contracts) == {}


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize("format", FORMATS)
def test_the_text_of_a_new_lock_file_is_always_the_same(shop: Shop, format: str) -> None:
    shop.event(
        _format=format,
        color=Color,
        price=Annotated[Decimal, Places(2, digits=12)],
        tags=list[Annotated[str, Length(max=5)]],
    )
    lock(shop)
    path = lock_path(shop.bus.settings.contracts, "order.paid")
    first = path.read_bytes()
    path.unlink()

    lock(shop)

    assert path.read_bytes() == first


@pytest.mark.parametrize("part", ["schema", "fingerprint", "id"])
def test_a_version_that_was_changed_by_hand_is_refused(shop: Shop, part: str) -> None:
    shop.event(order_id=UUID, total=int)
    lock(shop)
    path = lock_path(shop.bus.settings.contracts, "order.paid")
    value = json.loads(path.read_text())
    version = value["versions"][0]
    if part == "schema":
        version["schema"]["properties"]["total"]["minimum"] = 0
    elif part == "id":
        version["id"] += 1
    else:
        version["fingerprint"] = "0" * 64
    path.write_text(json.dumps(value))

    with pytest.raises(InvalidLockFile, match="version 1 was changed by hand"):
        lock(shop)


def test_a_pinned_reader_stops_what_the_mode_allows(shop: Shop) -> None:
    shop.event(order_id=UUID, total=int)
    lock(shop, Mode.BACKWARD)
    reader = Reader(
        "order.paid", "ledger", "2.1", "ledger.book", "book", locked(shop).newest.schema, 0
    )
    fresh = Reader(*[getattr(reader, name) for name in Reader.__slots__[:-1]], 2**53)

    shop.event(order_id=UUID)
    done = lock(shop, pinned=[fresh])

    assert states(done) == {"order.paid": State.INCOMPATIBLE}
    assert done[0].standing.found.compatible
    assert "ledger.book 2.1, handler book" in done[0].standing.broken[0]
    assert len(locked(shop).versions) == 1
