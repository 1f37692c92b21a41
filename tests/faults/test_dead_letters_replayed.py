"""A replay of dead letters that is killed, run twice at once, or interrupted: effects counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from eventbus.brokers.port import Confirmation
from eventbus.message import HANDLER_HEADER, PARKED_AT_HEADER, REASON_HEADER, Message
from tests.faults.stack import Process, Stack
from tests.waiting import wait_until

QUEUE, DLQ = "shop.added", "shop.added.dlq"
COUNT = 600

#: The command line in a process that dies when its first batch is in its queue and is about to be
#: removed from the dead letters: on RabbitMQ before the acknowledgement, on the embedded broker
#: within the transaction.
KILLED_AT_THE_WORST_MOMENT = """
import os, signal
from eventbus.brokers.embedded import rows
from eventbus.brokers.rabbitmq import moving
moving.Look.acknowledge = rows.delete = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
from eventbus.cli import main
main()
"""


def _park(stack: Stack) -> None:
    """Park `COUNT` events that the handler ``add`` is said to have given up on."""
    publisher = stack.bus.broker.publisher("test")
    try:
        wait_until(lambda: publisher.wait_ready(1), 30, "a connected publisher")
        sent = publisher.publish([_failed(item) for item in range(COUNT)], queue=DLQ).result(30)
        assert set(sent) == {Confirmation.ROUTED}
    finally:
        publisher.close()


def _failed(item: int) -> Message:
    attributes = {
        "specversion": "1.0",
        "id": f"id-{item}",
        "source": "elsewhere",
        "type": "item.added",
        "time": "2026-01-31T12:00:00Z",
    }
    headers = {
        **{f"cloudEvents_{name}": value for name, value in attributes.items()},
        HANDLER_HEADER: "add",
        REASON_HEADER: "failed",
        PARKED_AT_HEADER: time.time_ns() // 1_000_000 - 1_000,
    }
    body = b'{"item": %d}' % item
    return Message(body, "item.added", headers, content_type="application/json")


def _replay(stack: Stack, *arguments: str) -> Process:
    return stack.start("dlq", "replay", "--yes", "--json", *arguments)


def _result(process: Process, code: int = 0) -> dict[str, object]:
    assert process.popen.wait(60) == code, process.output
    text = process.output
    found: dict[str, object] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return found


def _wait_depths(stack: Stack, queue: int, dlq: int) -> None:
    wait_until(
        lambda: (stack.depth(QUEUE), stack.depth(DLQ)) == (queue, dlq),
        30,
        lambda: f"{queue} and {dlq}; there are {stack.depth(QUEUE)} and {stack.depth(DLQ)}",
    )


def _wait_each_effect_once(stack: Stack) -> None:
    stack.wait_effects("add", range(COUNT))
    _wait_depths(stack, 0, 0)
    assert set(stack.effects("add").values()) == {1}


def test_killed_between_two_queues_it_loses_nothing_and_no_effect_happens_twice(
    stack: Stack, request: pytest.FixtureRequest
) -> None:
    _park(stack)
    arguments = ("-A", "tests.faults.shop:bus", "dlq", "replay", "--all", "--yes")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_THE_WORST_MOMENT, *arguments],
        env={**os.environ, **stack.environment},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    # A transaction on the embedded broker; on RabbitMQ one batch is in both queues.
    embedded = request.node.callspec.params["stack"] == "embedded"
    _wait_depths(stack, 0 if embedded else 250, COUNT)
    stack.worker("-Q", "added")
    again = _result(_replay(stack, "--all"))
    assert (again["replayed"], again["state"]) == (COUNT, "done")
    _wait_each_effect_once(stack)


def test_killed_while_a_worker_runs_it_goes_on_where_it_was(stack: Stack) -> None:
    _park(stack)
    stack.worker("-Q", "added")
    doomed = _replay(stack, "--all", "--rate", "200")
    wait_until(lambda: len(stack.effects("add")) > 50, 60, lambda: stack.logs())
    doomed.kill()
    left = wait_until(lambda: stack.depth(DLQ), 30, "what it held is given back")
    assert 0 < left < COUNT
    operations = _operations(stack)
    assert operations[0]["state"] in ("running", "killed")
    wait_until(lambda: _operations(stack)[0]["state"] == "killed", 60, "it is taken for dead")
    resumed = _result(_replay(stack, "--resume", str(operations[0]["id"]), "--rate", "5000"))
    assert resumed["state"] == "done"
    _wait_each_effect_once(stack)
    (noted,) = _operations(stack)
    assert (noted["state"], noted["runs"]) == ("done", 2)


def _operations(stack: Stack) -> list[dict[str, object]]:
    process = stack.start("operations", "list", "--json")
    found: list[dict[str, object]] = _result(process)["operations"]  # type: ignore[assignment]
    return found


def test_two_operators_at_the_same_time_move_each_message_once(stack: Stack) -> None:
    _park(stack)
    stack.worker("-Q", "added")
    both = [_replay(stack, "--all"), _replay(stack, "--all")]
    moved = sum(int(str(_result(one)["replayed"])) for one in both)
    moved += int(str(_result(_replay(stack, "--all"))["replayed"]))
    assert moved == COUNT
    _wait_each_effect_once(stack)


def test_ctrl_c_ends_it_where_nothing_is_under_way(stack: Stack) -> None:
    _park(stack)
    process = _replay(stack, "--all", "--rate", "200")
    wait_until(lambda: stack.depth(QUEUE) > 50, 60, lambda: stack.logs())
    process.popen.send_signal(signal.SIGINT)
    ended = _result(process, code=1)
    assert ended["state"] == "interrupted"
    assert "go on with: --resume" in process.output
    moved = int(str(ended["replayed"]))
    _wait_depths(stack, moved, COUNT - moved)
    resumed = _result(_replay(stack, "--resume", str(ended["operation"]), "--rate", "5000"))
    assert resumed["replayed"] == COUNT - moved
    stack.worker("-Q", "added")
    _wait_each_effect_once(stack)
