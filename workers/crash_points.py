"""Named places where a test kills this process, so that the worst moment is exact, not lucky.

``EVENTBUS_CRASH_AT=dispatcher.confirmed:2`` sends SIGKILL to the process when it passes that
point for the second time. Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

from eventbus.errors import ConfigurationError

#: Every point there is; a misspelt one would make a test pass for nothing.
POINTS = frozenset(
    {
        "dispatcher.claimed",  # rows are read, nothing is published
        "dispatcher.published",  # the batch is handed to the publisher, unconfirmed
        "dispatcher.confirmed",  # the broker has the batch, the outbox does not know
        "dispatcher.settled",
        "worker.claimed",  # the idempotency key is claimed, the handler has not begun
        "worker.handled",  # the effect is there, nothing remembers it
        "worker.remembered",  # the effect is remembered, the message is not acknowledged
        "worker.settled",
        # A queue gets other arguments; in this order.
        "topology.set_aside",  # the queue beside is there
        "topology.moving",  # a batch has arrived, aside or back, and is not acknowledged
        "topology.moved",  # most are beside
        "topology.bound_aside",  # events go to both
        "topology.unbound_queue",  # events go beside alone
        "topology.deleted",  # the old queue is gone
        "topology.declared",  # the new one is there
        "topology.returned",  # most are back
        "topology.bound_queue",
        "topology.unbound_aside",
        "topology.finished",
        "topology.changed",  # the embedded broker's one step
    }
)


def _parse(text: str | None) -> tuple[str, int]:
    if not text:
        return "", 0
    name, colon, number = text.partition(":")
    if not colon:
        number = "1"
    if name not in POINTS or not (number.isascii() and number.isdigit() and int(number)):
        raise ConfigurationError(
            f"EVENTBUS_CRASH_AT={text!r}: expected <point>:<number>, where <point> is one of "
            f"{', '.join(sorted(POINTS))}"
        )
    return name, int(number)


_point, _remaining = _parse(os.environ.get("EVENTBUS_CRASH_AT"))


def crash_point(name: str) -> None:
    """Kill this process if the environment asks for it here and now."""
    global _remaining
    if name == _point:
        _remaining -= 1
        if _remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)
