"""The factory: addresses from a URL, connections when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventbus.brokers.port import Admin, Consumer, Publisher
from eventbus.brokers.rabbitmq.address import Address, explain, parse_addresses
from eventbus.errors import BrokerUnavailable
from eventbus.settings import mask

if TYPE_CHECKING:
    from eventbus.brokers.rabbitmq.connection import DataConnection


class RabbitMQBroker:
    """The `Broker` that is RabbitMQ.

    Parameters
    ----------
    url:
        ``amqp://user:password@host:5672/vhost`` or ``amqps://...``, several separated by ``;``.
    exchange:
        The topic exchange that events are published to.
    management_url:
        Where the management plugin's HTTP API is, if not at its usual port.

    Raises
    ------
    ConfigurationError
        `url` is no such URL.
    """

    def __init__(self, url: str, exchange: str, management_url: str | None = None) -> None:
        self.url = mask(url)
        self._management_url = management_url
        self._exchange = exchange
        self._addresses = parse_addresses(url)

    def publisher(self, name: str) -> Publisher:
        """See `Broker.publisher`."""
        from eventbus.brokers.rabbitmq.publisher import RabbitMQPublisher

        return RabbitMQPublisher(self._addresses, name, self._exchange)

    def consumer(self, name: str) -> Consumer:
        """See `Broker.consumer`."""
        from eventbus.brokers.rabbitmq.consumer import RabbitMQConsumer

        return RabbitMQConsumer(self._addresses, name)

    def admin(self) -> Admin:
        """See `Broker.admin`."""
        # kombu costs memory and start time that a worker and a dispatcher need not pay.
        from eventbus.brokers.rabbitmq.control import RabbitMQAdmin

        return RabbitMQAdmin(self._addresses, self._management_url)

    def ping(self) -> None:
        """See `Broker.ping`: the first host that answers is enough."""
        reasons = []
        for address in self._addresses:
            reason = _try(address)
            if reason is None:
                return
            reasons.append(reason)
        raise unavailable(reasons)


def unavailable(reasons: list[str]) -> BrokerUnavailable:
    """The error that names each host's reason once."""
    return BrokerUnavailable(
        f"the message broker is unavailable: {'; '.join(dict.fromkeys(reasons))}"
    )


def _try(address: Address) -> str | None:
    """Why nobody can log in at `address`, else None."""
    from pika.adapters.select_connection import IOLoop

    from eventbus.brokers.rabbitmq.connection import DataConnection, parameters

    loop = IOLoop()
    outcome: list[str | None] = []

    def ended(_connection: DataConnection, error: Any) -> None:
        outcome.append(explain(error, address))
        loop.stop()

    def opened(connection: DataConnection) -> None:
        outcome.append(None)
        connection.close()

    DataConnection(parameters(address, "eventbus ping"), opened, ended, ended, custom_ioloop=loop)
    # A peer that accepts the connection and then says nothing must not keep a person waiting.
    loop.call_later(address.connect_seconds + 2, loop.stop)
    try:
        loop.start()
    finally:
        loop.close()
    if outcome:
        return outcome[0]
    return f"{address} did not answer within {address.connect_seconds:g} s"
