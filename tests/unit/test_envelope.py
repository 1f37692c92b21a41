"""The envelope: every spelling that is read, and that nothing else gets through or breaks it."""

from __future__ import annotations

import gzip
import json
import pickle
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.envelope import (
    Envelope,
    dump_data,
    epoch_ms,
    extensions_of,
    load_data,
    read_envelope,
    to_message,
)
from eventbus.errors import UndecodableMessage
from eventbus.message import Message

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc)
FULL = Envelope(
    id="0199c2f1-0000-7000-8000-000000000001",
    source="shop",
    type="order.paid",
    time=NOON,
    subject="order 7",
    correlationid="c",
    causationid="d",
    partitionkey="7",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
LIMIT = 1024 * 1024


def headers(prefix: str = "cloudEvents_", **changes: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = {**FULL.attributes(), **changes}
    return {prefix + name: value for name, value in attributes.items() if value is not None}


def message(body: bytes = b"{}", **changes: Any) -> Message:
    return Message(body, "order.paid", **{"content_type": "application/json", **changes})


def read(**changes: Any) -> Envelope:
    return read_envelope(message(headers=headers(**changes)))


# -- attributes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["cloudEvents_", "cloudEvents:", "ce-"])
def test_each_prefix_is_read(prefix: str) -> None:
    assert read_envelope(message(headers=headers(prefix))) == FULL


def test_what_is_written_is_read_back() -> None:
    sent = to_message(FULL.attributes(), b"{}", 1769860800)
    assert read_envelope(sent) == FULL
    assert set(sent.headers) == {"cloudEvents_" + name for name in FULL.attributes()}


def test_the_amqp_properties_mirror_the_attributes() -> None:
    sent = to_message(FULL.attributes(), b"{}", 1769860800)
    assert (sent.message_id, sent.type, sent.routing_key) == (FULL.id, FULL.type, FULL.type)
    assert (sent.correlation_id, sent.app_id, sent.timestamp) == ("c", "shop", 1769860800)
    assert (sent.content_type, sent.content_encoding) == ("application/json", None)


def test_only_what_is_required_suffices() -> None:
    envelope = Envelope("1", "shop", "order.paid")
    assert envelope.attributes() == {
        "specversion": "1.0",
        "id": "1",
        "source": "shop",
        "type": "order.paid",
    }
    assert read_envelope(to_message(envelope.attributes(), b"", 0)) == envelope


@pytest.mark.parametrize("found", [{}, {"foo": "bar"}, {"id": "7"}, {"x-death": []}])
def test_a_foreign_message_is_called_one(found: dict[str, Any]) -> None:
    with pytest.raises(UndecodableMessage, match="foreign producer"):
        read_envelope(message(headers=found))


@pytest.mark.parametrize("specversion", [None, "0.3", "1.0.2", "2.0", ""])
def test_only_cloudevents_1_is_read(specversion: str | None) -> None:
    with pytest.raises(UndecodableMessage, match="specversion"):
        read(specversion=specversion)


@pytest.mark.parametrize("attribute", ["id", "source", "type"])
@pytest.mark.parametrize("value", [None, "", "x" * 10_240, "ü" * 128])
def test_an_attribute_that_is_missing_empty_or_endless_is_named(
    attribute: str, value: str | None
) -> None:
    with pytest.raises(UndecodableMessage, match=attribute):
        read(**{attribute: value})


def test_a_correlation_id_that_would_fit_no_amqp_property_is_refused() -> None:
    assert read(correlationid="x" * 255).correlationid == "x" * 255
    with pytest.raises(UndecodableMessage, match="'correlationid' has more than 255 bytes"):
        read(correlationid="x" * 256)


def test_a_longest_id_is_accepted() -> None:
    assert read(id="x" * 255).id == "x" * 255


@pytest.mark.parametrize("value", [7, b"7", True, ["7"], {"7": 7}, 7.5, NOON])
def test_an_attribute_that_is_no_string_is_refused(value: object) -> None:
    for attribute in ("id", "subject") if value is NOON else ("id", "subject", "time"):
        with pytest.raises(UndecodableMessage, match=f"'{attribute}' is not a string"):
            read(**{attribute: value})


@pytest.mark.parametrize(
    "value",
    ["a\0b", "\ud800", "a\udfffb", "a\nb", "\x7f", "\x85", "\ufdd0", "\uffff", "\U0010fffe"],
)
@pytest.mark.parametrize("attribute", ["id", "source", "subject", "partitionkey", "traceparent"])
def test_text_that_cloudevents_does_not_allow_is_refused(attribute: str, value: str) -> None:
    with pytest.raises(UndecodableMessage, match=f"'{attribute}' contains a control character"):
        read(**{attribute: value})


def test_text_that_cloudevents_allows_is_read() -> None:
    text = "Zürich \u202e 🎉 \ue000 \U0010fffd~"
    assert read(id=text, subject=text).subject == text


@pytest.mark.parametrize("attribute", ["subject", "dataschema", "partitionkey"])
def test_an_attribute_that_is_there_is_not_empty(attribute: str) -> None:
    with pytest.raises(UndecodableMessage, match=f"'{attribute}' is empty"):
        read(**{attribute: ""})


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("tenant", True), ("t1", True), ("averylongnameofanattribute", True), ("7", True)]
    + [
        (name, False) for name in ("Tenant", "ten_ant", "ten-ant", "data", "", "ténant", "a b", "١")
    ],
)
@pytest.mark.parametrize("prefix", ["cloudEvents_", "cloudEvents:", "ce-"])
def test_the_name_of_an_attribute_has_lower_case_letters_and_digits(
    prefix: str, name: str, allowed: bool
) -> None:
    sent = message(headers={**headers(prefix), prefix + name: "x"})
    if allowed:
        assert read_envelope(sent) == FULL
        assert extensions_of(sent.headers) == {name: "x"}
    else:
        with pytest.raises(UndecodableMessage, match="no name of a CloudEvents attribute"):
            read_envelope(sent)


