"""Properties and headers: what goes out comes back, and nothing foreign breaks the reader."""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from decimal import Decimal

import pika.spec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.brokers.rabbitmq.codec import (
    ROUTING_KEY_HEADER,
    FrameEncoder,
    Unencodable,
    decode_message,
    encode_properties,
)
from eventbus.brokers.rabbitmq.forwarding import PROPERTIES_MAX, copy_of
from eventbus.message import Message

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.datetimes(min_value=datetime(1970, 1, 1)).map(  # noqa: DTZ001
        lambda one: one.replace(microsecond=0, tzinfo=timezone.utc)
    )
    | st.decimals(-1000, 1000, places=3)
)
names = st.text(max_size=60).filter(lambda one: one != ROUTING_KEY_HEADER)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=12
)
shorts = st.none() | st.text(max_size=60)
messages = st.builds(
    Message,
    body=st.binary(max_size=20),
    routing_key=st.text(max_size=60),
    headers=st.dictionaries(names, values),
    message_id=shorts,
    type=shorts,
    content_type=shorts,
    content_encoding=shorts,
    correlation_id=shorts,
    app_id=shorts,
    timestamp=st.none() | st.integers(0, 253_402_300_799),
)


def table(entries: bytes) -> bytes:
    return struct.pack(">HI", 1 << 13, len(entries)) + entries


def read(properties: bytes) -> tuple[Message, str | None]:
    return decode_message(properties, b"body", b"events", b"order.paid")


@given(messages)
def test_what_is_written_is_read(message: Message) -> None:
    again, reason = decode_message(
        encode_properties(message), message.body, b"events", message.routing_key.encode()
    )
    assert reason is None
    assert again == message


@given(messages)
def test_pika_reads_what_we_write(message: Message) -> None:
    properties = pika.spec.BasicProperties()
    properties.decode(encode_properties(message))
    assert properties.delivery_mode == 2
    assert properties.message_id == message.message_id
    assert properties.timestamp == message.timestamp
    strings = {k: v for k, v in message.headers.items() if isinstance(v, str)}
    assert {k: (properties.headers or {}).get(k) for k in strings} == strings


@given(messages)
def test_we_read_what_pika_writes(message: Message) -> None:
    written = pika.spec.BasicProperties(
        content_type=message.content_type,
        priority=3,
        reply_to="somebody",
        expiration="1000",
        user_id="guest",
        message_id=message.message_id,
        type=message.type,
        app_id=message.app_id,
        cluster_id="c",
        headers={"text": "x", "number": 2**40, "table": {"a": [1, None, True]}},
    ).encode()
    again, reason = read(b"".join(written))
    assert reason is None
    assert (again.content_type, again.message_id, again.type, again.app_id) == (
        message.content_type, message.message_id, message.type, message.app_id,
    )  # fmt: skip
    assert again.headers == {"text": "x", "number": 2**40, "table": {"a": [1, None, True]}}


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_no_bytes_at_all_make_the_reader_raise(raw: bytes) -> None:
    message, _ = read(raw)
    assert message.body == b"body"


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_no_header_table_makes_the_reader_raise(raw: bytes) -> None:
    message, _ = read(table(raw))
    assert message.body == b"body"


@given(messages, st.data())
def test_a_truncated_or_damaged_header_does_not_make_the_reader_raise(
    message: Message, data: st.DataObject
) -> None:
    raw = bytearray(encode_properties(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


def nested(depth: int, kind: bytes) -> bytes:
    entries = b""
    for _ in range(depth):
        inner = entries if kind == b"F" else entries[2:]
        entries = b"\x01a" + kind + struct.pack(">I", len(inner)) + inner
    return entries


@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_tables_nested_too_deep_are_undecodable(kind: bytes) -> None:
    assert read(table(nested(30, kind)))[1] is None
    for depth in (40, 500, 20_000):
        reason = read(table(nested(depth, kind)))[1]
        assert reason is not None
        assert "nested" in reason


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (b"\x01aT" + struct.pack(">Q", 10**12), "timestamp 1000000000000"),
        (b"\x01aZ", "unknown type 'Z'"),
        (b"\x01aS\xff\xff\xff\xff", "longer than its table"),
        (b"\x01aF\x00\x00\x00\x09", "longer than its table"),
        (b"\x01aI\x00", "too early"),
        (b"\xff", "too early"),
    ],
)
def test_the_reason_says_what_is_wrong_and_what_was_read_before_stays(
    entries: bytes, expected: str
) -> None:
    message, reason = read(table(b"\x04goodt\x01" + entries))
    assert reason is not None
    assert expected in reason
    assert message.headers == {"good": True}
    assert (message.body, message.routing_key) == (b"body", "order.paid")


