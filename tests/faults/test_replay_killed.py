"""A replay that is killed can be resumed, and makes up for a queue that lost what it held."""

from __future__ import annotations

from collections import Counter

from eventbus.workers.operations.audit import OperationLog
from tests.faults.stack import Stack
from tests.waiting import wait_until

EVENTS = 600


def test_a_queue_that_lost_everything_is_filled_again_by_a_replay_that_was_killed(
    server_stack: Stack,
) -> None:
    stack = server_stack
    stack.publish(stack.shop.ItemBooked(item=n) for n in range(EVENTS))
    assert stack.dispatcher("--once").popen.wait(60) == 0
    admin = stack.bus.broker.admin()
    assert admin.purge("shop.booked") == EVENTS  # as if the broker had lost its disk
    admin.close()

    replay = stack.start("replay", "-Q", "booked", "--rate", "300", "--yes")
    log = OperationLog(stack.bus.engine)
    wait_until(lambda: any(one.done for one in log.latest(1, "replay")), 60, stack.logs)
    replay.kill()
    sent = stack.depth("shop.booked")
    assert sent < EVENTS

    (record,) = log.latest(10, "replay")
    assert record.state == "running", "nobody was there to say how it ended"
    assert 0 < record.done <= sent

    def resumes() -> bool:
        # Refused until the killed one has not been heard of for a while.
        return stack.start("replay", "--resume", record.id, "--yes").popen.wait(60) == 0

    wait_until(resumes, 90, stack.logs, interval=2)
    assert log.find(record.id).done == EVENTS
    assert log.find(record.id).runs == 2
    assert EVENTS <= stack.depth("shop.booked") < 2 * EVENTS

    stack.worker("-Q", "booked")
    stack.wait_effects("book", range(EVENTS))
    wait_until(lambda: stack.depth("shop.booked") == 0, 60, stack.logs)
    assert stack.effects("book") == Counter(range(EVENTS))
