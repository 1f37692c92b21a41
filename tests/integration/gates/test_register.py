"""The gate at deploy: the locked versions in order, whoever else deploys at the same time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from eventbus import EventBus, database
from eventbus.contracts import Mode
from eventbus.contracts.gates.locking import lock_contracts
from eventbus.contracts.gates.readers import STALE_AFTER_MS, readers_of
from eventbus.contracts.gates.registered import check_registered
from eventbus.contracts.gates.registering import Outcome, Registration, register_contracts
from eventbus.contracts.lock_files import LockFile, read_locks
from eventbus.contracts.registry import open_registry
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.port import Reader, Registry
from eventbus.contracts.registry.server.listening import RegistryServer
from eventbus.errors import RegistryUnavailable
from tests.unit.contracts.gates.conftest import Shop


def lock(shop: Shop, mode: Mode | None = None) -> list[LockFile]:
    bus = shop.bus
    lock_contracts(bus, bus.published_events, read_locks(bus.settings.contracts), mode)
    return list(read_locks(bus.settings.contracts).values())


def register(registry: Registry, locks: list[LockFile], **options: Any) -> list[Registration]:
    return list(register_contracts(registry, locks, **options))


def outcomes(done: list[Registration]) -> list[tuple[int, Outcome]]:
    return [(one.version, one.outcome) for one in done]


def three_versions(shop: Shop, format: str = "json") -> list[LockFile]:
    shop.event(_format=format, order_id=UUID)
    lock(shop)
    shop.event(_format=format, order_id=UUID, count=(int, 1))
    lock(shop)
    shop.event(_format=format, order_id=UUID, count=(int, 1), ok=(bool, True))
    return lock(shop)


def tell(registry: Registry, shop: Shop, seen_ago_ms: int = 0) -> None:
    """Register what the handlers of `shop` read now."""
    seen = time.time_ns() // 1_000_000 - seen_ago_ms
    registry.add_readers(
        [
            Reader(*[getattr(one, name) for name in Reader.__slots__[:-1]], seen)
            for one in readers_of(shop.bus)
        ]
    )


@pytest.mark.parametrize("format", ["json", "avro", "protobuf"])
def test_all_versions_are_registered_in_order_and_once(shop: Shop, format: str) -> None:
    locks = three_versions(shop, format)
    registry = open_registry(shop.bus)

    first, second = register(registry, locks), register(registry, locks)

    assert outcomes(first) == [(n, Outcome.REGISTERED) for n in (1, 2, 3)]
    assert outcomes(second) == [(n, Outcome.KNOWN) for n in (1, 2, 3)]
    assert [one.version for one in registry.versions("order.paid")] == [1, 2, 3]
    # The ids in the lock file are those of the registry, without asking.
    assert [one.id for one in second] == [one.id for one in locks[0].versions]


def test_a_registry_over_http_takes_them_as_well(shop: Shop, server: RegistryServer) -> None:
    locks = three_versions(shop)
    bus = shop.restarted(registry_url=server.address)

    assert outcomes(register(open_registry(bus), locks)) == [
        (n, Outcome.REGISTERED) for n in (1, 2, 3)
    ]
    assert outcomes(register(open_registry(bus), locks)) == [(n, Outcome.KNOWN) for n in (1, 2, 3)]


def test_a_registry_that_is_down_is_said_with_exit_code_3(shop: Shop) -> None:
    locks = three_versions(shop)
    bus = shop.restarted(registry_url="http://127.0.0.1:1")

    with pytest.raises(RegistryUnavailable) as raised:
        register(open_registry(bus), locks)
    assert raised.value.exit_code == 3


def test_two_deploys_at_once_register_each_version_once(shop: Shop, database_url: str) -> None:
    locks = three_versions(shop)
    bus = EventBus("shop", database_url=database_url)
    database.upgrade(bus.engine)
    barrier = Barrier(4)

    def deploy(number: int) -> list[Registration]:
        registry = DatabaseRegistry(database.make_engine(database_url))
        barrier.wait()
        return register(registry, locks)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(deploy, range(4)))

    assert all(one.done for deploy in done for one in deploy)
    assert [one.version for one in open_registry(bus).versions("order.paid")] == [1, 2, 3]


def test_what_the_registry_refuses_ends_its_subject_and_not_the_others(shop: Shop) -> None:
    shop.event("a.first", total=int)
    shop.event("b.second", total=int)
    lock(shop, Mode.NONE)
    shop.event("a.first", total=bool)
    locks = lock(shop)
    registry = open_registry(shop.bus)
    register(registry, locks[:0])
    # As a registry has it that others look after, and that takes no mode from us.
    registry_of_others = StrictRegistry(registry)

    done = register(registry_of_others, locks)

    assert [(one.subject, one.version, one.outcome) for one in done] == [
        ("a.first", 1, Outcome.REGISTERED),
        ("a.first", 2, Outcome.REFUSED),
        ("b.second", 1, Outcome.REGISTERED),
    ]
    assert "TYPE_CHANGED" in done[1].why


class StrictRegistry:
    """A registry whose compatibility mode cannot be set."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    def set_mode(self, mode: Mode, subject: str | None = None) -> None: ...


