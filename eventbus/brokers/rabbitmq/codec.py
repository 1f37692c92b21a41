"""AMQP 0-9-1 content headers and `Message`, both ways, fast and without trust.

pika decodes the headers of a delivery before any other code runs; a table nested 500 deep or a
timestamp of 10^12 then breaks the connection, the broker sends the message again, and so for
ever. Here such a message becomes a `Message` with a reason, and the connection lives on.

The grammar is AMQP 0-9-1 §4.2.5 with the type tags that RabbitMQ uses (its errata, §3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from eventbus.message import Message

#: Keeps a message's own routing key while it travels through the default exchange, where the
#: routing key is the name of the next queue. Only this adapter sees it.
ROUTING_KEY_HEADER = "eventbus-routing-key"

#: Deeper tables are refused: ``x-death`` needs three levels, an attack on the stack hundreds.
MAX_DEPTH = 32

#: Headers that send copies of a message to further queues (sender-selected distribution). A retry
#: that carried them would reach those queues again.
COPY_HEADERS = frozenset({"CC", "BCC"})

_FRAME_END = b"\xce"
_BASIC_CLASS = 60
_PUBLISH_ID = (_BASIC_CLASS << 16) | 40
_ACK_ID = (_BASIC_CLASS << 16) | 80
_NACK_ID = (_BASIC_CLASS << 16) | 120
_MANDATORY = 1
_PERSISTENT = 2

_CONTENT_TYPE = 1 << 15
_CONTENT_ENCODING = 1 << 14
_HEADERS = 1 << 13
_DELIVERY_MODE = 1 << 12
_PRIORITY = 1 << 11
_CORRELATION_ID = 1 << 10
_REPLY_TO = 1 << 9
_EXPIRATION = 1 << 8
_MESSAGE_ID = 1 << 7
_TIMESTAMP = 1 << 6
_TYPE = 1 << 5
_USER_ID = 1 << 4
_APP_ID = 1 << 3
_MORE_FLAGS = 1

_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z, the last that datetime knows
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_u16 = struct.Struct(">H")
_u32 = struct.Struct(">I")
_u64 = struct.Struct(">Q")
_frame_start = struct.Struct(">BHI")
_content_start = struct.Struct(">BHIHHQ")
_settle_frame = struct.Struct(">BHIIQBB")


class Unencodable(ValueError):
    """A message that AMQP cannot carry; the text says why."""


class _Undecodable(ValueError):
    """A header table that cannot be read; the text says why."""


# ---------------------------------------------------------------------------------- encoding


class FrameEncoder:
    """Writes the frames of messages for one channel.

    pika builds three frame objects a message and encodes the headers value by value; this writes
    them in one join, and remembers what repeats: the method frame of a routing key, header names.

    Parameters
    ----------
    channel:
        The channel number.
    frame_max:
        The largest frame, in bytes, that both sides have agreed on.
    """

    #: Routing keys whose method frame is remembered; beyond it they are encoded each time.
    CACHED_ROUTING_KEYS = 4096

    def __init__(self, channel: int, frame_max: int) -> None:
        self._channel = channel
        self._payload_max = frame_max - 8
        self._publish_frames: dict[tuple[str, str], bytes] = {}

    def publish(self, exchange: str, routing_key: str, message: Message) -> bytes:
        """All frames of one mandatory, persistent ``basic.publish``.

        Raises
        ------
        Unencodable
            A routing key over 255 bytes, a header of a type AMQP does not know, or headers that
            do not fit one frame.
        """
        method = self._publish_frames.get((exchange, routing_key))
        if method is None:
            method = self._publish_frame(exchange, routing_key)
        properties = encode_properties(message)
        if len(properties) + 12 > self._payload_max:
            raise Unencodable(
                f"headers of {len(properties)} bytes do not fit the frame of "
                f"{self._payload_max + 8} bytes that the broker allows"
            )
        body = message.body
        size = len(body)
        start = _content_start.pack(2, self._channel, len(properties) + 12, _BASIC_CLASS, 0, size)
        if 0 < size <= self._payload_max:
            body_start = _frame_start.pack(3, self._channel, size)
            return b"".join((method, start, properties, _FRAME_END, body_start, body, _FRAME_END))
        pieces = [method, start, properties, _FRAME_END]
        for offset in range(0, size, self._payload_max):
            part = body[offset : offset + self._payload_max]
            pieces += (_frame_start.pack(3, self._channel, len(part)), part, _FRAME_END)
        return b"".join(pieces)

    def _publish_frame(self, exchange: str, routing_key: str) -> bytes:
        payload = b"".join(
            (
                _u32.pack(_PUBLISH_ID),
                b"\0\0",
                _short("exchange name", exchange),
                _short("routing key", routing_key),
                bytes((_MANDATORY,)),
            )
        )
        frame = _frame_start.pack(1, self._channel, len(payload)) + payload + _FRAME_END
        if len(self._publish_frames) < self.CACHED_ROUTING_KEYS:
            self._publish_frames[exchange, routing_key] = frame
        return frame


def ack_frame(channel: int, tag: int, multiple: bool) -> bytes:
    """The frame of one ``basic.ack``."""
    return _settle_frame.pack(1, channel, 13, _ACK_ID, tag, multiple, 0xCE)


def requeue_frame(channel: int, tag: int, multiple: bool = False) -> bytes:
    """The frame of one ``basic.nack`` with ``requeue``."""
    return _settle_frame.pack(1, channel, 13, _NACK_ID, tag, 2 + multiple, 0xCE)


def encode_properties(message: Message) -> bytes:
    """Property flags and values of `message` as they follow in a content header frame."""
    flags = _DELIVERY_MODE
    pieces = [b""]
    if message.content_type is not None:
        flags |= _CONTENT_TYPE
        pieces.append(_repeated_short("content_type", message.content_type))
    if message.content_encoding is not None:
        flags |= _CONTENT_ENCODING
        pieces.append(_repeated_short("content_encoding", message.content_encoding))
    if message.headers:
        flags |= _HEADERS
        table = encode_table(message.headers)
        pieces.append(_u32.pack(len(table)))
        pieces.append(table)
    pieces.append(b"\x02")  # delivery mode: persistent
    if message.correlation_id is not None:
        flags |= _CORRELATION_ID
        pieces.append(_short("correlation_id", message.correlation_id))
    if message.message_id is not None:
        flags |= _MESSAGE_ID
        pieces.append(_short("message_id", message.message_id))
    if message.timestamp is not None:
        flags |= _TIMESTAMP
        pieces.append(_timestamp(message.timestamp))
    if message.type is not None:
        flags |= _TYPE
        pieces.append(_repeated_short("type", message.type))
    if message.app_id is not None:
        flags |= _APP_ID
        pieces.append(_repeated_short("app_id", message.app_id))
    pieces[0] = _u16.pack(flags)
    return b"".join(pieces)


def encode_table(table: dict[str, Any]) -> bytes:
    """The entries of a header table, without the length in front."""
    pieces: list[bytes] = []
    append = pieces.append
    for name, value in table.items():
        if type(value) is str:
            encoded = value.encode("utf-8", "backslashreplace")
            append(_STRING_STARTS.get(name) or _string_start(name))
            append(_u32.pack(len(encoded)))
            append(encoded)
        else:
            append(_short("header name", name))
            append(_encode_value(name, value))
    return b"".join(pieces)


_STRING_STARTS: dict[str, bytes] = {}
_SHORTS: dict[str, bytes] = {}
#: Names and values come from outside; what is remembered of them must stay small.
_CACHE_SIZE = 1024


def _string_start(name: str) -> bytes:
    start = _short("header name", name) + b"S"
    if len(_STRING_STARTS) < _CACHE_SIZE:
        _STRING_STARTS[name] = start
    return start


def _repeated_short(what: str, value: str) -> bytes:
    known = _SHORTS.get(value)
    if known is None:
        known = _short(what, value)
        if len(_SHORTS) < _CACHE_SIZE:
            _SHORTS[value] = known
    return known


def _short(what: str, value: str) -> bytes:
    if not isinstance(value, str):
        raise Unencodable(f"{what} {value!r:.100} is not text")
    encoded = value.encode("utf-8", "backslashreplace")
    if len(encoded) > 255:
        raise Unencodable(f"{what} {value[:60]!r}... has {len(encoded)} bytes; AMQP allows 255")
    return bytes((len(encoded),)) + encoded


def _timestamp(seconds: float) -> bytes:
    try:
        return _u64.pack(int(seconds))
    except (struct.error, ValueError, OverflowError):
        raise Unencodable(f"timestamp {seconds!r} is not a time") from None


def _encode_value(name: str, value: Any, depth: int = 0) -> bytes:
    if depth > MAX_DEPTH:
        raise Unencodable(f"header {name!r:.100} is nested more than {MAX_DEPTH} deep")
    for kind, encode in _VALUE_ENCODERS:
        if isinstance(value, kind):
            return encode(name, value, depth)
    raise Unencodable(
        f"header {name!r:.100} has a value of type {type(value).__name__}, which AMQP cannot carry"
    )


def _encode_integer(name: str, value: int, _depth: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return struct.pack(">ci", b"I", value)
    if -(2**63) <= value < 2**63:
        return struct.pack(">cq", b"l", value)
    raise Unencodable(f"header {name!r:.100} is an integer of more than 64 bits")


def _encode_string(_name: str, value: str, _depth: int) -> bytes:
    encoded = value.encode("utf-8", "backslashreplace")
    return b"S" + _u32.pack(len(encoded)) + encoded


def _encode_decimal(name: str, value: Decimal, _depth: int) -> bytes:
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -255 <= exponent <= 0:
        unscaled = int(value.scaleb(-exponent))
        if -(2**31) <= unscaled < 2**31:
            return struct.pack(">cBi", b"D", -exponent, unscaled)
    # AMQP's decimal has 32 bits; the digits as text lose nothing.
    return _encode_string(name, str(value), 0)


def _encode_datetime(name: str, value: datetime, _depth: int) -> bytes:
    return b"T" + _timestamp(value.timestamp())


def _encode_nested(name: str, value: dict[str, Any], depth: int) -> bytes:
    entries = b"".join(
        _short("header name", key) + _encode_value(name, item, depth + 1)
        for key, item in value.items()
    )
    return b"F" + _u32.pack(len(entries)) + entries


def _encode_array(name: str, value: list[Any], depth: int) -> bytes:
    items = b"".join(_encode_value(name, item, depth + 1) for item in value)
    return b"A" + _u32.pack(len(items)) + items


_VALUE_ENCODERS: tuple[tuple[Any, Callable[[str, Any, int], bytes]], ...] = (
    (str, _encode_string),
    (bool, lambda _name, value, _depth: b"t\x01" if value else b"t\x00"),
    (int, _encode_integer),
    (type(None), lambda _name, _value, _depth: b"V"),
    (bytes, lambda _name, value, _depth: b"x" + _u32.pack(len(value)) + value),
    (float, lambda _name, value, _depth: struct.pack(">cd", b"d", value)),
    (datetime, _encode_datetime),
    (Decimal, _encode_decimal),
    (dict, _encode_nested),
    ((list, tuple), _encode_array),
)


# ---------------------------------------------------------------------------------- decoding


def decode_message(
    properties: bytes, body: bytes, exchange: bytes, routing_key: bytes
) -> tuple[Message, str | None]:
    """Read the property flags and values that came with `body`; never raises.

    Returns
    -------
    The message, and why it could not be read in full, else None.
    """
    reader = _PropertyReader(properties)
    reason = reader.read()
    headers = reader.headers
    key = _text(routing_key)
    if not exchange and headers:
        # It came through the default exchange: a retry, a move, or dead-lettered by the broker.
        key = original_routing_key(headers, key)
    message = Message(
        body,
        key,
        headers,
        reader.message_id,
        reader.type,
        reader.content_type,
        reader.content_encoding,
        reader.correlation_id,
        reader.app_id,
        reader.timestamp,
    )
    return message, reason


def original_routing_key(headers: dict[str, Any], delivered: str) -> str:
    """The routing key that the producer gave; takes `ROUTING_KEY_HEADER` out of `headers`."""
    kept = headers.pop(ROUTING_KEY_HEADER, None)
    if isinstance(kept, str):
        return kept
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[-1], dict):
        # The last entry is the oldest: where the message died first.
        keys = deaths[-1].get("routing-keys")
        if isinstance(keys, list) and keys and isinstance(keys[0], str):
            return keys[0]
    return delivered


def _text(raw: bytes) -> str:
    # Lossy for what is not UTF-8, but printable everywhere; surrogates would fail later.
    return raw.decode("utf-8", "backslashreplace")


class _PropertyReader:
    """The values of one content header, read in the order of the AMQP Basic class."""

    __slots__ = (
        "_offset",
        "_raw",
        "app_id",
        "content_encoding",
        "content_type",
        "correlation_id",
        "headers",
        "message_id",
        "timestamp",
        "type",
    )

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._offset = 0
        self.headers: dict[str, Any] = {}
        self.content_type: str | None = None
        self.content_encoding: str | None = None
        self.correlation_id: str | None = None
        self.message_id: str | None = None
        self.timestamp: int | None = None
        self.type: str | None = None
        self.app_id: str | None = None

    def read(self) -> str | None:
        try:
            return self._read()
        except (IndexError, struct.error):
            return "its properties end too early"

    def _read(self) -> str | None:
        raw = self._raw
        flags = _u16.unpack_from(raw)[0]
        self._offset = 2
        reason = None
        more = flags
        while more & _MORE_FLAGS:
            more = _u16.unpack_from(raw, self._offset)[0]
            self._offset += 2
        if flags & _CONTENT_TYPE:
            self.content_type = self._repeated_short()
        if flags & _CONTENT_ENCODING:
            self.content_encoding = self._repeated_short()
        if flags & _HEADERS:
            reason = self._read_headers()
        if flags & _DELIVERY_MODE:
            self._offset += 1
        if flags & _PRIORITY:
            self._offset += 1
        if flags & _CORRELATION_ID:
            self.correlation_id = self._short()
        if flags & _REPLY_TO:
            self._short()
        if flags & _EXPIRATION:
            self._short()
        if flags & _MESSAGE_ID:
            self.message_id = self._short()
        if flags & _TIMESTAMP:
            reason = self._read_timestamp() or reason
        if flags & _TYPE:
            self.type = self._repeated_short()
        if flags & _USER_ID:
            self._short()
        if flags & _APP_ID:
            self.app_id = self._repeated_short()
        return reason

    def _read_headers(self) -> str | None:
        start = self._offset + 4
        end = start + _u32.unpack_from(self._raw, self._offset)[0]
        self._offset = end
        if end > len(self._raw):
            return "its header table is longer than its frame"
        try:
            _decode_table(self._raw, start, end, 0, self.headers)
        except _Undecodable as error:
            return str(error)
        except (IndexError, struct.error):
            return "a header ends too early"
        return None

    def _read_timestamp(self) -> str | None:
        seconds: int = _u64.unpack_from(self._raw, self._offset)[0]
        self._offset += 8
        if seconds > _LAST_SECOND:
            return f"its timestamp {seconds} is not a time in seconds"
        self.timestamp = seconds
        return None

    def _short(self) -> str:
        return _text(self._short_bytes())

    def _short_bytes(self) -> bytes:
        start = self._offset + 1
        end = start + self._raw[self._offset]
        if end > len(self._raw):
            raise IndexError
        self._offset = end
        return self._raw[start:end]

    def _repeated_short(self) -> str:
        raw = self._short_bytes()
        return _NAMES.get(raw) or _name(raw)


_NAMES: dict[bytes, str] = {}


def _name(raw: bytes) -> str:
    name = _text(raw)
    if len(_NAMES) < _CACHE_SIZE:
        _NAMES[raw] = name
    return name


def _decode_table(raw: bytes, offset: int, end: int, depth: int, table: dict[str, Any]) -> None:
    """Fill `table` from the entries in ``raw[offset:end]``; what was read before an error stays."""
    unpack_size = _u32.unpack_from
    while offset < end:
        start = offset + 1
        offset = start + raw[offset]
        key = raw[start:offset]
        name = _NAMES.get(key) or _name(key)
        if raw[offset] == 83:  # S, by far the commonest
            start = offset + 5
            offset = start + unpack_size(raw, offset + 1)[0]
            if offset > end:
                raise _Undecodable(f"header {name!r:.100} is longer than its table")
            try:
                table[name] = raw[start:offset].decode()
            except UnicodeDecodeError:
                table[name] = raw[start:offset]
        else:
            table[name], offset = _decode_value(raw, offset, end, depth, name)
    if offset != end:
        raise _Undecodable("a header is longer than its table")


def _decode_value(raw: bytes, offset: int, end: int, depth: int, name: str) -> tuple[Any, int]:
    tag = raw[offset]
    offset += 1
    number = _NUMBERS.get(tag)
    if number is not None:
        return number.unpack_from(raw, offset)[0], offset + number.size
    if tag in b"SxFA":
        start = offset + 4
        stop = start + _u32.unpack_from(raw, offset)[0]
        if stop > end:
            raise _Undecodable(f"header {name!r:.100} is longer than its table")
        return _decode_sized(tag, raw, start, stop, depth, name), stop
    if tag == 116:  # t
        return raw[offset] != 0, offset + 1
    if tag == 86:  # V
        return None, offset
    if tag == 84:  # T
        return _decode_time(_u64.unpack_from(raw, offset)[0], name), offset + 8
    if tag == 68:  # D
        scale, unscaled = _decimal.unpack_from(raw, offset)
        return Decimal(unscaled).scaleb(-scale), offset + 5
    raise _Undecodable(f"header {name!r:.100} has the unknown type {chr(tag)!r}")


_decimal = struct.Struct(">Bi")
_NUMBERS = {
    ord(tag): struct.Struct(">" + code)
    for tag, code in {
        "b": "b", "B": "B", "s": "h", "U": "h", "u": "H", "I": "i", "i": "I",
        "l": "q", "L": "q", "f": "f", "d": "d",
    }.items()
}  # fmt: skip


def _decode_sized(tag: int, raw: bytes, start: int, stop: int, depth: int, name: str) -> Any:
    if tag == 120:  # x
        return raw[start:stop]
    if tag == 83:  # S
        try:
            return raw[start:stop].decode()
        except UnicodeDecodeError:
            return raw[start:stop]
    if depth >= MAX_DEPTH:
        raise _Undecodable(f"its headers are nested more than {MAX_DEPTH} deep")
    if tag == 70:  # F
        table: dict[str, Any] = {}
        _decode_table(raw, start, stop, depth + 1, table)
        return table
    items = []
    while start < stop:
        item, start = _decode_value(raw, start, stop, depth + 1, name)
        items.append(item)
    return items


def _decode_time(seconds: int, name: str) -> datetime:
    if seconds > _LAST_SECOND:
        raise _Undecodable(f"header {name!r:.100} has the timestamp {seconds}, which is not a time")
    return _EPOCH + timedelta(seconds=seconds)
