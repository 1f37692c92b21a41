"""What the gate in CI finds, each with what to do about it."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import pytest

from eventbus import Deprecated
from eventbus.contracts import Mode
from eventbus.contracts.gates.checking import check_contracts
from eventbus.contracts.gates.findings import (
    CHANGED,
    DEPRECATED,
    HISTORY,
    INCOMPATIBLE,
    MISSING,
    READER,
    REMOVED,
    Finding,
    Rule,
)
from eventbus.contracts.gates.locking import lock_contracts
from eventbus.contracts.lock_files import (
    LockedVersion,
    LockFile,
    lock_path,
    read_locks,
    write_lock,
)
from eventbus.contracts.registry.port import Reader
from eventbus.errors import InvalidLockFile

from .conftest import Shop

TODAY = dt.date(2026, 11, 24)


def lock(shop: Shop, mode: Mode | None = None) -> None:
    bus = shop.bus
    lock_contracts(bus, bus.published_events, read_locks(bus.settings.contracts), mode)


def check(shop: Shop, pinned: list[Reader] | None = None) -> list[Finding]:
    bus = shop.bus
    return check_contracts(bus, read_locks(bus.settings.contracts), TODAY, pinned or [])


def rules(found: list[Finding]) -> list[Rule]:
    return [one.rule for one in found]


def test_what_is_locked_is_fine(shop: Shop) -> None:
    shop.handler(shop.event(order_id=UUID))
    lock(shop)

    assert check(shop) == []


def test_no_event_and_no_folder_is_fine(shop: Shop) -> None:
    assert check(shop) == []


def test_an_event_without_a_lock_file_is_found(shop: Shop) -> None:
    shop.event(order_id=UUID)

    (found,) = check(shop)

    assert found.rule is MISSING
    assert "schema lock" in found.remedy
    assert found.location is not None


def test_a_compatible_change_that_is_not_locked_is_found(shop: Shop) -> None:
    shop.event(order_id=UUID)
    lock(shop)
    shop.event(order_id=UUID, count=(int, 1))

    assert rules(check(shop)) == [CHANGED]


def test_an_incompatible_change_names_path_kind_versions_readers_and_the_next_major(
    shop: Shop,
) -> None:
    shop.event(order_id=UUID, total=int)
    lock(shop)
    shop.event(order_id=UUID, total=int, count=(int, 1))
    lock(shop)
    shop.handler(shop.event(order_id=UUID, count=(int, 1)))

    (found,) = check(shop)

    assert found.rule is INCOMPATIBLE
    assert found.message.startswith("removing `total`: who has versions 1 and 2 of order.paid")
    assert found.difference is not None
    assert found.difference.path in found.message
    assert found.difference.kind in found.message
    assert found.versions == (1, 2)
    assert found.readers == ("shop.billing, handler charge",)
    assert "order.paid.v2" in found.remedy


def test_a_known_release_is_named(shop: Shop) -> None:
    shop.event(order_id=UUID, total=int)
    lock(shop)
    shop.restarted(release="1.4")
    shop.handler(shop.event(order_id=UUID))

    (found,) = check(shop)

    assert found.readers == ("shop.billing 1.4, handler charge",)


def test_an_event_that_is_declared_no_longer_is_found(shop: Shop) -> None:
    shop.event(order_id=UUID)
    lock(shop)
    shop.without("order.paid")

    (found,) = check(shop)

    assert found.rule is REMOVED
    assert found.location is not None
    assert found.location.file.endswith("order.paid.lock.json")


def test_the_lock_file_of_another_service_without_a_handler_says_nothing(shop: Shop) -> None:
    shop.event(order_id=UUID)
    lock(shop)
    shop.without("order.paid")
    theirs = read_locks(shop.bus.settings.contracts)["order.paid"]
    write_lock(
        shop.bus.settings.contracts,
        LockFile(theirs.subject, theirs.format, theirs.versions, theirs.compatibility, "other"),
    )

    assert check(shop) == []


def theirs(shop: Shop, **fields: Any) -> None:
    """Lock an event as another service's, and forget its class."""
    shop.event(**fields)
    lock(shop)
    shop.without("order.paid")
    found = read_locks(shop.bus.settings.contracts)["order.paid"]
    write_lock(
        shop.bus.settings.contracts,
        LockFile(found.subject, found.format, found.versions, found.compatibility, "orders"),
    )


def test_a_handler_with_a_narrower_class_reads_the_event_of_another_service(shop: Shop) -> None:
    theirs(shop, order_id=UUID, total=int)
    shop.handler(shop.event(_source="orders", total=int))

    assert check(shop) == []


