"""Operations on kombu: topology as declared entities, counting, looking, moving."""

from __future__ import annotations

import contextlib
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import amqp.basic_message
import amqp.exceptions
import amqp.spec
import kombu
import kombu.exceptions
from amqp.exceptions import MessageNacked, UnexpectedFrame

from eventbus.brokers.port import QueueStats
from eventbus.brokers.rabbitmq.address import Address, explain
from eventbus.brokers.rabbitmq.broker import unavailable
from eventbus.brokers.rabbitmq.codec import decode_message, encode_properties
from eventbus.brokers.rabbitmq.connection import client_properties
from eventbus.brokers.rabbitmq.forwarding import copy_of
from eventbus.errors import (
    BrokerUnavailable,
    EventBusError,
    TopologyMismatch,
    UnknownName,
)
from eventbus.message import Message
from eventbus.topology import Binding, Exchange, Queue, Topology

#: What kombu and py-amqp raise when there is no connection, or none any more.
_CONNECTION_ERRORS = (OSError, amqp.exceptions.ConnectionError, kombu.exceptions.OperationalError)

#: kombu is annotated in part only.
_kombu: Any = kombu

#: Seconds that the broker may take for one answer.
ANSWER_SECONDS = 30.0

#: Where exchange and routing key stand in the frame of a ``basic.get-ok``: after the method's own
#: number, the delivery tag and the redelivered bit.
_ADDRESS_AT = {(60, 71): 4 + 8 + 1}

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>queue|exchange) '(?P<name>.+?)' in vhost"
    r" .*?: received (?P<declared>.+?) but current is (?P<current>.+?)$"
)


class _RawMessage(amqp.basic_message.Message):  # type: ignore[misc]
    """py-amqp's message with our codec: its own fails on foreign headers, as pika's does."""

    message: Message
    raw_properties: bytes = b""
    exchange: bytes = b""
    routing_key: bytes = b""

    def _load_properties(self, class_id: int, buf: Any, offset: int) -> int:
        self.raw_properties = bytes(buf[offset:])
        self.properties: dict[str, Any] = {}
        return len(buf)

    def _serialize_properties(self) -> bytes:
        return encode_properties(self.message)

    @classmethod
    def incoming(cls, method: tuple[int, int], arguments: bytes) -> _RawMessage:
        """A message that begins to arrive.

        py-amqp cannot read a routing key that is not UTF-8: we keep it, py-amqp gets none.
        """
        exchange_at = _ADDRESS_AT.get(method, 0)
        if not exchange_at:
            return cls(frame_method=method, frame_args=arguments)
        key_at = exchange_at + 1 + arguments[exchange_at]
        end = key_at + 1 + arguments[key_at]
        raw = cls(frame_method=method, frame_args=arguments[:key_at] + b"\0" + arguments[end:])
        raw.exchange = arguments[exchange_at + 1 : key_at]
        raw.routing_key = arguments[key_at + 1 : end]
        return raw

    @classmethod
    def outgoing(cls, message: Message) -> _RawMessage:
        raw = cls(message.body)
        raw.message = message
        return raw

    def decoded(self) -> Message:
        body = self.body.encode() if isinstance(self.body, str) else bytes(self.body or b"")
        message, _ = decode_message(
            self.raw_properties, body, self.exchange, self.routing_key
        )
        return message


def _frame_handler(connection: Any, callback: Callable[..., None]) -> Callable[[Any], bool]:
    """py-amqp's ``frame_handler``, made to build `_RawMessage`."""
    expected: dict[int, int] = defaultdict(lambda: 1)
    partial: dict[int, _RawMessage] = {}

    def on_frame(frame: tuple[int, int, Any]) -> bool:
        kind, channel, payload = frame
        connection.bytes_recv += 1
        if kind == 8:
            return False
        if kind != expected[channel]:
            raise UnexpectedFrame(f"frame of type {kind} instead of {expected[channel]}")
        if kind == 1:
            method = struct.unpack_from(">HH", payload, 0)
            if method not in ((60, 50), (60, 60), (60, 71)):
                callback(channel, method, payload, None)
                return True
            partial[channel] = _RawMessage.incoming(method, bytes(payload))
            expected[channel] = 2
            return False
        message = partial[channel]
        if kind == 2:
            message.inbound_header(payload)
        else:
            message.inbound_body(payload)
        if not message.ready:
            expected[channel] = 3
            return False
        expected[channel] = 1
        del partial[channel]
        callback(channel, message.frame_method, message.frame_args, message)
        return True

    return on_frame