def test_headers_that_are_no_attributes_may_be_called_anything() -> None:
    assert read_envelope(message(headers={**headers(), "X_Y-z": 7.5, "ce-Z": []})) == FULL


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (True, "true"),
        (False, "false"),
        (-7, "-7"),
        (2**31 - 1, "2147483647"),
        (b"\x00\xff", "AP8="),
        (NOON, "2026-01-31T12:00:00.123456Z"),
        (NOON.replace(tzinfo=None), "2026-01-31T12:00:00.123456Z"),
        (2**31, None),
        (7.5, None),
        ([], None),
        ({}, None),
        ("a\nb", None),
    ],
)
def test_an_extension_may_have_a_native_value(value: object, expected: str | None) -> None:
    sent = message(headers={**headers(), "cloudEvents_tenant": value})
    if expected is None:
        with pytest.raises(UndecodableMessage, match="'tenant' has the value"):
            read_envelope(sent)
    else:
        read_envelope(sent)
        assert extensions_of(sent.headers) == {"tenant": expected}


def test_an_attribute_without_a_value_is_none() -> None:
    sent = message(headers={**headers(), "cloudEvents_tenant": None})
    assert read_envelope(sent) == FULL
    assert extensions_of(sent.headers) == {}


def test_a_native_time_is_read() -> None:
    for moment in (NOON, NOON.replace(tzinfo=None)):
        assert read(time=moment).time == NOON


@pytest.mark.parametrize(
    "source",
    ["shop", "/shop", "https://example.org/shop?x=1#y", "urn:uuid:7", "1-555-123-4567", "//h/p",
     "mailto:a@example.org", "m%C3%BCnchen", "./a:b", "?q", "#f", "a+b:"],
)  # fmt: skip
def test_a_source_is_a_uri_reference(source: str) -> None:
    assert read(source=source).source == source


@pytest.mark.parametrize(
    "source", ["my shop", "münchen", "a#b#c", "%", "%zz", "<shop>", "a|b", "1:2", 'a"b', "a\\b"]
)
def test_a_source_that_is_no_uri_reference_is_refused(source: str) -> None:
    with pytest.raises(UndecodableMessage, match="'source' is no URI reference"):
        read(source=source)


def test_a_dataschema_is_an_absolute_uri() -> None:
    for uri in ("urn:eventbus:schema:order.paid:3", "https://example.org/s?v=1"):
        assert read(dataschema=uri).dataschema == uri
    for uri in (
        "order.paid",
        "/schema",
        "https:",
        "https://e.org/#x",
        "urn:a b",
        "urn:" + "x" * 2100,
    ):
        with pytest.raises(UndecodableMessage, match="'dataschema' is no absolute URI"):
            read(dataschema=uri)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z", "", "9" * 10_000]
)
def test_a_time_without_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(UndecodableMessage, match="'time' is no RFC 3339 timestamp"):
        read(time=text)


def test_a_time_in_the_future_is_accepted() -> None:
    far = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    assert read(time="9999-12-31T23:59:59Z").time == far
    ends_outside = read(time="9999-12-31T23:59:59-01:00").time
    assert ends_outside is not None
    assert ends_outside - far == timedelta(hours=1)
    assert read(time="0001-01-01T00:00:00+01:00").time is not None


def test_epoch_milliseconds_are_exact() -> None:
    assert epoch_ms(NOON) == 1769860800123
    assert epoch_ms(datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc)) == -1


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=5),
    st.text(max_size=300),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
_names = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        [
            prefix + name
            for prefix in ("cloudEvents_", "cloudEvents:", "ce-")
            for name in (*FULL.attributes(), "", "dataschema")
        ]
    ),
)


