"""What every adapter's `Admin` does about topology: seeing, unbinding, deleting, replacing.

RabbitMQ twice: with its management plugin, and with AMQP alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from eventbus.brokers.embedded import EmbeddedBroker
from eventbus.brokers.port import Broker, Confirmation
from eventbus.brokers.rabbitmq import RabbitMQBroker
from eventbus.drift import FoundQueue, Kind, migration_queue_name, plan
from eventbus.errors import QueueInUse
from eventbus.topology import (
    DELIVERY_LIMIT,
    Binding,
    Exchange,
    Queue,
    Topology,
    dead_letter_queue_name,
    retry_queue_name,
    subscription_topology,
)
from tests.integration.brokers.conftest import EXCHANGE, QUEUE, Bench, bodies, message
from tests.services import RabbitMQ
from tests.waiting import wait_until

SERVICE = "shop"
PREFIX = "shop."
ASIDE = migration_queue_name(QUEUE)


class Steps:
    """A `Progress` that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.count = 0

    def step(self, name: str) -> None:
        self.steps.append(name)

    def moved(self, count: int) -> None:
        self.count += count


def declared(*patterns: str, max_length: int = 1_000_000, longest_delay_ms: int = 0) -> Topology:
    return subscription_topology(
        EXCHANGE, QUEUE, patterns, longest_delay_ms=longest_delay_ms, max_length=max_length
    )


def main_queue(topology: Topology) -> Queue:
    return next(queue for queue in topology.queues if queue.name == QUEUE)


@pytest.fixture
def managed(managed_rabbitmq: RabbitMQ) -> Iterator[RabbitMQBroker]:
    url = managed_rabbitmq.create_vhost()
    yield RabbitMQBroker(url, EXCHANGE, managed_rabbitmq.management_url)
    managed_rabbitmq.drop_vhost(url)


@pytest.fixture(params=["management", "amqp", "embedded"])
def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "management":
        managed: RabbitMQBroker = request.getfixturevalue("managed")
        return managed
    if request.param == "amqp":
        return RabbitMQBroker(request.getfixturevalue("broker_url"), EXCHANGE)
    return EmbeddedBroker(request.getfixturevalue("sqlite_url"), EXCHANGE)


@pytest.fixture
def sees_all(request: pytest.FixtureRequest) -> bool:
    """Whether the broker shows bindings, and queues that nobody asks for."""
    return "amqp" not in request.node.name


# ----------------------------------------------------------------------------------- inspecting


def test_on_an_empty_broker_everything_is_missing(bench: Bench) -> None:
    topology = declared("order.*")
    found = bench.admin().inspect(topology, PREFIX)
    assert found.queues == {}
    kinds = {change.kind for change in plan(topology, found, SERVICE)}
    assert Kind.CREATE_QUEUE in kinds
    assert bench.admin().stats([queue.name for queue in topology.queues]) == {}


def test_what_is_declared_is_found_as_declared(bench: Bench) -> None:
    topology = declared("order.*", "user.#", longest_delay_ms=5_000)
    bench.admin().declare(topology)
    assert plan(topology, bench.admin().inspect(topology, PREFIX), SERVICE) == ()


def test_other_arguments_are_found_with_their_values(bench: Bench) -> None:
    bench.admin().declare(declared("#", max_length=10))
    queue = Queue(
        QUEUE,
        {
            "x-queue-type": "quorum",
            "x-max-length": 20,
            "x-overflow": "reject-publish",
            "x-message-ttl": 1000,
            "x-delivery-limit": DELIVERY_LIMIT,
        },
    )
    wanted = Topology(declared("#").exchanges, (queue,), declared("#").bindings)
    changes = plan(wanted, bench.admin().inspect(wanted, PREFIX), SERVICE)
    differences = next(one.differences for one in changes if one.kind is Kind.MIGRATE_QUEUE)
    found = {one.argument: (one.declared, one.found) for one in differences}
    assert found == {
        "x-max-length": (20, 10),
        "x-overflow": ("reject-publish", "drop-head"),
        "x-message-ttl": (1000, None),
        "x-dead-letter-exchange": (None, ""),
        "x-dead-letter-routing-key": (
            None,
            main_queue(declared("#")).arguments["x-dead-letter-routing-key"],
        ),
    }


