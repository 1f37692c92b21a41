"""The broker port and its two adapters: `rabbitmq` and `embedded`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventbus.settings import Settings

if TYPE_CHECKING:
    from eventbus.brokers.port import Broker


def make_broker(settings: Settings) -> Broker:
    """The adapter for ``broker_url``; imports only that one and opens no connection."""
    if settings.embedded:
        from eventbus.brokers.embedded import EmbeddedBroker

        return EmbeddedBroker(settings.broker_database_url, settings.exchange)
    from eventbus.brokers.rabbitmq import RabbitMQBroker

    return RabbitMQBroker(str(settings.broker_url), settings.exchange, settings.management_url)
