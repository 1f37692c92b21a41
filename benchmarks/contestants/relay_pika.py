"""pika's asynchronous connection, publishing as fast as confirms come back."""

from __future__ import annotations

import time
from typing import Any

import pika

from ..errors import expect
from ..process import answer, given
from ..workload import make_bus, messages
from .pika_messages import properties_of

#: Messages that may be unconfirmed; more was not faster.
WINDOW = 2_000
#: Messages written without a look at what came back.
CHUNK = 250


class Publisher:
    """Publishes `outgoing` (routing key, body, properties) and counts confirms."""

    def __init__(
        self, url: str, exchange: str, outgoing: list[tuple[str, bytes, pika.BasicProperties]]
    ) -> None:
        self.seconds = 0.0
        self.refused = 0
        self._exchange = exchange
        self._outgoing = outgoing
        self._sent = 0
        self._confirmed = 0
        self._began = 0.0
        self._connection = pika.SelectConnection(
            pika.URLParameters(url), on_open_callback=self._opened
        )

    def run(self) -> None:
        """Publish everything and close."""
        self._connection.ioloop.start()

    def _opened(self, connection: Any) -> None:
        connection.add_on_close_callback(lambda *_: connection.ioloop.stop())
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._answered, callback=self._begin)

    def _begin(self, _frame: Any) -> None:
        self._began = time.perf_counter()
        self._publish()

    def _publish(self) -> None:
        end = min(self._sent + CHUNK, len(self._outgoing))
        for routing_key, body, properties in self._outgoing[self._sent : end]:
            self._channel.basic_publish(
                self._exchange, routing_key, body, properties, mandatory=True
            )
        self._sent = end
        if self._more():
            self._connection.ioloop.call_later(0, self._publish)

    def _more(self) -> bool:
        return self._sent < len(self._outgoing) and self._sent - self._confirmed < WINDOW

    def _returned(self, *_: Any) -> None:
        self.refused += 1

    def _answered(self, frame: Any) -> None:
        waiting = not self._more()
        method = frame.method
        if isinstance(method, pika.spec.Basic.Nack):
            self.refused += 1
        # Tags are answered in order here, as there is one queue; `multiple` covers the ones before.
        self._confirmed = max(self._confirmed, method.delivery_tag)
        if self._confirmed == len(self._outgoing):
            self.seconds = time.perf_counter() - self._began
            self._connection.close()
        elif waiting and self._more():
            self._publish()


def main(count: int, broker_url: str, **settings: Any) -> None:
    """Publish `count` messages."""
    bus = make_bus(broker_url=broker_url, **settings)
    outgoing = [(one.routing_key, one.body, properties_of(one)) for one in messages(count)]
    publisher = Publisher(broker_url, bus.settings.exchange, outgoing)
    publisher.run()
    expect("messages refused", publisher.refused, 0)
    answer(seconds=publisher.seconds)


if __name__ == "__main__":
    main(**given())