def test_the_mode_of_the_lock_file_is_that_of_the_registry(shop: Shop) -> None:
    shop.event(order_id=UUID)
    locks = lock(shop, Mode.BACKWARD)
    registry = open_registry(shop.bus)

    register(registry, locks)

    assert registry.mode("order.paid") is Mode.BACKWARD
    assert registry.mode() is Mode.FULL_TRANSITIVE


def test_an_older_release_that_is_deployed_again_changes_nothing(shop: Shop) -> None:
    shop.event(order_id=UUID)
    old = lock(shop)
    shop.event(order_id=UUID, count=(int, 1))
    new = lock(shop, Mode.BACKWARD)
    registry = open_registry(shop.bus)
    register(registry, new)

    assert outcomes(register(registry, old)) == [(1, Outcome.KNOWN)]
    assert registry.mode("order.paid") is Mode.BACKWARD
    assert len(registry.versions("order.paid")) == 2


def test_another_schema_under_a_version_is_said_and_nothing_registered(shop: Shop) -> None:
    shop.event(order_id=UUID)
    lock(shop)
    shop.event(order_id=UUID, count=(int, 1))
    registry = open_registry(shop.bus)
    register(registry, lock(shop))
    # The branch of somebody else, who has not merged ours.
    first = read_locks(shop.bus.settings.contracts)["order.paid"]
    shop.event(order_id=UUID, other=(int, 1))
    third = lock(shop)[0].versions[2]
    diverged = LockFile(
        first.subject,
        first.format,
        (first.versions[0], type(third)(2, third.id, third.fingerprint, third.schema)),
        first.compatibility,
        "shop",
    )

    done = register(registry, [diverged])

    assert outcomes(done) == [(1, Outcome.KNOWN), (2, Outcome.DIVERGED)]
    assert "schema lock" in done[1].why
    assert len(registry.versions("order.paid")) == 2


def test_a_change_names_the_readers_that_it_breaks(shop: Shop) -> None:
    shop.event(order_id=UUID, total=int)
    registry = open_registry(shop.bus)
    shop.restarted(release="1.4")
    shop.handler(shop.event(order_id=UUID, total=int))
    register(registry, lock(shop, Mode.BACKWARD))
    tell(registry, shop)
    shop.restarted(release="1.5")
    shop.event(order_id=UUID)
    locks = lock(shop)

    (_, done) = register(registry, locks)

    assert done.outcome is Outcome.REFUSED
    assert done.change == "removing `total`"
    assert [one.partition(": ")[0] for one in done.readers] == ["shop.billing 1.4, handler charge"]
    assert len(registry.versions("order.paid")) == 1
    found = check_registered(shop.bus, {"order.paid": locks[0]}, registry)
    assert [one.rule.id for one in found] == ["contract-unregistered", "reader-breaks"]
    assert found[1].readers == done.readers

    assert outcomes(register(registry, locks, break_readers=True)) == [
        (1, Outcome.KNOWN),
        (2, Outcome.REGISTERED),
    ]


def test_a_reader_that_is_stale_keeps_nothing_from_being_registered(shop: Shop) -> None:
    registry = open_registry(shop.bus)
    shop.handler(shop.event(order_id=UUID, total=int))
    register(registry, lock(shop, Mode.BACKWARD))
    tell(registry, shop, seen_ago_ms=STALE_AFTER_MS + 60_000)
    shop.restarted()
    shop.event(order_id=UUID)

    assert outcomes(register(registry, lock(shop)))[-1] == (2, Outcome.REGISTERED)


def test_a_reader_that_could_not_read_before_is_not_broken_by_a_change(shop: Shop) -> None:
    registry = open_registry(shop.bus)
    shop.event(order_id=UUID)
    register(registry, lock(shop))
    shop.handler(shop.event(order_id=UUID, needed=int))
    tell(registry, shop)
    shop.restarted()
    shop.event(order_id=UUID, count=(int, 1))

    assert outcomes(register(registry, lock(shop)))[-1] == (2, Outcome.REGISTERED)


def test_a_check_with_the_registry_says_what_is_not_registered_and_what_has_diverged(
    shop: Shop,
) -> None:
    registry = open_registry(shop.bus)
    shop.event(order_id=UUID)
    (first,) = lock(shop)
    found = check_registered(shop.bus, {"order.paid": first}, registry)
    assert [one.rule.id for one in found] == ["contract-unregistered"]

    register(registry, [first])
    assert check_registered(shop.bus, {"order.paid": first}, registry) == []

    registry.register("order.paid", _with_count(shop))
    shop.event(order_id=UUID, other=(int, 1))
    (second,) = lock(shop)
    found = check_registered(shop.bus, {"order.paid": second}, registry)
    assert [one.rule.id for one in found] == ["registry-diverged"]
    assert found[0].versions == (2,)


def _with_count(shop: Shop) -> Any:
    from eventbus.contracts.derivation import writer_contract

    return writer_contract(shop.event(order_id=UUID, count=(int, 1)))
