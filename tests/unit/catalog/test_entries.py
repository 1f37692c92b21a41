"""The catalog as values: who takes what, several in one, there and back as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from eventbus.catalog.entries import Catalog, Consumer, EventEntry, FieldEntry
from eventbus.errors import ConfigurationError

PLACED = EventEntry(
    "order.placed",
    "checkout",
    summary="A customer has ordered.",
    version=3,
    fields=(FieldEntry("order_id", "uuid", True),),
)
CHARGE = Consumer("billing", "billing.orders", "charge", ("order.placed",), ("order.placed",))
AUDIT = Consumer("audit", "audit.all", "note", ("#",))
CATALOG = Catalog(("checkout",), (PLACED,), (CHARGE, AUDIT))


def test_a_handler_without_classes_takes_what_its_pattern_matches() -> None:
    assert AUDIT.takes("anything.at.all")


def test_a_handler_takes_of_its_pattern_only_the_events_whose_classes_it_reads() -> None:
    consumer = replace(CHARGE, patterns=("order.*",))
    assert consumer.takes("order.placed")
    assert not consumer.takes("order.cancelled")


def test_consumers_of_an_event_are_those_that_take_it() -> None:
    assert CATALOG.consumers_of("order.placed") == [CHARGE, AUDIT]
    assert CATALOG.consumers_of("order.cancelled") == [AUDIT]


def test_a_catalog_is_the_same_after_a_trip_through_json() -> None:
    assert Catalog.from_json(json.loads(json.dumps(CATALOG.to_json())), "it") == CATALOG


@pytest.mark.parametrize("publisher_first", [True, False])
def test_what_the_publisher_says_of_an_event_counts(publisher_first: bool) -> None:
    theirs = replace(PLACED, summary="What billing reads of it.", fields=())
    billing = Catalog(("billing",), (theirs,), (CHARGE,))
    checkout = Catalog(("checkout",), (PLACED,), ())
    first, second = (checkout, billing) if publisher_first else (billing, checkout)
    together = first.with_others([second])
    assert together.services == ("billing", "checkout")
    assert together.events == (PLACED,)
    assert together.consumers == (CHARGE,)


def test_a_handler_that_two_catalogs_know_is_there_once() -> None:
    assert CATALOG.with_others([CATALOG]).consumers == (AUDIT, CHARGE)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([], "other.json is []"),
        ({}, "services is None"),
        ({"services": [1]}, "services is 1"),
        ({"services": [], "events": [{"name": 7}]}, "an event: name is 7"),
        ({"services": [], "events": [{"name": "a"}]}, "event 'a': publisher is None"),
        ({"services": [], "events": [], "consumers": {}}, "consumers is {}"),
        ({"services": [], "events": [], "consumers": [{}]}, "a consumer: service is None"),
    ],
)
def test_what_is_no_catalog_is_refused_by_name(value: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match="events list --json") as refused:
        Catalog.from_json(value, "other.json")
    assert named in str(refused.value)
