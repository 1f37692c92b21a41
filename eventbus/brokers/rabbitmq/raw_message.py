"""py-amqp's messages with our codec: its own fails on foreign headers, as pika's does."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import amqp.basic_message
from amqp.exceptions import UnexpectedFrame

from eventbus.brokers.rabbitmq.codec import decode_message, encode_properties
from eventbus.message import Message

_DELIVER, _GET_OK, _RETURN = (60, 60), (60, 71), (60, 50)
_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8


class RawMessage(amqp.basic_message.Message):  # type: ignore[misc]
    """A message of py-amqp whose properties are bytes until `decoded`."""

    message: Message
    raw_properties: bytes = b""
    exchange: bytes = b""
    routing_key: bytes = b""

    @classmethod
    def incoming(cls, method: tuple[int, int], arguments: bytes) -> RawMessage:
        """A message that begins to arrive.

        py-amqp cannot read a routing key that is not UTF-8: we keep it, py-amqp gets none.
        """
        if method == _RETURN:
            return cls(frame_method=method, frame_args=arguments)
        exchange_at = 4 + 8 + 1  # after the method's number, the delivery tag and a bit
        if method == _DELIVER:
            exchange_at += 1 + arguments[4]  # and the consumer tag
        key_at = exchange_at + 1 + arguments[exchange_at]
        end = key_at + 1 + arguments[key_at]
        raw = cls(frame_method=method, frame_args=arguments[:key_at] + b"\0" + arguments[end:])
        raw.exchange = arguments[exchange_at + 1 : key_at]
        raw.routing_key = arguments[key_at + 1 : end]
        return raw

    @classmethod
    def outgoing(cls, message: Message) -> RawMessage:
        """`message` on its way out."""
        raw = cls(message.body)
        raw.message = message
        return raw

    def decoded(self) -> Message:
        """What arrived; never raises."""
        body = self.body.encode() if isinstance(self.body, str) else bytes(self.body or b"")
        message, _ = decode_message(self.raw_properties, body, self.exchange, self.routing_key)
        return message

    def _load_properties(self, class_id: int, buf: Any, offset: int) -> int:
        self.raw_properties = bytes(buf[offset:])
        self.properties: dict[str, Any] = {}
        return len(buf)

    def _serialize_properties(self) -> bytes:
        return encode_properties(self.message)


def frame_handler(connection: Any, callback: Callable[..., None]) -> Callable[[Any], bool]:
    """py-amqp's ``frame_handler``, made to build `RawMessage`."""
    expected: dict[int, int] = defaultdict(lambda: _METHOD)
    partial: dict[int, RawMessage] = {}

    def on_frame(frame: tuple[int, int, Any]) -> bool:
        kind, channel, payload = frame
        connection.bytes_recv += 1
        if kind == _HEARTBEAT:
            return False
        if kind != expected[channel]:
            raise UnexpectedFrame(f"frame of type {kind} instead of {expected[channel]}")
        if kind == _METHOD:
            method = struct.unpack_from(">HH", payload, 0)
            if method not in (_DELIVER, _GET_OK, _RETURN):
                callback(channel, method, payload, None)
                return True
            partial[channel] = RawMessage.incoming(method, bytes(payload))
            expected[channel] = _HEADER
            return False
        message = partial[channel]
        if kind == _HEADER:
            message.inbound_header(payload)
        else:
            message.inbound_body(payload)
        if not message.ready:
            expected[channel] = _BODY
            return False
        expected[channel] = _METHOD
        del partial[channel]
        callback(channel, message.frame_method, message.frame_args, message)
        return True

    return on_frame