class RabbitMQAdmin:
    """The `Admin` of RabbitMQ.

    Raises
    ------
    BrokerUnavailable
        No host lets us in; the message gives each host's reason.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._address, self._connection = _connect(addresses)

    def declare(self, topology: Topology) -> None:
        """See `Admin.declare`; all differences are found before one error names them."""
        differences: list[str] = []
        declared: list[Exchange | Queue] = [*topology.exchanges, *topology.queues]
        for one in declared:
            try:
                self._run(one.name, _declare, one)
            except TopologyMismatch as difference:
                differences.append(str(difference))
        if differences:
            raise TopologyMismatch(
                "the broker has other arguments than declared: "
                + "; ".join(differences)
                + ". Arguments of a queue cannot be changed: move its messages, delete it, "
                "declare it again, or keep the old value in the declaration"
            )
        for binding in topology.bindings:
            self._run(binding.queue, _bind, binding)

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """See `Admin.stats`."""
        found = {}
        for name in queues:
            with contextlib.suppress(UnknownName):
                found[name] = self._run(name, _stats, name)
        return found

    def browse(self, queue: str, limit: int) -> Iterator[Message]:
        """See `Admin.browse`: fetched unacknowledged, then given back by closing the channel."""
        messages: list[Message] = []
        with self._channel(queue) as channel:
            while len(messages) < limit:
                raw = channel.basic_get(queue, no_ack=False)
                if raw is None:
                    break
                messages.append(raw.decoded())
            _give_back(channel)
        return iter(messages)

    def transfer(
        self, queue: str, decide: Callable[[Message], Message | None], target: str, limit: int
    ) -> int:
        """See `Admin.transfer`."""
        moved = 0
        with self._channel(queue) as channel:
            returned: list[str] = []
            channel.events["basic_return"].add(lambda error, *_: returned.append(str(error)))
            for raw in _present(channel, queue):
                chosen = decide(raw.decoded())
                if chosen is None:
                    continue  # stays unacknowledged until all are seen, then goes back
                self._send(channel, chosen, target, returned)
                channel.basic_ack(raw.delivery_tag)
                moved += 1
                if moved == limit:
                    break
            _give_back(channel)
        return moved

    def purge(self, queue: str) -> int:
        """See `Admin.purge`."""
        return int(self._run(queue, _purge, queue))

    def server(self) -> str:
        """See `Admin.server`."""
        properties = self._connection.connection.server_properties
        return f"{properties.get('product', 'AMQP broker')} {properties.get('version', '')}".strip()

    def close(self) -> None:
        """See `Admin.close`."""
        with contextlib.suppress(Exception):
            self._connection.release()

    @staticmethod
    def _send(channel: Any, message: Message, target: str, returned: list[str]) -> None:
        try:
            channel.basic_publish_confirm(
                _RawMessage.outgoing(copy_of(message)),
                exchange="",
                routing_key=target,
                mandatory=True,
                confirm_timeout=ANSWER_SECONDS,
            )
        except MessageNacked:
            raise EventBusError(
                f"queue {target!r} refuses messages (is it full?); what was not moved stays"
            ) from None
        if returned:
            raise UnknownName(f"no queue {target!r} exists on the broker; nothing more was moved")

    def _run(self, name: str, action: Callable[..., Any], *arguments: Any) -> Any:
        with self._channel(name) as channel:
            return action(channel, *arguments)

    def _open_channel(self) -> Any:
        try:
            return self._connection.channel()
        except _CONNECTION_ERRORS:
            # It broke while nobody used it; kombu connects again when it is told that it did.
            self._connection.collect()
            return self._connection.channel()

    @contextlib.contextmanager
    def _channel(self, name: str) -> Iterator[Any]:
        """A channel for one operation on `name`; its errors become ours."""
        try:
            channel = self._open_channel()
            try:
                yield channel
            finally:
                with contextlib.suppress(Exception):
                    channel.close()
        except amqp.exceptions.NotFound:
            raise UnknownName(f"no queue or exchange {name!r} exists on the broker") from None
        except amqp.exceptions.PreconditionFailed as error:
            raise TopologyMismatch(_difference(error.reply_text)) from None
        except _CONNECTION_ERRORS as error:
            raise BrokerUnavailable(explain(error, self._address)) from None
        except amqp.exceptions.AMQPError as error:
            reason = error.reply_text
            raise EventBusError(f"the broker refuses this for {name!r}: {reason}") from None


def _connect(addresses: Sequence[Address]) -> tuple[Address, Any]:
    reasons = []
    for address in addresses:
        connection = _connection(address)
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        except (*_CONNECTION_ERRORS, amqp.exceptions.AMQPError) as error:
            reasons.append(_why_not(error, address))
            with contextlib.suppress(Exception):
                connection.release()
        else:
            return address, connection
    raise unavailable(reasons)


def _why_not(error: Exception, address: Address) -> str:
    reason = explain(error, address)
    if not address.tls and "connection to" in reason and "broke" in reason:
        # A port that hangs up on AMQP's first bytes speaks something else.
        return f"{reason}; is it a TLS port (amqps://)?"
    return reason


def _connection(address: Address) -> Any:
    return _kombu.Connection(
        transport="pyamqp",
        hostname=address.host,
        port=address.port,
        userid=address.user,
        password=address.password,
        virtual_host=address.vhost,
        connect_timeout=address.connect_seconds,
        ssl=_tls_options(address) if address.tls else False,
        transport_options={
            "client_properties": client_properties("eventbus admin"),
            "frame_handler": _frame_handler,
            "read_timeout": ANSWER_SECONDS,
            "write_timeout": ANSWER_SECONDS,
        },
    )


def _tls_options(address: Address) -> dict[str, Any]:
    """py-amqp's options; without ``server_hostname`` it would not check the host name."""
    import ssl

    address.ssl_context()  # says which certificate file cannot be read
    options = {
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": address.host,
        "ca_certs": address.cacertfile,
        "certfile": address.certfile,
        "keyfile": address.keyfile,
    }
    return {name: value for name, value in options.items() if value is not None}


