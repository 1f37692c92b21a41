"""Workers that are killed while retries are on their way."""

from __future__ import annotations

import json

from eventbus.message import HANDLER_HEADER
from tests.waiting import wait_until

from .stack import Stack

ITEMS = range(40)
#: Effects of one handler that a killed worker may not have remembered.
UNREMEMBERED = 10


def test_workers_killed_among_retries_lose_none_and_leave_the_other_handler_alone(
    stack: Stack,
) -> None:
    """`mend` fails until it is mended, `note` on the same queue succeeds at once.

    They are killed when they have begun to send copies on, and know not yet whether they arrived.
    """
    crash = {"EVENTBUS_CRASH_AT": "worker.settled:3"}
    mended = stack.folder / "mended"
    stack.publish([stack.shop.ItemBroken(item=item) for item in ITEMS])
    stack.dispatcher("--once").popen.wait(30)
    for _ in range(2):
        doomed = stack.worker("-Q", "broken", SHOP_MENDED=str(mended), **crash)
        doomed.wait_killed()
    mended.touch()
    stack.worker("-Q", "broken", SHOP_MENDED=str(mended))

    def missing() -> set[int]:
        parked = stack.parked("shop.broken.dlq")
        assert {message.headers[HANDLER_HEADER] for message in parked} <= {"mend"}
        ended = {json.loads(message.body)["item"] for message in parked}
        return set(ITEMS) - ended - set(stack.effects("mend"))

    wait_until(
        lambda: not missing(), 60, lambda: f"each mended or parked; {missing()}\n{stack.logs()}"
    )
    notes = stack.effects("note")
    assert set(notes) == set(ITEMS)
    assert sum(notes.values()) - len(ITEMS) <= 2 * UNREMEMBERED
    assert max(stack.effects("mend").values()) <= 2