def test_properties_after_headers_that_cannot_be_read_are_still_read() -> None:
    message = Message(b"", "", {"a": 1}, message_id="m1", type="order.paid")
    raw = encode_properties(message).replace(b"\x01aI", b"\x01aZ")
    again, reason = read(raw)
    assert reason is not None
    assert (again.message_id, again.type, again.headers) == ("m1", "order.paid", {})


def test_a_string_that_is_not_utf_8_stays_bytes() -> None:
    message, reason = read(table(b"\x01aS\x00\x00\x00\x02\xff\xfe"))
    assert (message.headers, reason) == ({"a": b"\xff\xfe"}, None)


def test_a_lone_surrogate_does_not_stop_a_message() -> None:
    message = Message(b"", "", {"eventbus-reason": "bad \ud800 text"})
    assert read(encode_properties(message))[0].headers == {"eventbus-reason": "bad \\ud800 text"}


def test_a_decimal_that_amqp_cannot_hold_becomes_text() -> None:
    message = Message(b"", "", {"a": Decimal("12345678901234567890.12"), "b": Decimal("NaN")})
    again = read(encode_properties(message))[0].headers
    assert again == {"a": "12345678901234567890.12", "b": "NaN"}


def test_the_routing_key_header_wins_only_behind_the_default_exchange() -> None:
    raw = encode_properties(Message(b"", "", {ROUTING_KEY_HEADER: "order.paid", "a": 1}))
    through_default, _ = decode_message(raw, b"", b"", b"shop.billing")
    assert (through_default.routing_key, through_default.headers) == ("order.paid", {"a": 1})
    through_topic, _ = decode_message(raw, b"", b"events", b"user.left")
    assert through_topic.routing_key == "user.left"


def test_the_routing_key_of_a_message_the_broker_parked_is_its_first() -> None:
    deaths = [
        {"queue": "b", "routing-keys": ["shop.billing"]},
        {"queue": "a", "routing-keys": ["order.paid"]},
    ]
    raw = encode_properties(Message(b"", "", {"x-death": deaths}))
    assert decode_message(raw, b"", b"", b"shop.billing.dlq")[0].routing_key == "order.paid"


@pytest.mark.parametrize("deaths", ["text", [], [1], [{}], [{"routing-keys": [1]}], [{"a": []}]])
def test_a_forged_x_death_leaves_the_delivered_routing_key(deaths: object) -> None:
    raw = encode_properties(Message(b"", "", {"x-death": deaths}))
    assert decode_message(raw, b"", b"", b"delivered")[0].routing_key == "delivered"


def test_headers_that_fit_exactly_are_encoded_and_one_byte_more_is_not() -> None:
    encoder = FrameEncoder(1, 4_096)
    overhead = len(encode_properties(Message(b"", "", {"a": ""}))) + 12 + 8
    encoder.publish("", "", Message(b"", "", {"a": "x" * (4_096 - overhead)}))
    with pytest.raises(Unencodable, match="do not fit"):
        encoder.publish("", "", Message(b"", "", {"a": "x" * (4_096 - overhead + 1)}))


@given(messages)
def test_a_copy_fits_a_frame_and_keeps_body_and_routing_key(message: Message) -> None:
    copy = copy_of(message)
    again, reason = decode_message(encode_properties(copy), copy.body, b"", b"shop.billing.dlq")
    assert reason is None
    assert (again.body, again.routing_key) == (message.body, message.routing_key)


def test_a_copy_begins_anew_and_goes_to_one_queue() -> None:
    headers = {
        "x-death": [{}], "x-first-death-queue": "a", "x-last-death-reason": "b",
        "x-delivery-count": 3, "CC": ["a"], "BCC": ["b"], "mine": 1,
    }  # fmt: skip
    assert copy_of(Message(b"", "key", headers)).headers == {"mine": 1, ROUTING_KEY_HEADER: "key"}


def test_properties_that_were_not_text_do_not_stop_a_copy() -> None:
    raw = struct.pack(">H", (1 << 7) | (1 << 5)) + (b"\xff" * 256) * 2
    message, reason = read(raw)
    assert (reason, message.message_id) == (None, "\\xff" * 255)
    copy = copy_of(message)
    assert read(encode_properties(copy))[0].message_id == ("\\xff" * 64)[:255]


def test_a_copy_loses_its_largest_headers_first() -> None:
    headers = {"a": "x" * 50_000, "b": "y" * 90_000, "c": "z", "eventbus-reason": "because"}
    copy = copy_of(Message(b"", "key", headers))
    assert set(copy.headers) == {"a", "c", "eventbus-reason", ROUTING_KEY_HEADER}
    assert len(encode_properties(copy)) <= PROPERTIES_MAX


def test_many_small_headers_are_cut_until_they_fit() -> None:
    headers = {f"{n}": "" for n in range(20_000)}
    copy = copy_of(Message(b"", "key", headers))
    assert len(encode_properties(copy)) <= PROPERTIES_MAX
    assert len(copy.headers) > 10_000
