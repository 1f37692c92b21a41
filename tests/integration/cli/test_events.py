"""``eventbus events publish``: what a person is told of an event that is to go away."""

from __future__ import annotations

import uuid
from typing import Annotated

from eventbus import Alias, Deprecated, Event

from .calls import CommandLine


class OrderSettled(
    Event, name="order.settled", deprecated=Deprecated("2031-01-01", "use order.paid")
):
    order_id: Annotated[uuid.UUID, Alias("order")]
    retried: Annotated[int, Deprecated("2031-06-30", "leave it out\x1b[2J")] = 0


ORDER = str(uuid.uuid4())


def test_a_warning_names_the_day_and_what_to_use(eventbus: CommandLine) -> None:
    done = eventbus(
        "events", "publish", "order.settled", f'{{"order_id": "{ORDER}", "retried": 1}}'
    )
    assert done.code == 0
    assert done.err.splitlines() == [
        "Warning: event 'order.settled' is deprecated, until 2031-01-01; use order.paid",
        "Warning: field 'retried' of event 'order.settled' is deprecated, until 2031-06-30; "
        "leave it out\\x1b[2J",
    ]
    assert uuid.UUID(done.out.strip())


def test_a_warning_does_not_disturb_the_json(eventbus: CommandLine) -> None:
    found = eventbus("events", "publish", "order.settled", f'{{"order": "{ORDER}"}}', "--json").json
    assert found["event"] == "order.settled"
