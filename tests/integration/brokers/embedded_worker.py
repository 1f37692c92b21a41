"""A consumer of the embedded broker in a process of its own, to be killed and stopped.

    python embedded_worker.py URL QUEUE PREFETCH

prints ``consuming``, then a line for each delivery: its body. It acknowledges what it holds when it
reads ``ack``, each delivery at once after it has read ``ack all``, and ends when its input ends.
"""

from __future__ import annotations

import sys
import threading

from eventbus.brokers.embedded import EmbeddedBroker
from eventbus.brokers.port import Delivery, Settlement


def main(url: str, queue: str, prefetch: str) -> None:
    consumer = EmbeddedBroker(url, "events").consumer("worker")
    held: list[Delivery] = []
    at_once = threading.Event()

    def take(deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            print(delivery.message.body.decode(), flush=True)
        if at_once.is_set():
            consumer.settle([Settlement(delivery) for delivery in deliveries])
        else:
            held.extend(deliveries)

    consumer.start({queue: int(prefetch)}, take)
    assert consumer.wait_consuming(30), consumer.trouble
    print("consuming", flush=True)
    for line in sys.stdin:
        if line.strip() == "ack all":
            at_once.set()
        consumer.settle([Settlement(held.pop(0)) for _ in range(len(held))])
    consumer.close(10)


if __name__ == "__main__":
    main(*sys.argv[1:])