def test_inspecting_changes_nothing(bench: Bench) -> None:
    bench.admin().declare(declared("order.*", max_length=10))
    bench.publish(message(1))
    for _ in range(3):
        bench.admin().inspect(declared("user.*", max_length=20, longest_delay_ms=60_000), PREFIX)
    same = declared("order.*", max_length=10)
    assert plan(same, bench.admin().inspect(same, PREFIX), SERVICE) == ()
    assert bench.counts(QUEUE) == [1]
    assert list(bench.admin().stats([retry_queue_name(QUEUE, 30_000)])) == []


def test_what_nobody_declares_any_more_is_seen_or_said_to_be_unseen(
    bench: Bench, sees_all: bool
) -> None:
    old = declared("order.*", "user.*", longest_delay_ms=30_000)
    no_level = Queue(retry_queue_name(QUEUE, 7_777), {"x-queue-type": "quorum"})
    bench.admin().declare(old + Topology((), (no_level,), ()))
    bench.declare("#", queue="shop.gone")
    now = declared("order.*")
    found = bench.admin().inspect(now, PREFIX)
    changes = plan(now, found, SERVICE)
    if not sees_all:
        assert changes == ()
        assert not found.complete
        assert found.bindings is None
        assert "management" in " ".join(found.notes)
        return
    removed = [(one.kind, one.name, one.pattern) for one in changes]
    assert (Kind.REMOVE_BINDING, QUEUE, "user.*") in removed
    assert (Kind.REMOVE_QUEUE, no_level.name, None) in removed
    assert (Kind.REMOVE_QUEUE, "shop.gone", None) in removed
    assert (Kind.REMOVE_QUEUE, dead_letter_queue_name("shop.gone"), None) in removed
    assert (Kind.REMOVE_QUEUE, QUEUE, None) not in removed


@pytest.mark.parametrize("broker", ["management", "embedded"], indirect=True)
def test_a_queue_waits_for_the_retries_that_come_back_to_it(bench: Bench) -> None:
    gone = subscription_topology(EXCHANGE, "shop.gone", ["#"], longest_delay_ms=3_600_000)
    bench.admin().declare(gone)
    waiting = retry_queue_name("shop.gone", 3_600_000)
    assert bench.publisher().publish([message(1)], queue=waiting).result(30) == [
        Confirmation.ROUTED
    ]
    topology = declared("order.*")
    bench.admin().declare(topology)
    changes = plan(topology, bench.admin().inspect(topology, PREFIX), SERVICE)
    held_up = {one.name: one.held_up for one in changes if one.kind is Kind.REMOVE_QUEUE}
    assert held_up[waiting] == "it holds 1 message"
    assert held_up["shop.gone"] == f"{waiting} still holds 1 message for it"
    assert held_up[retry_queue_name("shop.gone", 1_000)] is None


def test_queues_of_other_services_are_nobodys_business(bench: Bench) -> None:
    bench.declare("#", queue="shopping.cart")
    bench.declare("#", queue="stock.levels")
    topology = declared("#")
    bench.admin().declare(topology)
    assert plan(topology, bench.admin().inspect(topology, PREFIX), SERVICE) == ()


# ----------------------------------------------------------------------- unbinding and deleting


@pytest.mark.parametrize("broker", ["amqp", "embedded"], indirect=True)
def test_an_unbound_queue_gets_no_more(bench: Bench) -> None:
    bench.declare("order.*", "user.*")
    bench.admin().unbind(Binding(EXCHANGE, QUEUE, "user.*"))
    bench.admin().unbind(Binding(EXCHANGE, QUEUE, "never.was"))
    bench.publish(message(1, "order.paid"), message(2, "user.new"))
    bench.wait_counts({QUEUE: 1})


@pytest.mark.parametrize("broker", ["amqp", "embedded"], indirect=True)
def test_an_empty_unused_queue_is_deleted(bench: Bench) -> None:
    bench.declare("#")
    admin = bench.admin()
    admin.unbind(Binding(EXCHANGE, QUEUE, "#"))
    admin.delete(FoundQueue(QUEUE, main_queue(declared()).arguments))
    assert QUEUE not in admin.stats([QUEUE])
    admin.delete(FoundQueue(retry_queue_name(QUEUE, 1000), {"x-queue-type": "quorum"}))


