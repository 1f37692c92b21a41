"""Operations on kombu: topology as declared entities, counting, looking, moving."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import amqp.exceptions
import kombu
import kombu.exceptions

from eventbus.brokers.port import Advice, Pace, Progress, QueueStats
from eventbus.brokers.rabbitmq.address import Address, explain
from eventbus.brokers.rabbitmq.broker import unavailable
from eventbus.brokers.rabbitmq.connection import client_properties
from eventbus.brokers.rabbitmq.evacuation import delete_unused, in_use
from eventbus.brokers.rabbitmq.forwarding import copy_of
from eventbus.brokers.rabbitmq.migration import migrate
from eventbus.brokers.rabbitmq.moving import ANSWER_SECONDS, Look, Target, settle
from eventbus.brokers.rabbitmq.probing import Refusal, probe, read_refusal
from eventbus.brokers.rabbitmq.raw_message import RawMessage, frame_handler
from eventbus.drift import (
    Difference,
    Found,
    FoundQueue,
    differences_of,
    migration_queue_name,
    mismatch,
)
from eventbus.errors import (
    BrokerUnavailable,
    EventBusError,
    QueueInUse,
    TopologyMismatch,
    UnknownName,
)
from eventbus.message import Message
from eventbus.topology import Binding, Exchange, Queue, Topology

if TYPE_CHECKING:
    from eventbus.brokers.rabbitmq.management import Management

#: What kombu and py-amqp raise when there is no connection, or none any more.
_CONNECTION_ERRORS = (OSError, amqp.exceptions.ConnectionError, kombu.exceptions.OperationalError)

#: kombu is annotated in part only.
_kombu: Any = kombu

logger = logging.getLogger(__name__)


class _AccessRefused(EventBusError):
    """The user lacks a right (403)."""


class RabbitMQAdmin:
    """The `Admin` of RabbitMQ.

    Raises
    ------
    BrokerUnavailable
        No host lets us in; the message gives each host's reason.
    """

    def __init__(self, addresses: Sequence[Address], management_url: str | None = None) -> None:
        self._address, self._connection = _connect(addresses)
        self._management_url = management_url
        #: While set, a new connection would not have the lock that the broken one had.
        self._locked = False

    def declare(self, topology: Topology) -> None:
        """See `Admin.declare`; all differences are found before one error names them.

        A user without the right to configure may use what an other has declared.
        """
        unchecked: list[str] = []
        differences: list[Difference] = []
        declared: list[Exchange | Queue] = [*topology.exchanges, *topology.queues]
        for one in declared:
            try:
                if not self._declare(one):
                    unchecked.append(one.name)
            except TopologyMismatch as refused:
                differences += self._differences(one, str(refused))
        if differences:
            raise mismatch(differences)
        for binding in topology.bindings:
            try:
                self._run(binding.queue, _bind, binding)
            except _AccessRefused:
                unchecked.append(f"{binding.pattern} to {binding.queue}")
        if unchecked:
            logger.warning(
                "user %r may not declare these, so they are used as they are: %s; run 'eventbus "
                "topology apply' as a user who may",
                self._address.user,
                ", ".join(unchecked),
            )

    def _declare(self, one: Exchange | Queue) -> bool:
        """Declare it; False where the user may not, but it is there."""
        try:
            self._run(one.name, _declare, one)
        except _AccessRefused:
            if self._exists(one):
                return False
            kind = "exchange" if isinstance(one, Exchange) else "queue"
            raise EventBusError(
                f"user {self._address.user!r} has no right to configure {kind} {one.name!r}, which "
                f"does not exist; run 'eventbus topology apply' as a user who may, or grant the "
                f"right (rabbitmqctl set_permissions)"
            ) from None
        return True

    def _exists(self, one: Exchange | Queue) -> bool:
        try:
            self._run(one.name, _look_at, one)
        except UnknownName:
            return False
        return True

    def _differences(self, one: Exchange | Queue, refused: str) -> Sequence[Difference]:
        """What is different, which the text of the refusal tells in part."""
        refusal = read_refusal(refused)
        if isinstance(one, Exchange) and refusal is not None:
            return [Difference(one.name, refusal.argument, one.kind, refusal.current)]
        if isinstance(one, Queue):
            found = self.find(one)
            differences = differences_of(one, found) if found is not None else ()
            if differences:
                return differences
        return [Difference(one.name, "-", "as declared", refused)]

    def find(self, queue: Queue) -> FoundQueue | None:
        """`queue` as it is on the broker; None if it is not there."""
        try:
            stats = self._run(queue.name, _stats, queue.name)
        except UnknownName:
            return None
        refusals = _Refusals(self, queue.name)
        found = probe(queue.name, queue.arguments, refusals.of)
        return replace(
            found,
            arguments=None if refusals.forbidden else found.arguments,
            messages=stats.messages,
            consumers=stats.consumers,
        )

    def inspect(self, declared: Topology, prefix: str) -> Found:
        """See `Admin.inspect`: through the HTTP API where there is one."""
        from eventbus.brokers.rabbitmq.inspection import inspect_with_amqp, inspect_with_api
        from eventbus.brokers.rabbitmq.management import ManagementUnavailable

        try:
            return inspect_with_api(self.management(), declared, prefix, self.stats)
        except ManagementUnavailable as why_not:
            return inspect_with_amqp(declared, self._find_exchange, self.find, why_not)

    def management(self) -> Management:
        """The HTTP API of this very broker; raises `ManagementUnavailable`."""
        # A worker only declares: it need not load an HTTP client.
        from eventbus.brokers.rabbitmq.management import Management

        management = Management(self._management_url, self._address)
        management.check(self._connection.connection.server_properties.get("cluster_name"))
        return management

    def _find_exchange(self, exchange: Exchange) -> tuple[str | None] | None:
        """Its type in a tuple, None in it where that cannot be seen; None if it is not there."""
        if not self._exists(exchange):
            return None
        try:
            self._run(exchange.name, _declare, exchange)
        except TopologyMismatch as mismatched:
            refusal = read_refusal(str(mismatched))
            return (str(refusal.current) if refusal is not None else "another",)
        except EventBusError:
            return (None,)
        return (exchange.kind,)

    def bindings_of(self, queue: str) -> list[Binding]:
        """The bindings of `queue`, none where they cannot be seen."""
        from eventbus.brokers.rabbitmq.management import ManagementUnavailable

        try:
            return self.management().bindings_of(queue)
        except ManagementUnavailable:
            return []

    def unbind(self, binding: Binding) -> None:
        """See `Admin.unbind`."""
        with contextlib.suppress(UnknownName):
            self._run(binding.queue, _unbind, binding)

    def delete(self, queue: FoundQueue) -> None:
        """See `Admin.delete`."""
        if queue.messages or queue.consumers:
            raise in_use(queue.name, queue.messages, queue.consumers)
        try:
            late = self._run(queue.name, delete_unused, queue.name, queue.is_quorum)
        except UnknownName:
            return
        except TopologyMismatch as refused:  # 406: in use, or not empty
            raise QueueInUse(f"queue {queue.name!r} is in use: {refused}") from None
        if late:
            self._put_back(queue, late)

    def _put_back(self, queue: FoundQueue, late: Sequence[RawMessage]) -> None:
        """Undo a deletion in whose very moment messages came."""
        self.declare(Topology((), (Queue(queue.name, dict(queue.arguments or {})),), ()))
        with self._channel(queue.name) as channel:
            channel.confirm_select()
            for raw in late:
                outgoing = RawMessage.outgoing(copy_of(raw.decoded()))
                channel.basic_publish_confirm(outgoing, exchange="", routing_key=queue.name)
        raise in_use(queue.name, len(late), 0)

    def replace(self, queue: Queue, bindings: Sequence[Binding], progress: Progress) -> None:
        """See `Admin.replace`."""
        with self._lock(queue.name):
            migrate(self, queue, bindings, progress)

    @contextlib.contextmanager
    def _lock(self, queue: str) -> Iterator[None]:
        """Keep others from doing the same: an exclusive queue, which goes with this connection."""
        name = f"{migration_queue_name(queue)}.lock"
        with self._channel(name) as channel:
            try:
                channel.queue_declare(name, exclusive=True, durable=False)
            except amqp.exceptions.ResourceLocked:
                raise QueueInUse(
                    f"queue {queue!r} is being replaced by another process at this moment"
                ) from None
            self._locked = True
            try:
                yield
            finally:
                self._locked = False
                with contextlib.suppress(Exception):
                    channel.queue_delete(name)

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """See `Admin.stats`; on one channel until a queue is not there, which closes it."""
        found: dict[str, QueueStats] = {}
        left = deque(queues)
        while left:
            try:
                with self._channel(left[0]) as channel:
                    while left:
                        found[left[0]] = _stats(channel, left[0])
                        left.popleft()
            except UnknownName:
                left.popleft()
        return found

    def browse(self, queue: str, limit: int | None = None) -> Generator[Message, None, None]:
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

    def advice(self) -> list[Advice]:
        """See `Admin.advice`."""
        from eventbus.brokers.rabbitmq.advice import of_management, of_version
        from eventbus.brokers.rabbitmq.management import ManagementUnavailable

        found = list(of_version(self.server().partition(" ")[2]))
        try:
            found += of_management(self.management())
        except ManagementUnavailable as why_not:
            text = f"{why_not}; 'eventbus topology' then sees the declared queues alone"
            # Who has said where it is wants it to work.
            remedy = "correct management_url" if self._management_url is not None else None
            found.append(Advice("management", text, remedy))
        return found

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

    def channel(self, name: str) -> contextlib.AbstractContextManager[Any]:
        """A channel for operations on `name`, whose errors become ours."""
        return self._channel(name)

    def _open_channel(self) -> Any:
        try:
            return self._connection.channel()
        except _CONNECTION_ERRORS:
            if self._locked:
                raise
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
            raise TopologyMismatch(error.reply_text) from None
        except amqp.exceptions.AccessRefused as error:
            raise _AccessRefused(f"the broker refuses this: {error.reply_text}") from None
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
    if not address.tls and "connection to" in reason and " broke:" in reason:
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


def _look_at(channel: Any, one: Exchange | Queue) -> None:
    if isinstance(one, Exchange):
        channel.exchange_declare(one.name, one.kind, passive=True)
    else:
        channel.queue_declare(one.name, passive=True)


def _unbind(channel: Any, binding: Binding) -> None:
    channel.queue_unbind(binding.queue, binding.exchange, binding.pattern)


class _Refusals:
    """Sends declarations that must fail, and keeps whether the user may send any."""

    def __init__(self, admin: RabbitMQAdmin, queue: str) -> None:
        self.forbidden = False
        self._admin = admin
        self._queue = queue

    def of(self, arguments: Mapping[str, Any], durable: bool, auto_delete: bool) -> Refusal | None:
        """Why the broker refuses to declare the queue so."""
        try:
            with self._admin.channel(self._queue) as channel:
                channel.queue_declare(
                    self._queue, durable=durable, auto_delete=auto_delete, arguments=arguments
                )
        except TopologyMismatch as refused:
            return read_refusal(str(refused))
        except _AccessRefused:
            self.forbidden = True
        return None
