"""FastStream: one process, acknowledging after the handler, without idempotency."""

from __future__ import annotations

import asyncio
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from ..process import answer, given
from ..workload import PREFETCH
from .tally import Tally


async def serve(url: str, queue: str, count: int) -> Tally:
    """Handle `count` messages that are in `queue`."""
    broker = RabbitBroker(
        url, default_channel=Channel(prefetch_count=PREFETCH), logger=None, apply_types=False
    )
    app = FastStream(broker, logger=None)
    tally = Tally(count, app.exit)

    # The queue is there already, the same as ours; apply_types=False leaves out validation.
    @broker.subscriber(RabbitQueue(queue, declare=False), ack_policy=AckPolicy.NACK_ON_ERROR)
    async def handler(body: dict[str, Any]) -> None:
        tally.take(body["number"])

    await app.run()
    return tally


def main(count: int, queue: str, broker_url: str, **settings: Any) -> None:
    """See `serve`."""
    answer(rate=asyncio.run(serve(broker_url, queue, count)).rate())


if __name__ == "__main__":
    main(**given())