@pytest.mark.parametrize("broker", ["amqp", "embedded"], indirect=True)
def test_a_queue_with_messages_is_not_deleted(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message(1))
    with pytest.raises(QueueInUse, match=r"shop\.billing"):
        bench.admin().delete(FoundQueue(QUEUE, main_queue(declared()).arguments))
    assert bench.counts(QUEUE) == [1]


@pytest.mark.parametrize("broker", ["amqp", "embedded"], indirect=True)
def test_a_queue_with_consumers_is_not_deleted(bench: Bench) -> None:
    bench.declare("#")
    bench.consume()
    with pytest.raises(QueueInUse, match=r"shop\.billing"):
        bench.admin().delete(FoundQueue(QUEUE, main_queue(declared()).arguments))
    assert QUEUE in bench.admin().stats([QUEUE])


# ------------------------------------------------------------------------------------ replacing


def test_a_replaced_queue_has_its_new_arguments_and_its_messages_in_order(bench: Bench) -> None:
    bench.admin().declare(declared("order.*", max_length=5_000))
    bench.publish(*(message(n) for n in range(1_200)))
    wanted = declared("order.*", max_length=6_000)
    progress = Steps()
    admin = bench.admin()
    admin.replace(main_queue(wanted), wanted.bindings, progress)
    assert plan(wanted, admin.inspect(wanted, PREFIX), SERVICE) == ()
    assert progress.steps
    assert bodies(list(admin.browse(QUEUE))) == [message(n).body for n in range(1_200)]
    bench.publish(message(7, "order.paid"))
    bench.wait_counts({QUEUE: 1_201})
    assert ASIDE not in admin.stats([ASIDE])


@pytest.mark.parametrize("broker", ["amqp", "embedded"], indirect=True)
def test_replacing_what_is_as_wanted_or_missing_is_declaring(bench: Bench) -> None:
    wanted = declared("order.*")
    bench.admin().declare(wanted)
    bench.publish(message(1))
    bench.admin().replace(main_queue(wanted), wanted.bindings, Steps())
    bench.wait_counts({QUEUE: 1})
    ledger = subscription_topology(EXCHANGE, "shop.ledger", ["#"], longest_delay_ms=0)
    bench.admin().replace(ledger.queues[0], ledger.bindings, Steps())
    bench.publish(message(2))
    bench.wait_counts({QUEUE: 2, "shop.ledger": 1})


@pytest.mark.parametrize("broker", ["amqp", "embedded"], indirect=True)
def test_the_queues_around_a_queue_can_be_replaced(bench: Bench) -> None:
    topology = declared("order.*")
    bench.admin().declare(topology)
    queues = [queue for queue in topology.queues if queue.name != QUEUE]
    names = [queue.name for queue in queues if ".retry." not in queue.name]
    for name in names:
        bench.publisher().publish([message(n) for n in range(3)], queue=name).result(30)
    for queue in queues:
        other = replace(queue, arguments={**queue.arguments, "x-max-length": 77})
        bench.admin().replace(other, (), Steps())
    bench.wait_counts(dict.fromkeys(names, 3))


@pytest.mark.parametrize("broker", ["amqp", "embedded"], indirect=True)
def test_a_queue_that_is_consumed_is_not_replaced(bench: Bench) -> None:
    bench.admin().declare(declared("order.*", max_length=10))
    bench.publish(message(1))
    bench.consume()
    wanted = declared("order.*", max_length=20)
    with pytest.raises(QueueInUse):
        bench.admin().replace(main_queue(wanted), wanted.bindings, Steps())
    old = declared("order.*", max_length=10)
    assert not [
        one
        for one in plan(old, bench.admin().inspect(old, PREFIX), SERVICE)
        if one.kind is Kind.MIGRATE_QUEUE and one.differences
    ]


def test_exchange_alone(bench: Bench) -> None:
    """A service that only publishes declares no queue."""
    only = Topology((Exchange(EXCHANGE),), (), ())
    bench.admin().declare(only)
    wait_until(lambda: plan(only, bench.admin().inspect(only, PREFIX), SERVICE) == (), 10)
