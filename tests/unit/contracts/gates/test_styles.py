"""A lock file says whether an event is a snapshot, and why: a review sees it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from uuid import UUID

import pytest

from eventbus.contracts.gates.checking import check_contracts
from eventbus.contracts.gates.findings import CHANGED, Finding
from eventbus.contracts.gates.locking import Locking, lock_contracts
from eventbus.contracts.lock_files import lock_path, read_locks
from eventbus.errors import InvalidLockFile

from .conftest import Shop


def lock(shop: Shop) -> list[Locking]:
    bus = shop.bus
    return lock_contracts(bus, bus.published_events, read_locks(bus.settings.contracts))


def check(shop: Shop) -> list[Finding]:
    today = dt.date(2026, 11, 24)
    return check_contracts(shop.bus, read_locks(shop.bus.settings.contracts), today)


def content(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        lock_path(shop.bus.settings.contracts, "order.paid").read_text()
    )
    return found


def test_the_reason_of_a_snapshot_is_locked_and_a_thin_event_needs_none(shop: Shop) -> None:
    shop.event(_style="thin", _reason="", order_id=UUID)
    lock(shop)
    assert "snapshot" not in content(shop)
    assert check(shop) == []

    shop.event(_style="snapshot", _reason="die Übergabe", order_id=UUID)
    (found,) = check(shop)
    assert found.rule is CHANGED
    assert found.message == "order.paid is a snapshot, and its lock file says otherwise"

    (done,) = lock(shop)
    assert done.path is not None
    assert content(shop)["snapshot"] == "die Übergabe"
    assert len(content(shop)["versions"]) == 1
    assert check(shop) == []


def test_another_reason_is_for_the_review_as_well(shop: Shop) -> None:
    shop.event(_reason="one", order_id=UUID)
    lock(shop)
    shop.event(_reason="another", order_id=UUID)
    (found,) = check(shop)
    assert found.message == "order.paid is a snapshot, and its lock file says another reason"
    lock(shop)
    assert content(shop)["snapshot"] == "another"

    shop.event(_style="thin", _reason="", order_id=UUID)
    (found,) = check(shop)
    assert found.message == "order.paid is thin, and its lock file says otherwise"
    lock(shop)
    assert "snapshot" not in content(shop)


@pytest.mark.parametrize("reason", ["", " ", 7, ["why"], True])
def test_a_reason_is_a_text(shop: Shop, reason: Any) -> None:
    shop.event(order_id=UUID)
    lock(shop)
    path = lock_path(shop.bus.settings.contracts, "order.paid")
    path.write_text(json.dumps({**content(shop), "snapshot": reason}))
    with pytest.raises(InvalidLockFile, match=r"has the snapshot .*, which is no reason"):
        check(shop)
