"""Guarantees 2, 4 and 5: effects once, one failure stays where it is, nothing vanishes."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from eventbus.backoff import Backoff
from eventbus.brokers.port import Confirmation
from eventbus.message import HANDLER_HEADER, REASON_HEADER, Message
from eventbus.outbox.store import OutboxStore
from tests.faults.stack import Process, Stack
from tests.waiting import wait_until


def _send(stack: Stack, messages: list[Message]) -> None:
    publisher = stack.bus.broker.publisher("test")
    try:
        wait_until(lambda: publisher.wait_ready(1), 10, "a connected publisher")
        assert set(publisher.publish(messages).result(10)) == {Confirmation.ROUTED}
    finally:
        publisher.close()


def _message(item: int) -> Message:
    """A well-formed event from elsewhere."""
    attributes = {
        "specversion": "1.0",
        "id": f"id-{item}",
        "source": "elsewhere",
        "type": "item.added",
        "time": "2026-01-31T12:00:00Z",
    }
    return Message(
        b'{"item": %d}' % item,
        "item.added",
        {f"cloudEvents_{name}": value for name, value in attributes.items()},
        content_type="application/json",
    )


def test_a_worker_killed_in_the_middle_of_a_handler_is_replaced(stack: Stack) -> None:
    go = stack.folder / "go"
    stack.publish([stack.shop.ItemSlow(item=1)])
    stack.dispatcher()
    doomed = stack.worker("-Q", "slow", SHOP_GO=str(go))
    stack.wait_effects("begun", [1])
    doomed.kill()
    go.touch()
    stack.worker("-Q", "slow", SHOP_GO=str(go))
    stack.wait_effects("wait", [1])
    assert stack.effects("wait")[1] == 1
    assert stack.effects("begun")[1] == 2


@pytest.mark.parametrize(
    "point", ["worker.claimed:1", "worker.handled:7", "worker.remembered:1", "worker.settled:1"]
)
def test_a_transactional_effect_happens_exactly_once_wherever_the_worker_dies(
    stack: Stack, point: str
) -> None:
    stack.publish([stack.shop.ItemBooked(item=item) for item in range(30)])
    stack.dispatcher("--once").popen.wait(30)
    stack.worker("-Q", "booked", "-P", "solo", EVENTBUS_CRASH_AT=point).wait_killed()
    stack.worker("-Q", "booked")
    stack.wait_effects("book", range(30))
    wait_until(lambda: stack.depth("shop.booked") == 0, 20, "an empty queue")
    assert set(stack.effects("book").values()) == {1}


@pytest.mark.parametrize("point", ["worker.claimed:1", "worker.remembered:1"])
def test_an_idempotent_effect_happens_once_when_the_worker_dies_around_it(
    stack: Stack, point: str
) -> None:
    stack.publish([stack.shop.ItemAdded(item=item) for item in range(30)])
    stack.dispatcher("--once").popen.wait(30)
    stack.worker("-Q", "added", "-P", "solo", EVENTBUS_CRASH_AT=point).wait_killed()
    stack.worker("-Q", "added")
    stack.wait_effects("add", range(30))
    wait_until(lambda: stack.depth("shop.added") == 0, 20, "an empty queue")
    assert set(stack.effects("add").values()) == {1}


def test_killed_between_effect_and_remembering_only_that_effect_is_repeated(stack: Stack) -> None:
    """What idempotency keys beside the effect cannot close; a transactional handler can."""
    stack.publish([stack.shop.ItemAdded(item=item) for item in range(30)])
    stack.dispatcher("--once").popen.wait(30)
    doomed = stack.worker("-Q", "added", "-P", "solo", EVENTBUS_CRASH_AT="worker.handled:10")
    doomed.wait_killed()
    stack.worker("-Q", "added")
    stack.wait_effects("add", range(30))
    counts = stack.effects("add")
    assert max(counts.values()) <= 2
    assert sum(counts.values()) - 30 <= 10


def test_a_duplicate_has_no_second_effect(stack: Stack) -> None:
    stack.worker("-Q", "added")
    _send(stack, [_message(1), _message(1), _message(2)])
    stack.wait_effects("add", [1, 2])
    _send(stack, [_message(1), _message(3)])
    stack.wait_effects("add", [3])
    wait_until(lambda: stack.depth("shop.added") == 0, 10, "an empty queue")
    assert stack.effects("add") == {1: 1, 2: 1, 3: 1}


def test_an_id_that_is_used_twice_is_parked_not_taken_for_a_duplicate(stack: Stack) -> None:
    stack.worker("-Q", "added")
    _send(stack, [_message(1)])
    stack.wait_effects("add", [1])
    other = _message(1)
    _send(
        stack,
        [
            Message(
                b'{"item": 2}', other.routing_key, other.headers, content_type="application/json"
            )
        ],
    )
    parked = wait_until(lambda: stack.parked("shop.added.dlq"), 20, "a parked message")
    assert "used twice" in parked[0].headers[REASON_HEADER]
    assert stack.effects("add") == {1: 1}


def _foreign() -> list[tuple[Message, str]]:
    good = _message(99)
    headers = good.headers

    def but(body: bytes = good.body, content_type: str = "application/json", **changed: str):
        added = {f"cloudEvents_{name}": value for name, value in changed.items()}
        return Message(body, "item.added", {**headers, **added}, content_type=content_type)

    return [
        (Message(b"hello", "item.added", {}), "foreign producer"),
        (Message(b"", "item.added", {"task": "x.y"}, content_type="application/json"), "foreign"),
        (but(b""), "not JSON"),
        (but(b"\xff\xfe"), "not UTF-8"),
        (but(b'{"item": 1'), "not JSON"),
        (but(b'{"item": NaN}'), "NaN"),
        (but(b'{"item": 1, "item": 2}'), "twice"),
        (but(b"[" * 100_000), "nested"),
        (but(b'{"item": "one"}'), "integer"),
        (but(b"{}"), "required"),
        (but(b"\x80\x04.", "application/x-python-serialize"), "content-type"),
        (but(type="item.removed"), "routing key"),
        (but(id=""), "cloudEvents_id"),
        (but(specversion="0.3"), "specversion"),
    ]


def test_what_cannot_be_read_is_parked_with_the_reason_and_the_worker_goes_on(
    stack: Stack,
) -> None:
    worker = stack.worker("-Q", "added")
    foreign = _foreign()
    _send(stack, [message for message, _ in foreign])
    _send(stack, [_message(5)])
    stack.wait_effects("add", [5])
    parked = wait_until(
        lambda: (found := stack.parked("shop.added.dlq")) and len(found) >= len(foreign) and found,
        20,
        lambda: f"{len(foreign)} parked messages\n{stack.logs()}",
    )
    reasons = sorted(message.headers[REASON_HEADER] for message in parked)
    for _, expected in foreign:
        assert any(expected in reason for reason in reasons), (expected, reasons)
    assert len(parked) == len(foreign)
    assert set(stack.effects("add")) == {5}
    assert worker.popen.poll() is None
    assert "Traceback" not in worker.output


def test_a_handler_that_always_fails_is_parked_after_its_attempts_and_replays(
    stack: Stack,
) -> None:
    mended = stack.folder / "mended"
    stack.dispatcher()
    stack.worker("-Q", "broken", SHOP_MENDED=str(mended))
    stack.publish([stack.shop.ItemBroken(item=1)])
    parked = wait_until(
        lambda: stack.parked("shop.broken.dlq"), 30, lambda: f"a parked message\n{stack.logs()}"
    )
    assert len(parked) == 1
    assert parked[0].headers[HANDLER_HEADER] == "mend"
    assert "3 of 3 attempts" in parked[0].headers[REASON_HEADER]
    assert stack.effects("note") == {1: 1}
    mended.touch()
    assert stack.start("dlq", "replay", "--queue", "broken", "--all", "--yes").popen.wait(30) == 0
    stack.wait_effects("mend", [1])
    assert stack.parked("shop.broken.dlq") == []
    assert stack.effects("note") == {1: 1}, "the handler that had succeeded ran again"


def test_a_failing_handler_delays_no_other_event(stack: Stack) -> None:
    stack.dispatcher()
    stack.worker()
    stack.publish([stack.shop.ItemBroken(item=item) for item in range(50)])
    stack.publish([stack.shop.ItemAdded(item=item) for item in range(50)])
    stack.wait_effects("add", range(50), timeout=20)
    stack.wait_effects("note", range(50), timeout=20)


def test_an_unroutable_event_is_logged_and_sent_again_when_there_is_a_subscriber(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eventbus import Event
    from eventbus.topology import Binding, Topology
    from eventbus.workers import dispatcher, housekeeping

    class ItemLost(Event, name="item.lost"):
        item: int

    monkeypatch.setattr(housekeeping, "INTERVAL_SECONDS", 0.1)
    store = OutboxStore(stack.bus.engine)
    stack.publish([ItemLost(item=item) for item in range(5)])
    assert dispatcher.Dispatcher(stack.bus).run_once() >= 5
    assert store.stats().unrouted == 5
    assert store.stats().pending == 0
    admin = stack.bus.broker.admin()
    binding = Binding(stack.bus.settings.exchange, "shop.added", "item.lost")
    admin.declare(stack.bus.topology() + Topology(bindings=(binding,)))
    admin.close()
    wait_until(
        lambda: dispatcher.Dispatcher(stack.bus).run_once() == 0 and not store.stats().unrouted,
        20,
        "the unrouted events to be sent again",
    )
    assert stack.depth("shop.added") == 5


def test_redis_is_away_for_ten_seconds_and_the_worker_waits_for_it(
    own_stack: Stack, own_redis
) -> None:
    stack = own_stack
    stack.dispatcher()
    worker = stack.worker("-Q", "added")
    stack.publish([stack.shop.ItemAdded(item=item) for item in range(10)])
    stack.wait_effects("add", range(10))
    own_redis.stop()
    stopped_at = time.monotonic()
    stack.publish([stack.shop.ItemAdded(item=item) for item in range(10, 200)])
    worker.wait_output("waiting for it")
    pause = Backoff(first=0.5, longest=0.5)
    while time.monotonic() - stopped_at < 10:
        assert set(stack.effects("add")) == set(range(10)), "a handler ran without a claim"
        time.sleep(pause.next())
    own_redis.start()
    stack.wait_effects("add", range(200))
    assert set(stack.effects("add").values()) == {1}
    assert worker.popen.poll() is None


def test_after_a_broker_restart_consumers_are_back(own_stack: Stack, own_rabbitmq) -> None:
    stack = own_stack
    stack.dispatcher()
    worker = stack.worker("-Q", "added")
    stack.publish([stack.shop.ItemAdded(item=1)])
    stack.wait_effects("add", [1])
    for item in (2, 3):
        own_rabbitmq.kill()
        own_rabbitmq.start()
        stack.publish([stack.shop.ItemAdded(item=item)])
        stack.wait_effects("add", [item], timeout=60)
    assert set(stack.effects("add").values()) == {1}
    assert worker.popen.poll() is None


def _drained(process: Process) -> bool:
    return process.stop(30) == 0


def test_term_drains_and_loses_nothing(stack: Stack) -> None:
    stack.publish([stack.shop.ItemAdded(item=item) for item in range(500)])
    stack.dispatcher("--once").popen.wait(30)
    first = stack.worker("-Q", "added")
    wait_until(lambda: stack.effects("add"), 20, "a first effect")
    assert _drained(first), first.output
    stack.worker("-Q", "added")
    stack.wait_effects("add", range(500))
    assert set(stack.effects("add").values()) == {1}


def test_a_worker_whose_handlers_do_not_end_in_time_ends_with_1(stack: Stack) -> None:
    stack.publish([stack.shop.ItemSlow(item=1)])
    stack.dispatcher("--once").popen.wait(30)
    go = str(stack.folder / "go")
    worker = stack.worker("-Q", "slow", "--shutdown-timeout", "1s", SHOP_GO=go)
    stack.wait_effects("begun", [1])
    assert worker.stop(20) == 1
    assert "did not end in time" in worker.output
    wait_until(lambda: stack.depth("shop.slow") == 1, 15, "the message in its queue again")


def _terminated(worker: Process) -> bool:
    """Send one more TERM; signals that come together count as one."""
    worker.popen.send_signal(signal.SIGTERM)
    return worker.popen.poll() is not None


def test_a_second_term_returns_what_runs_without_costing_an_attempt(
    stack: Stack, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    stack.publish([stack.shop.ItemSlow(item=1)])
    stack.dispatcher("--once").popen.wait(30)
    worker = stack.worker("-Q", "slow", SHOP_GO=str(go))
    stack.wait_effects("begun", [1])
    worker.popen.send_signal(signal.SIGTERM)
    worker.wait_output("draining")
    wait_until(lambda: _terminated(worker), 20, "the worker to end", interval=0.3)
    assert worker.popen.returncode == 1
    go.touch()
    stack.worker("-Q", "slow", SHOP_GO=str(go))
    stack.wait_effects("wait", [1])
    with stack.bus.engine.connect() as connection:
        attempts = set(
            connection.scalars(
                stack.shop.effects.select().with_only_columns(stack.shop.effects.c.attempt)
            )
        )
    assert attempts == {1}
