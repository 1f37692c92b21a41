"""Operations on kombu: topology as declared entities, counting, looking, moving."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import amqp.exceptions
import kombu
import kombu.exceptions

from eventbus.brokers.port import Pace, QueueStats
from eventbus.brokers.rabbitmq.address import Address, explain
from eventbus.brokers.rabbitmq.broker import unavailable
from eventbus.brokers.rabbitmq.connection import client_properties
from eventbus.brokers.rabbitmq.moving import ANSWER_SECONDS, Look, Target, settle
from eventbus.brokers.rabbitmq.raw_message import frame_handler
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

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>queue|exchange) '(?P<name>.+?)' in vhost"
    r" .*?: received (?P<declared>.+?) but current is (?P<current>.+?)$"
)


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

    def browse(self, queue: str, limit: int | None = None) -> Iterator[Message]:
        """See `Admin.browse`: fetched unacknowledged, then given back."""
        with self._look(queue) as look:
            for raw in look.messages(limit):
                yield raw.decoded()

    def transfer(
        self,
        queue: str,
        decide: Callable[[Message], Message | None],
        target: str,
        limit: int | None = None,
        pace: Pace | None = None,
    ) -> int:
        """See `Admin.transfer`."""
        with self._channel(target) as channel:
            return settle(lambda: self._look(queue), Target(channel, target), decide, limit, pace)

    def remove(
        self,
        queue: str,
        decide: Callable[[Message], bool],
        limit: int | None = None,
        pace: Pace | None = None,
    ) -> int:
        """See `Admin.remove`."""

        def chosen(message: Message) -> Message | None:
            return message if decide(message) else None

        return settle(lambda: self._look(queue), None, chosen, limit, pace)

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

    @contextlib.contextmanager
    def _look(self, queue: str) -> Iterator[Look]:
        with self._channel(queue) as channel, Look(channel, queue) as look:
            yield look

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
            "frame_handler": frame_handler,
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
