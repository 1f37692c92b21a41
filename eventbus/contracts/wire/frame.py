"""The Confluent frame around a body: which schema it was written with.

A magic byte 0, the schema's id in four bytes (big-endian), and the payload; with Protobuf the
indexes of the message type in its file come before the payload
(https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format).
"""

from __future__ import annotations

import struct

from eventbus.errors import UndecodableMessage

MAGIC_BYTE = 0
HEADER_BYTES = 5
#: The ids of our registry are positive; those of Confluent's are signed 32-bit integers too.
ID_MAX = 2**31 - 1
#: Levels of nested message types; no ``.proto`` file of a person has as many.
INDEXES_MAX = 16
#: The first message type of the file, which is also written as one zero byte.
FIRST_MESSAGE: tuple[int, ...] = (0,)

_header = struct.Struct(">bi")
#: A variable-length integer of 32 bits takes at most so many bytes.
_VARINT_MAX_BYTES = 5


def is_framed(body: bytes) -> bool:
    """Whether the body begins with the magic byte, which no JSON text does."""
    return body[:1] == b"\0"


def frame(schema_id: int, payload: bytes) -> bytes:
    """The body of an Avro or JSON message."""
    return _header.pack(MAGIC_BYTE, schema_id) + payload


def frame_protobuf(
    schema_id: int, payload: bytes, indexes: tuple[int, ...] = FIRST_MESSAGE
) -> bytes:
    """The body of a Protobuf message of the type at `indexes`: ``(1, 0)`` is the first type inside
    the file's second."""
    return _header.pack(MAGIC_BYTE, schema_id) + _packed(indexes) + payload


def unframe(body: bytes) -> tuple[int, bytes]:
    """The schema's id, and the payload.

    Raises
    ------
    UndecodableMessage
        The body is in no such frame.
    """
    if len(body) < HEADER_BYTES:
        raise UndecodableMessage(
            f"the body has {len(body)} bytes, but the frame that says its schema takes "
            f"{HEADER_BYTES}"
        )
    magic, schema_id = _header.unpack_from(body)
    if magic != MAGIC_BYTE:
        raise UndecodableMessage(
            f"the body begins with byte {body[0]}, not with the 0 of the Confluent frame, so "
            f"nothing says its schema"
        )
    if schema_id <= 0:
        raise UndecodableMessage(f"the frame says schema id {schema_id}; ids are positive")
    return schema_id, body[HEADER_BYTES:]


def unframe_protobuf(body: bytes) -> tuple[int, tuple[int, ...], bytes]:
    """The schema's id, the indexes of the message type, and the payload.

    Raises
    ------
    UndecodableMessage
        The body is in no such frame.
    """
    schema_id, rest = unframe(body)
    if rest[:1] == b"\0":
        return schema_id, FIRST_MESSAGE, rest[1:]
    count, at = _unpacked(rest, 0)
    if not 0 < count <= INDEXES_MAX:
        raise UndecodableMessage(
            f"the frame says a message type {count} levels deep; 1 to {INDEXES_MAX} are read"
        )
    indexes = []
    for _ in range(count):
        index, at = _unpacked(rest, at)
        if index < 0:
            raise UndecodableMessage(f"the frame says message type {index}; indexes begin with 0")
        indexes.append(index)
    return schema_id, tuple(indexes), rest[at:]


def _packed(indexes: tuple[int, ...]) -> bytes:
    """Zigzag variable-length integers: how many, then each; the first type alone as one zero."""
    if indexes == FIRST_MESSAGE:
        return b"\0"
    packed = bytearray()
    for number in (len(indexes), *indexes):
        rest = number << 1
        while rest > 0x7F:
            packed.append(rest & 0x7F | 0x80)
            rest >>= 7
        packed.append(rest)
    return bytes(packed)


def _unpacked(data: bytes, at: int) -> tuple[int, int]:
    """The zigzag integer at `at`, and where it ends."""
    number = 0
    for position, byte in enumerate(data[at : at + _VARINT_MAX_BYTES]):
        number |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + position + 1
    raise UndecodableMessage("the frame's indexes of the message type are cut off or too large")
