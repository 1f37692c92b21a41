"""A parked message is read with suspicion: anybody may have put it there."""

from __future__ import annotations

import json

import pytest

from eventbus import EventBus
from eventbus.cli.bodies import Bodies
from eventbus.cli.parked import details_of, row_of
from eventbus.message import (
    ATTEMPTS_HEADER,
    ERROR_HEADER,
    HANDLER_HEADER,
    NOT_BEFORE_HEADER,
    PARKED_AT_HEADER,
    REASON_HEADER,
    REPLAY_HEADER,
    TRACEBACK_HEADER,
    Message,
)
from eventbus.workers.operations.parked import read_parked

BODIES = Bodies(EventBus("shop"))

EVENT = {
    "cloudEvents_specversion": "1.0",
    "cloudEvents_id": "0190a0a0-0000-7000-8000-000000000001",
    "cloudEvents_source": "shop",
    "cloudEvents_type": "order.paid",
}
WORKER = {
    HANDLER_HEADER: "charge",
    ATTEMPTS_HEADER: 5,
    NOT_BEFORE_HEADER: 1,
    REASON_HEADER: "failed 5 of 5 attempts: ValueError: no",
    ERROR_HEADER: "ValueError",
    TRACEBACK_HEADER: "Traceback ...\nValueError: no",
    PARKED_AT_HEADER: 1_767_225_600_123,
}


def message(**headers: object) -> Message:
    return Message(b'{"a":1}', "order.paid", dict(headers), content_type="application/json")


def test_what_a_worker_parked_is_told_in_full() -> None:
    parked = read_parked(message(**EVENT, **WORKER), "shop.billing")
    assert row_of(parked) == {
        "id": "0190a0a0-0000-7000-8000-000000000001",
        "event": "order.paid",
        "queue": "shop.billing",
        "handler": "charge",
        "attempts": 5,
        "reason": "failed 5 of 5 attempts: ValueError: no",
        "error": "ValueError",
        "parked_at": "2026-01-01T00:00:00.123Z",
    }


def test_a_replay_is_as_the_producer_sent_it_for_the_one_handler_that_failed() -> None:
    death = {"x-death": [{"reason": "rejected"}], "x-first-death-queue": "q", "foreign": "kept"}
    again = read_parked(message(**EVENT, **WORKER, **death), "shop.billing").for_replay("op-1")
    assert again.headers == {
        **EVENT,
        "foreign": "kept",
        HANDLER_HEADER: "charge",
        REPLAY_HEADER: "op-1",
    }
    assert again.body == b'{"a":1}'


def test_a_replay_without_a_handler_is_for_all_of_the_queue() -> None:
    headers = {**EVENT, REASON_HEADER: "the body is not JSON", PARKED_AT_HEADER: 5}
    again = read_parked(message(**headers), "q").for_replay("op-1")
    assert again.headers == {**EVENT, REPLAY_HEADER: "op-1"}


@pytest.mark.parametrize(
    ("deaths", "said"),
    [
        ([{"reason": "maxlen", "queue": "shop.billing"}], "overflow"),
        ([{"reason": "delivery_limit"}], "delivery limit"),
        ([{"reason": "expired"}], "expired"),
        ([{"reason": "rejected"}, {"reason": "maxlen"}], "rejected"),
        ([{"reason": "new\nkind"}], "parked by the broker: new"),
        ([{}], "no reason given"),
        ([], "no reason given"),
        (["maxlen"], "no reason given"),
        ({"reason": "maxlen"}, "no reason given"),
        (7, "no reason given"),
        (None, "no reason given"),
    ],
)
def test_what_the_broker_parked_is_explained_whatever_it_says(deaths: object, said: str) -> None:
    headers = {} if deaths is None else {"x-death": deaths}
    assert read_parked(message(**EVENT, **headers), "q").reason.startswith(said)


def test_a_foreign_message_has_a_name_that_stays_the_same() -> None:
    one, same, other = (
        read_parked(Message(body, "order.paid"), "q") for body in (b"\xff", b"\xff", b"\xfe")
    )
    assert one.id.startswith("~")
    assert one.id == same.id != other.id
    assert one.event == "order.paid"


def test_a_foreign_message_id_is_taken_where_there_is_one() -> None:
    parked = read_parked(Message(b"", "a", message_id="m-1", type="order.sent"), "q")
    assert (parked.id, parked.event) == ("m-1", "order.sent")


@pytest.mark.parametrize("value", [None, True, 1.5, "5", [5], {"a": 5}, b"5"])
def test_headers_of_the_wrong_type_are_not_believed(value: object) -> None:
    headers = {**EVENT, ATTEMPTS_HEADER: value, PARKED_AT_HEADER: value}
    row = row_of(read_parked(message(**headers), "q"))
    assert row["attempts"] is None
    assert row["parked_at"] is None


def test_every_message_can_be_written_as_json() -> None:
    headers = {**EVENT, "bytes": b"\xff", "list": [b"x", 1.5, {"deep": {1: None}}], "f": 2.5}
    details = details_of(read_parked(message(**headers), "q"), BODIES)
    assert json.loads(json.dumps(details)) == details
    assert details["body"] == '{"a":1}'
    assert details["body_base64"] is None


def test_a_body_that_is_no_text_is_given_in_base64() -> None:
    details = details_of(read_parked(Message(b"\xff\xfe", "a"), "q"), BODIES)
    assert (details["body"], details["body_base64"]) == (None, "//4=")
