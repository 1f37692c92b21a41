"""The Confluent frame, also against confluent_kafka's own reading and writing of it."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.contracts.wire.frame import (
    INDEXES_MAX,
    frame,
    frame_protobuf,
    is_framed,
    unframe,
    unframe_protobuf,
)
from eventbus.errors import UndecodableMessage

IDS = st.integers(1, 2**31 - 1)
INDEXES = st.lists(st.integers(0, 2**20), min_size=1, max_size=INDEXES_MAX).map(tuple)


@given(IDS, st.binary(max_size=50))
@settings(deadline=None, max_examples=50)
def test_what_is_framed_comes_back(schema_id: int, payload: bytes) -> None:
    framed = frame(schema_id, payload)
    assert is_framed(framed)
    assert unframe(framed) == (schema_id, payload)


@given(IDS, INDEXES, st.binary(max_size=50))
@settings(deadline=None, max_examples=50)
def test_the_indexes_of_a_message_type_come_back(
    schema_id: int, indexes: tuple[int, ...], payload: bytes
) -> None:
    framed = frame_protobuf(schema_id, payload, indexes)
    assert unframe_protobuf(framed) == (schema_id, indexes, payload)


@given(INDEXES)
@settings(deadline=None, max_examples=50)
def test_the_indexes_are_those_that_confluent_writes(indexes: tuple[int, ...]) -> None:
    protobuf = pytest.importorskip("confluent_kafka.schema_registry.protobuf")
    theirs = BytesIO()
    protobuf.ProtobufSerializer._encode_varints(theirs, list(indexes), zigzag=True)
    if indexes == (0,):
        theirs = BytesIO(b"\0")
    assert frame_protobuf(1, b"", indexes)[5:] == theirs.getvalue()


def test_the_first_message_type_is_also_read_in_its_long_form() -> None:
    assert unframe_protobuf(b"\0\0\0\0\x05\x02\x00rest") == (5, (0,), b"rest")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "0 bytes"),
        (b"\0\0\0", "3 bytes"),
        (b'{"a":1}', "begins with byte 123"),
        (b"\0\0\0\0\0x", "id 0"),
        (b"\0\xff\xff\xff\xffx", "id -1"),
    ],
)
def test_what_is_no_frame_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(UndecodableMessage, match=reason):
        unframe(body)


@pytest.mark.parametrize(
    "indexes",
    [
        b"",
        b"\x02",  # one index, which is missing
        b"\x80\x80\x80\x80\x80\x80\x01",  # a number without an end
        b"\xfe\xff\xff\xff\x0f" + b"\0" * 100,  # two thousand million levels
        b"\x01",  # -1 levels
        b"\x02\x01",  # index -1
    ],
)
def test_indexes_of_nothing_are_refused(indexes: bytes) -> None:
    with pytest.raises(UndecodableMessage):
        unframe_protobuf(b"\0\0\0\0\x05" + indexes)