def _declare(channel: Any, one: Exchange | Queue) -> None:
    if isinstance(one, Exchange):
        _kombu.Exchange(one.name, one.kind, channel=channel, durable=True).declare()
    else:
        arguments = one.arguments
        _kombu.Queue(
            one.name, channel=channel, durable=True, queue_arguments=arguments
        ).queue_declare()


def _bind(channel: Any, binding: Binding) -> None:
    _kombu.Queue(binding.queue, channel=channel).bind_to(binding.exchange, binding.pattern)


def _present(channel: Any, queue: str) -> Iterator[_RawMessage]:
    """Fetch what is in `queue` now: the first answer says how many follow it.

    Without that bound, what is moved into the same queue, or published meanwhile, never ends.
    """
    raw = channel.basic_get(queue, no_ack=False)
    left = 0 if raw is None else raw.delivery_info["message_count"]
    while raw is not None:
        yield raw
        raw = channel.basic_get(queue, no_ack=False) if left > 0 else None
        left -= 1


def _give_back(channel: Any) -> None:
    # Said, not left to the channel's end, which the queue hears of only later.
    channel.basic_recover(requeue=True)
    channel.wait(amqp.spec.Basic.RecoverOk, timeout=ANSWER_SECONDS)


def _stats(channel: Any, name: str) -> QueueStats:
    _, messages, consumers = channel.queue_declare(name, passive=True)
    return QueueStats(messages, consumers)


def _purge(channel: Any, name: str) -> Any:
    return channel.queue_purge(name)


def _difference(text: str) -> str:
    """``queue 'a' has x-max-length 5, declared 10`` from the broker's own words."""
    match = _INEQUIVALENT.search(text)
    if match is None:
        return text
    kind, name, argument, current, declared = match.group(
        "kind", "name", "argument", "current", "declared"
    )
    return f"{kind} {name!r} has {argument} = {current}, declared is {declared}"