@given(st.dictionaries(_names, _values), st.booleans(), st.sampled_from(["ce-", "cloudEvents_"]))
def test_whatever_headers_come_only_our_error_is_raised(
    found: dict[str, Any], valid_before: bool, prefix: str
) -> None:
    merged = {**headers(prefix), **found} if valid_before else found
    try:
        envelope = read_envelope(message(headers=merged))
    except UndecodableMessage as error:
        assert len(str(error)) < 500
    else:
        assert envelope.id
        assert len(envelope.id.encode()) <= 255


# -- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"order 7", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        ('{"a": "ü"}'.encode("latin-1"), "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"NaN", "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b"1e999", "too large"),
        (b"-1e999", "too large"),
        (b"9" * 10_000, "not JSON"),
        (b'{"a": 1, "a": 1}', "same key twice"),
        (b'{"b": {"a": 1, "a": 2}}', "same key twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'"tab\there"', "not JSON"),
        (b"'single'", "not JSON"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_body_that_is_not_strict_json_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(UndecodableMessage, match=reason) as caught:
        load_data(message(body), LIMIT)
    assert len(str(caught.value)) < 500


def test_a_body_over_the_limit_is_not_even_looked_at() -> None:
    started = time.monotonic()
    with pytest.raises(UndecodableMessage, match="104857600 bytes; at most 1048576"):
        load_data(message(b"[" * 100 * 1024 * 1024), LIMIT)
    assert time.monotonic() - started < 1


def test_a_million_keys_are_read_or_refused_in_seconds() -> None:
    body = b"{" + b",".join(b'"%d":0' % number for number in range(1_000_000)) + b"}"
    started = time.monotonic()
    with pytest.raises(UndecodableMessage, match="at most"):
        load_data(message(body), LIMIT)
    assert len(load_data(message(body), len(body))) == 1_000_000
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "utf-16", "latin-1"])
def test_a_compressed_or_recoded_body_is_never_unpacked(encoding: str) -> None:
    bomb = gzip.compress(b"[" * 10_000_000)
    with pytest.raises(UndecodableMessage, match=f"content-encoding '{encoding}'"):
        load_data(message(bomb, content_encoding=encoding), LIMIT)


@pytest.mark.parametrize("encoding", [None, "", "utf-8", "UTF-8", "identity"])
def test_a_plain_body_is_read(encoding: str | None) -> None:
    assert load_data(message(b'{"a": 1}', content_encoding=encoding), LIMIT) == {"a": 1}


class Exploding:
    def __reduce__(self) -> tuple[Any, ...]:
        raise AssertionError("unpickled")


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-python-serialize", "application/x-yaml",
     "application/cloudevents+json", "application/json; charset=latin-1", "application/jsonp",
     "text/json"],
)  # fmt: skip
def test_another_content_type_is_never_decoded(content_type: str | None) -> None:
    body = pickle.dumps({"a": 1})
    with pytest.raises(UndecodableMessage, match="content-type"):
        load_data(message(body, content_type=content_type), LIMIT)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8",
     'application/json;charset="UTF-8"', "application/json; charset=utf8",
     "application/vnd.shop+json"],
)  # fmt: skip
def test_json_in_utf_8_is_read_however_it_is_spelled(content_type: str) -> None:
    assert load_data(message('"ü"'.encode(), content_type=content_type), LIMIT) == "ü"


def test_objects_in_the_data_stay_plain_values() -> None:
    hostile = {"__type__": "os.system", "__reduce__": ["ls"], "py/object": "os.system"}
    assert load_data(message(dump_data(hostile)), LIMIT) == hostile


def test_json_is_written_compact_and_never_with_nan() -> None:
    assert dump_data({"a": "ü", "b": [1, None]}) == '{"a":"ü","b":[1,null]}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_data({"a": float("nan")})


@given(
    st.binary(max_size=50) | st.text(max_size=50).map(lambda text: text.encode("utf-8", "ignore")),
    st.none() | st.text(max_size=40) | st.sampled_from(["application/json", "a/b+json;charset"]),
    st.none() | st.text(max_size=10),
)
def test_whatever_body_comes_only_our_error_is_raised(
    body: bytes, content_type: str | None, encoding: str | None
) -> None:
    try:
        load_data(message(body, content_type=content_type, content_encoding=encoding), LIMIT)
    except UndecodableMessage as error:
        assert len(str(error)) < 500


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)  # fmt: skip
def test_any_json_is_read_like_the_json_module_reads_it(value: Any) -> None:
    body = json.dumps(value).encode()
    assert load_data(message(body), LIMIT) == json.loads(body)


def test_the_headers_of_a_worker_are_taken_off_again() -> None:
    sent = message(headers=headers())
    worn = sent.with_headers(
        {
            "eventbus-handler": "charge",
            "eventbus-attempts": 3,
            "eventbus-reason": "r",
            "x-death": [{}],
            "x-first-death-queue": "q",
            "x-last-death-reason": "expired",
            "x-delivery-count": 2,
        }
    )
    assert worn.without_worker_headers() == sent
