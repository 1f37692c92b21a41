"""Reading a queue's arguments out of the refusals of impossible declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from eventbus.brokers.rabbitmq.probing import NOT_SHOWN, Refusal, probe, read_refusal

_ARGUMENT = "PRECONDITION_FAILED - inequivalent arg '{}' for queue 'shop.it's' in vhost '/': {}"


@pytest.mark.parametrize(
    ("said", "current"),
    [
        ("received '10' but current is '100'", 100),
        ("received 'drop-head' but current is 'reject-publish'", "reject-publish"),
        ("received 'x' but current is ''", ""),
        ("received 'false' but current is 'true'", True),
        ("received the value '5' of type 'signedint' but current is none", None),
        ("received none but current is the value '60000' of type 'signedint'", 60000),
        ("received none but current is the value 'a 'quoted' b' of type 'longstr'", "a 'quoted' b"),
        ("received '1' but current is '-1'", -1),
    ],
)
def test_a_refusal_tells_the_argument_and_its_value(said: str, current: object) -> None:
    assert read_refusal(_ARGUMENT.format("x-max-length", said)) == Refusal("x-max-length", current)


def test_a_refusal_that_was_cut_tells_the_argument_alone() -> None:
    text = _ARGUMENT.format("x-overflow", "received 'drop-head' but curr")
    assert read_refusal(text) == Refusal("x-overflow", cut=True)


def test_another_refusal_tells_nothing() -> None:
    assert read_refusal("PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'a'") is None


class Queue:
    """A queue of a RabbitMQ that compares arguments in the order given."""

    def __init__(self, order: tuple[str, ...], **arguments: Any) -> None:
        self.order = order
        self.arguments = {f"x-{name.replace('_', '-')}": v for name, v in arguments.items()}
        self.asked = 0

    def declare(
        self, arguments: Mapping[str, Any], durable: bool, auto_delete: bool
    ) -> Refusal | None:
        self.asked += 1
        assert "eventbus-probe" in arguments.values()
        for name in self.order:
            if arguments.get(name) != self.arguments.get(name):
                return Refusal(name, self.arguments.get(name))
        return None


NAMES = (
    "x-dead-letter-exchange",
    "x-delivery-limit",
    "x-max-length",
    "x-message-ttl",
    "x-overflow",
    "x-queue-type",
    "x-single-active-consumer",
)
DECLARED = {"x-queue-type": "quorum", "x-max-length": 10, "x-overflow": "drop-head"}


_LAST = ("x-delivery-limit", "x-message-ttl")
#: By name, and as RabbitMQ 3.10 does.
ORDERS = (NAMES, (*(name for name in NAMES if name not in _LAST), *_LAST))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "queue",
    [
        {"queue_type": "quorum", "max_length": 10, "overflow": "drop-head"},
        {"queue_type": "quorum", "max_length": 11, "overflow": "reject-publish"},
        {"queue_type": "quorum", "message_ttl": 5, "delivery_limit": 3},
        {"max_length": 10, "single_active_consumer": True},
        {},
    ],
)
def test_every_argument_is_found_in_whatever_order_it_is_compared(
    order: tuple[str, ...], queue: dict[str, Any]
) -> None:
    real = Queue(order, **queue)
    found = probe("q", DECLARED, real.declare)
    assert found.arguments == real.arguments
    assert not found.unseen
    assert real.asked <= 12


def test_a_queue_as_declared_costs_one_question_for_each_guard() -> None:
    real = Queue(NAMES, queue_type="quorum", max_length=10, overflow="drop-head")
    probe("q", DECLARED, real.declare)
    assert real.asked == 3


def test_what_was_cut_differs_and_the_rest_is_unknown() -> None:
    found = probe("q", DECLARED, lambda *_: Refusal("x-max-length", cut=True))
    assert found.arguments is not None
    assert found.arguments["x-max-length"] == NOT_SHOWN
    assert "x-max-length" not in found.unseen
    assert "x-overflow" in found.unseen


def test_a_broker_that_says_nothing_leaves_all_unknown() -> None:
    found = probe("q", DECLARED, lambda *_: None)
    assert found.unseen >= DECLARED.keys()


def test_a_broker_that_contradicts_itself_does_not_make_it_endless() -> None:
    found = probe("q", DECLARED, lambda *_: Refusal("x-max-length", 10))
    assert found.unseen >= DECLARED.keys()
