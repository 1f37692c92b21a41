"""Which parked messages a selection means, and how they are counted."""

from __future__ import annotations

import pytest

from eventbus.message import (
    ERROR_HEADER,
    ERROR_MESSAGE_HEADER,
    HANDLER_HEADER,
    PARKED_AT_HEADER,
    REASON_HEADER,
    Message,
)
from eventbus.workers.operations.dead_letters import MOST_GROUPS, OTHERS, Selection, Tally
from eventbus.workers.operations.parked import Group, Parked, read_parked


def parked(
    number: int = 1,
    event: str = "order.paid",
    handler: str | None = "charge",
    error: str | None = "ValueError",
    at_ms: int | None = 1_000,
    body: bytes = b'{"city":"K\xc3\xb6ln"}',
) -> Parked:
    headers = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": f"id-{number}",
        "cloudEvents_source": "shop",
        "cloudEvents_type": event,
        HANDLER_HEADER: handler,
        ERROR_HEADER: error,
        ERROR_MESSAGE_HEADER: "card declined",
        REASON_HEADER: "rejected: no such order",
        PARKED_AT_HEADER: at_ms,
    }
    kept = {name: value for name, value in headers.items() if value is not None}
    return read_parked(Message(body, event, kept), "shop.billing")


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), True),
        (Selection(ids=("id-1", "id-9")), True),
        (Selection(ids=("id-9",)), False),
        (Selection(events=("order.paid",)), True),
        (Selection(events=("user.*", "order.*")), True),
        (Selection(events=("order.*.late",)), False),
        (Selection(handlers=("charge",)), True),
        (Selection(handlers=("book",)), False),
        (Selection(errors=("ValueError",)), True),
        (Selection(errors=("Value",)), False),
        (Selection(text="KÖLN"), False),  # what is not ASCII has its case
        (Selection(text="Köln"), True),
        (Selection(text="CITY"), True),
        (Selection(text="No Such order"), True),
        (Selection(text="declined"), True),
        (Selection(text="%"), False),
        (Selection(text="\ud800"), False),
        (Selection(since_ms=1_000), True),
        (Selection(since_ms=1_001), False),
        (Selection(until_ms=1_000), False),
        (Selection(since_ms=500, until_ms=1_001), True),
        (Selection(ids=("id-1",), handlers=("book",)), False),
    ],
)
def test_all_that_is_given_must_hold(selection: Selection, meant: bool) -> None:
    assert (parked() in selection) is meant


def test_what_does_not_say_when_it_was_parked_is_in_no_range_of_time() -> None:
    assert parked(at_ms=None) not in Selection(since_ms=0)
    assert parked(at_ms=None) not in Selection(until_ms=10**15)
    assert parked(at_ms=None) in Selection()


def test_without_an_error_the_reason_up_to_its_colon_is_what_it_is_grouped_and_found_by() -> None:
    one = parked(error=None)
    assert one.group == Group("shop.billing", "charge", "order.paid", "rejected")
    assert one in Selection(errors=("rejected",))


def test_a_tally_counts_by_group_and_knows_the_oldest_and_the_newest() -> None:
    tally = Tally(older_than_ms=100)
    for number, at_ms in enumerate([50, 300, None, 200]):
        tally.add(parked(number, at_ms=at_ms), ["id-2", "id-7"])
    tally.add(parked(error="KeyError"))
    (group, count), (other, one) = tally.of_queue("shop.billing")
    assert (group.error, count.messages, count.oldest_ms, count.newest_ms) == (
        "ValueError",
        4,
        50,
        300,
    )
    assert (other.error, one.messages) == ("KeyError", 1)
    assert (tally.total, tally.older, tally.ids) == (5, 1, {"id-2"})
    assert tally.messages_of("shop.ledger") == 0


def test_a_tally_of_endless_kinds_stays_small_and_counts_all() -> None:
    tally = Tally()
    for number in range(MOST_GROUPS + 50):
        tally.add(parked(number, event=f"order.n{number}"))
    assert len(tally.groups) == MOST_GROUPS + 1
    assert tally.groups[Group("shop.billing", None, OTHERS, OTHERS)].messages == 50
    assert tally.total == MOST_GROUPS + 50


def test_each_parked_message_has_a_digest_of_its_own() -> None:
    digests = {
        one.digest
        for one in (
            parked(),
            parked(2),
            parked(handler="book"),
            parked(at_ms=1_001),
            parked(body=b"{}"),
        )
    }
    assert len(digests) == 5
    assert parked().digest in digests