def test_a_handler_that_needs_what_another_service_does_not_send_is_found(shop: Shop) -> None:
    theirs(shop, order_id=UUID)
    shop.handler(shop.event(_source="orders", total=int))

    (found,) = check(shop)

    assert found.rule is READER
    assert "cannot read version 1 of order.paid" in found.message
    assert found.readers == ("shop.billing, handler charge",)


def test_a_handler_with_an_upcaster_reads_an_earlier_version(shop: Shop) -> None:
    theirs(shop, order_id=UUID)
    reads = shop.event(_source="orders", total=int)
    shop.handler(reads)
    assert rules(check(shop)) == [READER]

    reads.upcast(from_version=1)(lambda data: {**data, "total": 0})

    assert check(shop) == []


def test_a_narrower_class_beside_the_one_that_is_published_is_a_reader_of_its_own(
    shop: Shop,
) -> None:
    published = shop.event(order_id=UUID, total=int)
    shop.handler(shop.event(_source="shop", total=int))
    lock(shop)
    assert shop.bus.published_events == {"order.paid": published}
    assert check(shop) == []

    shop.handler(shop.event(_source="shop", missing=int), "other")

    assert rules(check(shop)) == [READER]


def test_a_pinned_reader_is_named_where_it_breaks(shop: Shop) -> None:
    shop.event(order_id=UUID, total=int)
    lock(shop, Mode.BACKWARD)
    newest = read_locks(shop.bus.settings.contracts)["order.paid"].newest
    pinned = Reader("order.paid", "ledger", "2.1", "ledger.book", "book", newest.schema, 2**53)
    shop.event(order_id=UUID)

    assert rules(check(shop)) == [CHANGED]
    (found,) = check(shop, [pinned])

    assert found.rule is READER
    assert found.message.startswith("removing `total`: BACKWARD allows it")
    assert found.readers[0].startswith("ledger.book 2.1, handler book: ")


def test_versions_that_a_merge_has_brought_together_are_compared_with_each_other(
    shop: Shop,
) -> None:
    shop.event(order_id=UUID)
    lock(shop)
    shop.event(order_id=UUID, count=(int, 1))
    lock(shop)
    first = read_locks(shop.bus.settings.contracts)["order.paid"]
    lock_path(shop.bus.settings.contracts, "order.paid").unlink()
    shop.event(order_id=UUID, count=(bool, True))
    lock(shop)
    other = read_locks(shop.bus.settings.contracts)["order.paid"].newest
    merged = LockedVersion(3, other.id, other.fingerprint, other.schema)
    write_lock(shop.bus.settings.contracts, replace(first, versions=(*first.versions, merged)))

    found = check(shop)

    assert set(rules(found)) == {HISTORY}
    assert all(one.versions == (2, 3) for one in found)


def test_the_history_of_a_mode_that_is_not_transitive_is_compared_with_its_neighbours(
    shop: Shop,
) -> None:
    for fields in ({"a": int}, {"a": (int, 1)}, {"b": (int, 1)}):
        shop.event(**fields)
        lock(shop, Mode.BACKWARD)
    assert check(shop) == []

    lock(shop, Mode.FULL_TRANSITIVE)

    assert set(rules(check(shop))) == {HISTORY}


@pytest.mark.parametrize(("until", "found"), [("2026-11-25", []), ("2026-11-24", [DEPRECATED])])
def test_a_deprecation_that_is_due_is_a_warning(shop: Shop, until: str, found: list[Rule]) -> None:
    shop.event(_deprecated=Deprecated(until, "use order.settled"), order_id=UUID)
    lock(shop)

    assert rules(check(shop)) == found
    assert all("use order.settled" in one.message for one in check(shop))


def test_a_deprecated_field_that_is_due_is_a_warning(shop: Shop) -> None:
    shop.event(total=(Annotated[int, Deprecated("2020-01-01", "use amount")], 1))
    lock(shop)

    (found,) = check(shop)

    assert found.rule is DEPRECATED
    assert found.message == "order.paid: total was to go away on 2020-01-01; use amount"


def test_a_lock_file_that_was_changed_by_hand_is_refused(shop: Shop) -> None:
    shop.event(total=int)
    lock(shop)
    path = lock_path(shop.bus.settings.contracts, "order.paid")
    path.write_text(json.dumps(json.loads(path.read_text().replace("integer", "string"))))

    with pytest.raises(InvalidLockFile, match="changed by hand"):
        check(shop)
