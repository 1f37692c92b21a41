"""pika's blocking connection: each publish waits for its confirm."""

from __future__ import annotations

import time
from typing import Any

import pika

from ..process import answer, given
from ..workload import make_bus, messages
from .pika_messages import properties_of


def main(count: int, broker_url: str, **settings: Any) -> None:
    """Publish `count` messages; pika raises for one that is refused or returned."""
    exchange = make_bus(broker_url=broker_url, **settings).settings.exchange
    outgoing = [(one.routing_key, one.body, properties_of(one)) for one in messages(count)]
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    channel.confirm_delivery()
    began = time.perf_counter()
    for routing_key, body, properties in outgoing:
        channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
    answer(seconds=time.perf_counter() - began)
    connection.close()


if __name__ == "__main__":
    main(**given())
