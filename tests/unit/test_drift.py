"""What is to be done about a difference, from two values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eventbus.drift import (
    BY_HAND,
    MIGRATE,
    PRUNE,
    Change,
    Found,
    FoundQueue,
    Kind,
    differences_of,
    hindrance,
    left_alone,
    mismatch,
    overriding_policies,
    plan,
    removal_order,
    shown,
)
from eventbus.topology import Binding, Queue, Topology, subscription_topology

DECLARED = subscription_topology("events", "shop.billing", ["order.*"], longest_delay_ms=1_000)
NAMES = [queue.name for queue in DECLARED.queues]


def as_declared(topology: Topology = DECLARED) -> Found:
    """A broker that holds what is declared."""
    return Found(
        {exchange.name: exchange.kind for exchange in topology.exchanges},
        {queue.name: FoundQueue(queue.name, queue.arguments) for queue in topology.queues},
        topology.bindings,
    )


def with_queue(found: Found, queue: FoundQueue) -> Found:
    return replace(found, queues={**found.queues, queue.name: queue})


def without_queue(found: Found, name: str) -> Found:
    return replace(found, queues={k: v for k, v in found.queues.items() if k != name})


def changed(found: Found, name: str, **arguments: Any) -> Found:
    """The queue `name` with other arguments; `None` takes one away."""
    merged = {**(found.queues[name].arguments or {}), **{_(k): v for k, v in arguments.items()}}
    kept = {key: value for key, value in merged.items() if value is not None}
    return with_queue(found, replace(found.queues[name], arguments=kept))


def _(name: str) -> str:
    return f"x-{name.replace('_', '-')}"


def quorum(name: str, **values: Any) -> FoundQueue:
    return FoundQueue(name, {"x-queue-type": "quorum"}, **values)


def told(changes: tuple[Change, ...]) -> list[tuple[Kind, str, str | None]]:
    return [(change.kind, change.name, change.needs) for change in changes]


BINDING = DECLARED.bindings[0]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(as_declared(), [], id="nothing differs"),
        pytest.param(
            replace(as_declared(), exchanges={}),
            [(Kind.CREATE_EXCHANGE, "events", None)],
            id="no exchange",
        ),
        pytest.param(
            replace(as_declared(), exchanges={"events": "direct"}),
            [(Kind.CHANGE_EXCHANGE, "events", BY_HAND)],
            id="an exchange of another type",
        ),
        pytest.param(
            replace(as_declared(), exchanges={"events": None}),
            [],
            id="an exchange whose type cannot be seen",
        ),
        pytest.param(
            without_queue(as_declared(), "shop.billing.dlq"),
            [(Kind.CREATE_QUEUE, "shop.billing.dlq", None)],
            id="a queue is missing",
        ),
        pytest.param(
            replace(as_declared(), bindings=()),
            [(Kind.CREATE_BINDING, "shop.billing", None)],
            id="a binding is missing",
        ),
        pytest.param(replace(as_declared(), bindings=None), [], id="bindings that cannot be seen"),
        pytest.param(
            replace(as_declared(), bindings=(BINDING, Binding("events", "shop.billing", "a"))),
            [(Kind.REMOVE_BINDING, "shop.billing", PRUNE)],
            id="a binding that nobody asks for",
        ),
        pytest.param(
            replace(as_declared(), bindings=(BINDING, Binding("other", "shop.billing", "a"))),
            [],
            id="a binding to somebody else's exchange",
        ),
        pytest.param(
            replace(as_declared(), bindings=(BINDING, Binding("events", "stock.levels", "a"))),
            [],
            id="a binding of somebody else's queue",
        ),
        pytest.param(
            changed(as_declared(), "shop.billing", max_length=5),
            [(Kind.MIGRATE_QUEUE, "shop.billing", MIGRATE)],
            id="another value",
        ),
        pytest.param(
            changed(as_declared(), "shop.billing", delivery_limit=None),
            [(Kind.MIGRATE_QUEUE, "shop.billing", MIGRATE)],
            id="an argument that is not set",
        ),
        pytest.param(
            changed(as_declared(), "shop.billing", expires=60_000),
            [(Kind.MIGRATE_QUEUE, "shop.billing", MIGRATE)],
            id="an argument that is not declared",
        ),
        pytest.param(
            changed(as_declared(), "shop.billing", queue_version=2),
            [],
            id="an argument that RabbitMQ does not compare",
        ),
        pytest.param(
            with_queue(as_declared(), FoundQueue("shop.billing", None)),
            [],
            id="arguments that cannot be seen",
        ),
        pytest.param(
            with_queue(as_declared(), quorum("shop.billing.migrating", messages=3)),
            [(Kind.MIGRATE_QUEUE, "shop.billing", MIGRATE)],
            id="a migration that was killed after the queue was declared anew",
        ),
        pytest.param(
            with_queue(
                without_queue(as_declared(), "shop.billing"), quorum("shop.billing.migrating")
            ),
            [(Kind.MIGRATE_QUEUE, "shop.billing", MIGRATE)],
            id="a migration that was killed while there was no queue",
        ),
        pytest.param(
            replace(
                with_queue(as_declared(), quorum("shop.billing.migrating")),
                bindings=(BINDING, Binding("events", "shop.billing.migrating", "order.*")),
            ),
            [(Kind.MIGRATE_QUEUE, "shop.billing", MIGRATE)],
            id="its bindings belong to it",
        ),
        pytest.param(
            with_queue(as_declared(), quorum("shop.billing.retry.7000")),
            [(Kind.REMOVE_QUEUE, "shop.billing.retry.7000", PRUNE)],
            id="a retry level that there is no more",
        ),
        pytest.param(
            with_queue(as_declared(), quorum("shop.billing.retry.86400000")),
            [],
            id="a retry level that a handler has asked for",
        ),
        pytest.param(
            with_queue(as_declared(), quorum("shop.gone")),
            [(Kind.REMOVE_QUEUE, "shop.gone", PRUNE)],
            id="a queue of a removed subscription",
        ),
        pytest.param(
            with_queue(as_declared(), quorum("shop.gone.migrating")),
            [(Kind.REMOVE_QUEUE, "shop.gone.migrating", PRUNE)],
            id="what a migration left of a removed subscription",
        ),
        pytest.param(
            with_queue(as_declared(), quorum("shop.eu.billing")),
            [],
            id="a queue that may be that of a service shop.eu",
        ),
        pytest.param(
            with_queue(as_declared(), quorum("shopping.cart")),
            [],
            id="a queue of another service",
        ),
        pytest.param(
            replace(with_queue(as_declared(), quorum("shop.gone")), complete=False),
            [],
            id="more cannot be seen",
        ),
    ],
)
def test_the_plan_says_what_is_to_be_done(
    found: Found, expected: list[tuple[Kind, str, str | None]]
) -> None:
    assert told(plan(DECLARED, found, "shop")) == expected


def test_a_queue_that_may_be_that_of_another_service_is_told_and_left_alone() -> None:
    found = with_queue(as_declared(), quorum("shop.eu.billing.dlq"))
    assert list(left_alone(DECLARED, found, "shop")) == [
        "shop.eu.billing.dlq is left alone: it may belong to a service shop.eu"
    ]
    own = subscription_topology("events", "shop.eu.billing", [], longest_delay_ms=0)
    assert list(left_alone(own, as_declared(own), "shop")) == []


def test_from_classic_to_quorum_is_a_migration_with_the_type_told() -> None:
    classic = FoundQueue("shop.billing", {"x-max-length": 7}, durable=False)
    found = {
        one.argument: (one.declared, one.found)
        for one in differences_of(DECLARED.queues[0], classic)
    }
    assert found["x-queue-type"] == ("quorum", "classic")
    assert found["durable"] == (True, False)
    assert not classic.is_quorum


def test_what_is_not_known_is_no_difference() -> None:
    queue = Queue("q", {"x-queue-type": "quorum", "x-max-length": 5})
    found = FoundQueue("q", {"x-queue-type": "quorum"}, unseen=frozenset({"x-max-length"}))
    assert differences_of(queue, found) == ()


RETRY = FoundQueue(
    "shop.gone.retry.1000",
    {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "shop.gone"},
)


@pytest.mark.parametrize(
    ("queues", "going", "expected"),
    [
        ([quorum("shop.gone")], (), None),
        ([quorum("shop.gone", messages=1)], (), "it holds 1 message"),
        ([quorum("shop.gone", messages=2)], (), "it holds 2 messages"),
        ([quorum("shop.gone", consumers=1)], (), "it has 1 consumer"),
        ([quorum("shop.gone"), RETRY], (), "shop.gone.retry.1000 dead-letters to it"),
        ([quorum("shop.gone"), RETRY], (RETRY.name,), None),
        (
            [quorum("shop.gone"), replace(RETRY, messages=5)],
            (RETRY.name,),
            "shop.gone.retry.1000 still holds 5 messages for it",
        ),
    ],
)
def test_a_queue_goes_only_where_nothing_would_be_lost(
    queues: list[FoundQueue], going: tuple[str, ...], expected: str | None
) -> None:
    found = Found(queues={queue.name: queue for queue in queues})
    assert hindrance("shop.gone", found, going=going) == expected


@pytest.mark.parametrize(("messages", "held_up"), [(899_999, False), (900_000, True)])
def test_the_queue_for_the_excess_of_a_full_queue_must_not_be_away(
    messages: int, held_up: bool
) -> None:
    found = changed(as_declared(), "shop.billing.overflow", delivery_limit=5)
    full = replace(found.queues["shop.billing"], messages=messages)
    (change,) = plan(DECLARED, with_queue(found, full), "shop")
    assert (change.held_up is not None) is held_up


def test_a_queue_is_removed_after_those_that_point_to_it() -> None:
    names = ["a.dlq", "a.retry.30000", "a", "b", "a.overflow", "a.retry.5000", "b.retry.1000"]
    assert sorted(names, key=removal_order) == [
        "a.retry.5000",
        "a.retry.30000",
        "a",
        "a.dlq",
        "a.overflow",
        "b.retry.1000",
        "b",
    ]


def test_policies_that_change_a_declared_queue_are_told() -> None:
    policy = {"max-length": 5, "message-ttl": 1000, "ha-mode": "all", "delivery-limit": 9999}
    queue = replace(quorum("shop.billing"), policy=policy)
    notes = list(overriding_policies(DECLARED, with_queue(as_declared(), queue)))
    assert notes == [
        "a policy gives shop.billing max-length=5, below the declared 1000000",
        "a policy gives shop.billing message-ttl=1000, which is not declared",
    ]


def test_the_error_at_a_start_shows_a_table_and_what_to_do() -> None:
    found = changed(as_declared(), "shop.billing", max_length=5, overflow=None)
    text = str(mismatch(plan(DECLARED, found, "shop")[0].differences))
    assert text.splitlines()[1:4] == [
        "  NAME          ARGUMENT      DECLARED   ON THE BROKER",
        "  shop.billing  x-max-length  1000000    5",
        "  shop.billing  x-overflow    drop-head  not set",
    ]
    assert "eventbus topology plan" in text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "not set"), ("", "''"), (0, "0"), (True, "True")]
)
def test_values_are_told_apart(value: object, text: str) -> None:
    assert shown(value) == text
