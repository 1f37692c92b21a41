"""pika's asynchronous connection with a faster and harder way to read.

pika copies the receive buffer once a frame, reads 4 KiB at a time, builds objects for each frame
and decodes the headers of every message with code that a foreign message can make fail. Here
deliveries, returns and confirms go from the socket's bytes straight to the channel's `Content`
receiver; all other frames (opening, tuning, declaring, closing) take pika's own way.
"""

from __future__ import annotations

import logging
import platform
import struct
from collections.abc import Callable
from typing import Any, Protocol

import pika
import pika.exceptions
import pika.frame

from eventbus.brokers.rabbitmq.address import Address

# Each failure is reported here once, in words; pika logs the same one up to nine times.
if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)

#: Bytes that one read of the socket may bring: the deliveries in it are handed on together.
RECEIVE_BYTES = 128 * 1024
#: Seconds that the broker may block a publishing connection before it is opened anew, perhaps to
#: another node. Long, because only a connection that stays open is told when the alarm is over.
BLOCKED_SECONDS = 300
#: The largest frame to agree on; RabbitMQ's own default.
FRAME_MAX = 131_072

_METHOD, _HEADER, _BODY = 1, 2, 3
_FRAME_END = 0xCE
_DELIVER = b"\x00\x3c\x00\x3c"
_RETURN = b"\x00\x3c\x00\x32"
_ACK = b"\x00\x3c\x00\x50"
_NACK = b"\x00\x3c\x00\x78"

_frame_start = struct.Struct(">BHI")
_body_size = struct.Struct(">Q")
_confirm = struct.Struct(">QB")


class Content(Protocol):
    """What a channel does with messages and confirms; called on the I/O thread, must not raise."""

    def on_deliver(self, method: bytes, properties: bytes, body: bytes) -> None:
        """A ``basic.deliver``: its arguments, the property flags and values, the body."""

    def on_return(self, method: bytes, properties: bytes, body: bytes) -> None:
        """A ``basic.return``: its arguments, the property flags and values, the body."""

    def on_confirm(self, tag: int, multiple: bool, positive: bool) -> None:
        """A ``basic.ack`` or ``basic.nack`` of the broker."""

    def on_read(self) -> None:
        """All that one read of the socket brought has been handed over."""


class _Assembly:
    """The content that is arriving on one channel."""

    __slots__ = ("content", "method", "pieces", "properties", "receive", "remaining")

    def __init__(self, content: Content) -> None:
        self.content = content
        self.receive: Callable[[bytes, bytes, bytes], None] | None = None
        self.method = b""
        self.properties = b""
        self.pieces: list[bytes] = []
        self.remaining = 0

    def finish(self, body: bytes) -> None:
        receive, self.receive = self.receive, None
        if receive is not None:
            receive(self.method, self.properties, body)


class DataConnection(pika.SelectConnection):  # type: ignore[misc]
    """A `pika.SelectConnection` whose message contents go to `Content` receivers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._assemblies: dict[int, _Assembly] = {}
        self._frame_buffer = b""
        super().__init__(*args, **kwargs)

    def receive_content(self, channel: int, content: Content) -> None:
        """Hand what arrives on `channel` to `content`."""
        self._assemblies[channel] = _Assembly(content)

    def forget_content(self, channel: int) -> None:
        """What still arrives on `channel`, which is closed, is dropped."""
        self._assemblies.pop(channel, None)

    def send(self, frames: bytes) -> None:
        """Write encoded frames; nothing happens on a connection that is not open."""
        if self.is_open:
            self._output_marshaled_frames([frames])

    def abort(self, error: Exception) -> None:
        """Drop the connection without a farewell that a dead peer would not answer."""
        if not self.is_closed:
            self._terminate_stream(error)

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = RECEIVE_BYTES
        super()._proto_connection_made(transport)

    def _on_data_available(self, data_in: bytes) -> None:
        rest: bytes = self._frame_buffer
        buffer = rest + data_in if rest else data_in
        length = len(buffer)
        offset = 0
        touched: set[_Assembly] = set()
        assemblies = self._assemblies
        # A frame is 7 bytes of type, channel and size, the payload, and one closing byte.
        while length - offset >= 8:
            kind, channel, size = _frame_start.unpack_from(buffer, offset)
            start = offset + 7
            end = start + size
            if end >= length:
                if size > FRAME_MAX:
                    # Not AMQP; to wait for so much would be to wait for ever.
                    raise pika.exceptions.InvalidFrameError(f"a frame of {size} bytes")
                break
            if buffer[end] != _FRAME_END:
                raise pika.exceptions.InvalidFrameError("a frame does not end where it should")
            assembly = assemblies.get(channel)
            if assembly is None or not self._take(assembly, kind, buffer, start, end):
                if kind not in (_HEADER, _BODY):
                    _, frame = pika.frame.decode_frame(buffer[offset : end + 1])
                    self._process_frame(frame)
            elif assembly not in touched:
                touched.add(assembly)
            offset = end + 1
        self.bytes_received += offset
        self._frame_buffer = buffer[offset:]
        for assembly in touched:
            assembly.content.on_read()

    def _take(self, assembly: _Assembly, kind: int, buffer: bytes, start: int, end: int) -> bool:
        """Whether the frame was one of content or a confirm, and is dealt with."""
        if kind == _BODY:
            self._take_body(assembly, buffer[start:end])
        elif kind == _HEADER:
            assembly.properties = buffer[start + 12 : end]
            assembly.remaining = _body_size.unpack_from(buffer, start + 4)[0]
            if assembly.remaining == 0:
                assembly.finish(b"")
        elif kind == _METHOD:
            return self._take_method(assembly, buffer, start, end)
        else:
            return False
        return True

    def _take_method(self, assembly: _Assembly, buffer: bytes, start: int, end: int) -> bool:
        method = buffer[start : start + 4]
        if method == _DELIVER:
            assembly.receive = assembly.content.on_deliver
        elif method in (_ACK, _NACK):
            tag, bits = _confirm.unpack_from(buffer, start + 4)
            assembly.content.on_confirm(tag, bool(bits & 1), method == _ACK)
            return True
        elif method == _RETURN:
            assembly.receive = assembly.content.on_return
        else:
            return False
        assembly.method = buffer[start + 4 : end]
        return True

    def _take_body(self, assembly: _Assembly, piece: bytes) -> None:
        if not assembly.pieces and len(piece) >= assembly.remaining:
            assembly.finish(piece)
            return
        assembly.pieces.append(piece)
        assembly.remaining -= len(piece)
        if assembly.remaining <= 0:
            body = b"".join(assembly.pieces)
            assembly.pieces = []
            assembly.finish(body)


def parameters(address: Address, name: str) -> pika.ConnectionParameters:
    """pika's parameters for `address`, for a connection that the broker shows as `name`."""
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        frame_max=FRAME_MAX,
        heartbeat=address.heartbeat_seconds,
        blocked_connection_timeout=BLOCKED_SECONDS,
        socket_timeout=address.connect_seconds,
        stack_timeout=address.connect_seconds,
        connection_attempts=1,
        # pika checks the host name because the context does and it passes the name on.
        ssl_options=pika.SSLOptions(address.ssl_context(), address.host) if address.tls else None,
        client_properties=client_properties(name),
    )


def client_properties(name: str) -> dict[str, Any]:
    """What the broker's own pages show of a connection."""
    return {
        "connection_name": name,
        "product": "eventbus",
        "platform": f"Python {platform.python_version()}",
        "information": f"pika {pika.__version__}",
    }
