"""CloudEvents structured mode: the same event as in binary mode, and nothing that is no event."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.envelope import (
    Envelope,
    extensions_of,
    in_binary_mode,
    load_data,
    read_envelope,
    to_message,
)
from eventbus.errors import UndecodableMessage
from eventbus.message import Message
from eventbus.structured import packed, structured_max_bytes, unpacked

LIMIT = 1024 * 1024
FULL = Envelope(
    id="0199c2f1-0000-7000-8000-000000000001",
    source="shop",
    type="order.paid",
    time=datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc),
    subject="Bestellung für 7 🎉",
    correlationid="c",
    causationid="d",
    partitionkey="7",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    dataschema="urn:eventbus:schema:order.paid:1",
)
EVENT = {"specversion": "1.0", "id": "1", "source": "shop", "type": "order.paid"}


def structured(document: Any, **changes: Any) -> Message:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Message(
        body, "order.paid", **{"content_type": "application/cloudevents+json", **changes}
    )


def event(**changes: Any) -> Message:
    return structured({**EVENT, "data": {"a": 1}, **changes})


def refused(message: Message, reason: str) -> None:
    with pytest.raises(UndecodableMessage, match=reason) as caught:
        read_envelope(message)
    assert len(str(caught.value)) < 500


# -- out, and in again ---------------------------------------------------------------------------


def test_what_is_sent_is_one_json_document() -> None:
    sent = packed(to_message({**FULL.attributes(), "tenant": "t"}, b'{"a":"\xc3\xbc"}', 0))
    assert sent.content_type == "application/cloudevents+json"
    assert sent.headers == {}
    assert json.loads(sent.body) == {
        **FULL.attributes(),
        "tenant": "t",
        "datacontenttype": "application/json",
        "data": {"a": "ü"},
    }
    assert (sent.message_id, sent.type, sent.routing_key) == (FULL.id, FULL.type, FULL.type)


_attributes = st.fixed_dictionaries(
    {"specversion": st.just("1.0"), "id": st.uuids().map(str)}
    | {name: st.just(getattr(FULL, name)) for name in ("source", "type")},
    optional={"subject": st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1)}
    | {"tenant": st.text(st.characters(categories=["L", "Zs"]))},
)
_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abü", max_size=5), inner),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(_attributes, _data)
def test_either_mode_says_the_same(attributes: dict[str, str], data: Any) -> None:
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    binary = to_message(attributes, body, 7)
    # Also byte for byte: by the body a repeated event is known.
    assert unpacked(packed(binary), LIMIT) == binary


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_data_that_are_no_json_travel_in_base64(body: bytes) -> None:
    binary = to_message({**FULL.attributes(), "datacontenttype": "application/avro"}, body, 7)
    sent = packed(binary)
    document = json.loads(sent.body)
    assert base64.b64decode(document["data_base64"]) == body
    assert document["datacontenttype"] == "application/avro"
    assert "data" not in document
    assert unpacked(sent, LIMIT) == binary


def test_the_largest_data_come_through_in_either_form() -> None:
    for content_type, body in (
        ("application/json", b'"' + b"x" * (LIMIT - 2) + b'"'),
        ("application/avro", b"\0" * LIMIT),
    ):
        binary = to_message({**FULL.attributes(), "datacontenttype": content_type}, body, 7)
        sent = packed(binary)
        assert len(sent.body) <= structured_max_bytes(LIMIT)
        assert unpacked(sent, LIMIT) == binary


# -- in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON",
        "application/cloudevents+json; charset=UTF-8",
        'application/cloudevents+json;charset="utf-8"',
    ],
)
def test_the_content_type_says_that_it_is_structured(content_type: str) -> None:
    message = replace(event(), content_type=content_type)
    assert read_envelope(message) == Envelope("1", "shop", "order.paid")
    assert load_data(in_binary_mode(message), LIMIT) == {"a": 1}


def test_the_document_counts_and_not_the_headers() -> None:
    headers = {"cloudEvents_id": "other", "cloudEvents_subject": "s", "ce-tenant": "x", "mine": 7}
    message = in_binary_mode(replace(event(tenant="t"), headers=headers))
    assert read_envelope(message) == Envelope("1", "shop", "order.paid")
    assert extensions_of(message.headers) == {"tenant": "t"}
    assert message.headers["mine"] == 7


def test_an_extension_may_be_a_boolean_or_an_integer() -> None:
    message = in_binary_mode(event(flag=True, count=-7, none=None, text="x"))
    read_envelope(message)
    assert extensions_of(message.headers) == {"flag": "true", "count": "-7", "text": "x"}


def test_null_is_an_attribute_that_is_not_set() -> None:
    message = event(subject=None, time=None, datacontenttype=None, dataschema=None)
    assert read_envelope(message) == Envelope("1", "shop", "order.paid")
    assert in_binary_mode(event(data_base64=None)).body == b'{"a":1}'


@pytest.mark.parametrize(
    ("changes", "content_type", "body"),
    [
        ({"data": None}, "application/json", b"null"),
        ({"data": "[1]"}, "application/json", b'"[1]"'),
        ({"data": [1.5, "ü"]}, "application/json", '[1.5,"ü"]'.encode()),
        ({"datacontenttype": "text/json"}, "application/json", b'{"a":1}'),
        ({"datacontenttype": "application/vnd.shop+JSON; v=1"}, "application/json", b'{"a":1}'),
        ({"datacontenttype": "text/xml", "data": "<ü/>"}, "text/xml", "<ü/>".encode()),
    ],
)
def test_the_data_are_what_datacontenttype_says(
    changes: dict[str, Any], content_type: str, body: bytes
) -> None:
    message = in_binary_mode(event(**changes))
    assert (message.content_type, message.body) == (content_type, body)


def test_base64_is_decoded_whatever_the_content_type() -> None:
    document = {**EVENT, "data_base64": base64.b64encode(b'{"a": 1}').decode()}
    message = in_binary_mode(structured(document))
    assert load_data(message, LIMIT) == {"a": 1}
    message = in_binary_mode(structured({**document, "datacontenttype": "application/avro"}))
    assert (message.content_type, message.body) == ("application/avro", b'{"a": 1}')


def test_an_event_without_data_has_an_empty_body() -> None:
    message = in_binary_mode(structured(EVENT))
    assert read_envelope(message).id == "1"
    with pytest.raises(UndecodableMessage, match="not JSON"):
        load_data(message, LIMIT)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["application/cloudevents-batch+json", "application/CloudEvents-Batch+json; charset=utf-8"],
)
def test_a_batch_is_refused_with_what_to_do(content_type: str) -> None:
    refused(
        structured([{**EVENT, "data": {}}], content_type=content_type),
        "a batch of CloudEvents is not read; send each event as a message of its own",
    )
    refused(structured([{**EVENT, "data": {}}]), "a batch is not read")


@pytest.mark.parametrize(
    "content_type",
    ["application/cloudevents", "application/cloudevents+avro", "application/cloudevents+xml"],
)
def test_another_format_of_cloudevents_is_refused(content_type: str) -> None:
    headers = {f"cloudEvents_{name}": value for name, value in FULL.attributes().items()}
    refused(
        structured({}, content_type=content_type, headers=headers),
        r"this format of CloudEvents is not read; application/cloudevents\+json is",
    )


@pytest.mark.parametrize("missing", ["id", "source", "type", "specversion"])
@pytest.mark.parametrize("value", ["absent", None, ""])
def test_a_required_attribute_is_never_invented(missing: str, value: str | None) -> None:
    document = {**EVENT, "data": {}, missing: value}
    if value == "absent":
        del document[missing]
    message = structured(
        document, message_id="given-by-the-broker", headers={"cloudEvents_id": "x"}
    )
    refused(message, missing)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": 7}, "'id' is not a string"),
        ({"subject": True}, "'subject' is not a string"),
        ({"subject": ""}, "'subject' is empty"),
        ({"time": "yesterday"}, "'time' is no RFC 3339"),
        ({"time": "2026-01-31T12:00:00"}, "'time' is no RFC 3339"),
        ({"time": 1769860800}, "'time' is not a string"),
        ({"source": "my shop"}, "'source' is no URI reference"),
        ({"dataschema": "order"}, "'dataschema' is no absolute URI"),
        ({"specversion": "0.3"}, "specversion"),
        ({"id": "a\nb"}, "control character"),
        ({"id": "\ud800"}, "lone surrogate"),
        ({"Tenant": "x"}, "no name of a CloudEvents attribute"),
        ({"ten_ant": "x"}, "no name of a CloudEvents attribute"),
        ({"": "x"}, "no name of a CloudEvents attribute"),
        ({"tenant": 1.5}, "'tenant' has the value 1.5"),
        ({"tenant": 5.0}, "'tenant' has the value 5.0"),
        ({"tenant": 2**31}, "'tenant' has the value"),
        ({"tenant": ["x"]}, "'tenant' has the value"),
        ({"tenant": {}}, "'tenant' has the value"),
        ({"data_base64": "YQ=="}, "both data and data_base64"),
        ({"datacontenttype": 7}, "'datacontenttype' is not a string"),
        ({"datacontenttype": ""}, "'datacontenttype' is not a string"),
        ({"datacontenttype": "text/xml"}, "data are no string"),
    ],
)
def test_what_the_standard_does_not_allow_is_refused(changes: dict[str, Any], reason: str) -> None:
    refused(event(**changes), reason)


@pytest.mark.parametrize("text", ["%", "YQ", "YQ==\n", "YQ-_", "ü", 7, ["YQ=="], {}])
def test_base64_is_strict(text: Any) -> None:
    refused(structured({**EVENT, "data_base64": text}), "no Base64")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"5", "an object is expected"),
        (b"null", "an object is expected"),
        (b'"x"', "an object is expected"),
        (b'{"id": "1", "id": "2"}', "same key twice"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"data": NaN}', "NaN is not JSON"),
        (b"\xff{}", "not UTF-8"),
        (json.dumps({**EVENT, "data": {}}).encode("utf-16"), "not UTF-8"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_document_that_is_no_strict_json_is_refused(body: bytes, reason: str) -> None:
    refused(structured(body), reason)


def test_a_compressed_or_recoded_document_is_never_unpacked() -> None:
    refused(replace(event(), content_encoding="gzip"), "content-encoding 'gzip'")
    refused(
        replace(event(), content_type="application/cloudevents+json; charset=latin-1"),
        "send UTF-8",
    )


def test_a_document_over_the_limit_is_not_even_looked_at() -> None:
    message = structured(b'{"data":"' + b"x" * 50_000_000 + b'"}')
    started = time.monotonic()
    with pytest.raises(UndecodableMessage, match="at most"):
        in_binary_mode(message, LIMIT)
    refused(message, "at most")
    assert time.monotonic() - started < 1


@given(
    st.dictionaries(
        st.sampled_from([*FULL.attributes(), "data", "data_base64", "datacontenttype", "X", ""]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
        | st.lists(st.integers(), max_size=2) | st.just("1.0"),
    )
)  # fmt: skip
def test_whatever_document_comes_only_our_error_is_raised(document: dict[str, Any]) -> None:
    message = structured({**EVENT, **document})
    try:
        envelope = read_envelope(message)
        load_data(in_binary_mode(message), LIMIT)
    except UndecodableMessage as error:
        assert len(str(error)) < 500
    else:
        assert envelope.id
