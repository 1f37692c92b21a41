"""Decoding and validating: what is parked and why, and which headers count."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Annotated, Any

import pytest

from eventbus import Context, Event, EventBus, Reject, Retry, RetryLater, Skip
from eventbus.brokers.port import Delivery
from eventbus.contracts.receiving import Receiving
from eventbus.message import ATTEMPTS_HEADER, HANDLER_HEADER, NOT_BEFORE_HEADER, Message
from eventbus.outcome import Ack, DeadLetter, RetryAfter
from eventbus.workers import pipeline
from eventbus.workers.pipeline import Invoker, open_works
from eventbus.workers.work import Work


def _explode(value: object) -> None:
    if value == 13:
        raise ZeroDivisionError("a validator with a defect")


class Paid(Event, name="pipe.paid"):
    """An event whose validator has a defect."""

    amount: Annotated[int, _explode]


class Cancelled(Event, name="pipe.cancelled"):
    """Another event."""


bus = EventBus("shop", retry=Retry(max_attempts=3), max_message_bytes=1024)
raised: list[BaseException] = []


@bus.handler("pipe.paid", "pipe.cancelled", queue="q")
def any_of_two(event: Paid | Cancelled, context: Context) -> None:
    """Raises what the test wants."""
    if raised:
        raise raised[0]


@bus.handler("pipe.*", queue="q")
def only_paid(event: Paid) -> None:
    """Is bound to more than it knows."""


def _headers(**changed: Any) -> dict[str, Any]:
    attributes = {"specversion": "1.0", "id": "1", "source": "shop", "type": "pipe.paid"}
    return {f"cloudEvents_{name}": value for name, value in {**attributes, **changed}.items()}


def _open(
    body: bytes = b'{"amount": 1}',
    routing_key: str = "pipe.paid",
    headers: dict[str, Any] | None = None,
    **delivery: Any,
) -> Work:
    message = Message(body, routing_key, headers or _headers(), content_type="application/json")
    [work] = open_works([Delivery("shop.q", 1, message, **delivery)], _SUBSCRIPTIONS, _RECEIVING)
    return work


_SUBSCRIPTIONS = {"shop.q": bus.subscription("q")}
_RECEIVING = Receiving(bus)


def test_every_matching_handler_gets_a_job() -> None:
    work = _open()
    assert [job.handler.name for job in work.jobs] == ["any_of_two", "only_paid"]
    assert {job.attempt for job in work.jobs} == {1}
    assert [job.event for job in work.jobs] == [Paid(amount=1)] * 2
    assert work.jobs[0].key.event_id == "shop 1"


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (lambda: _open(b"x" * 1025), "1024 are read"),
        (lambda: _open(routing_key="pipe.other"), "routing key is 'pipe.other'"),
        (lambda: _open(undecodable="header table too deep"), "too deep"),
        (
            lambda: _open(routing_key="other", headers=_headers(type="other")),
            "no handler of queue 'q' takes 'other'",
        ),
        (lambda: _open(headers={"x": 1}), "foreign producer"),
    ],
)
def test_what_cannot_be_read_is_parked_with_the_reason(work: Any, reason: str) -> None:
    parked = work()
    assert reason in parked.parked
    assert parked.jobs == []
    assert parked.finished


def test_a_handler_that_does_not_know_the_event_is_parked_for_itself() -> None:
    work = _open(b"{}", "pipe.cancelled", _headers(type="pipe.cancelled"))
    outcomes = {job.handler.name: job.outcome for job in work.jobs}
    assert outcomes["any_of_two"] is None
    assert isinstance(outcomes["only_paid"], DeadLetter)


def test_data_that_does_not_fit_is_parked_naming_the_field() -> None:
    work = _open(b'{"amount": "one"}')
    assert all(isinstance(job.outcome, DeadLetter) for job in work.jobs)
    assert "amount" in str(work.jobs[0].outcome)


def test_a_validator_of_the_application_that_fails_parks_its_event() -> None:
    work = _open(b'{"amount": 13}')
    assert all(isinstance(job.outcome, DeadLetter) for job in work.jobs)
    assert "ZeroDivisionError" in str(work.jobs[0].outcome)


def test_whatever_goes_wrong_with_a_message_parks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "read_envelope", lambda message: 1 // 0)
    work = _open()
    assert "ZeroDivisionError" in str(work.parked)
    assert work.jobs == []


_FORGED = {
    HANDLER_HEADER: "only_paid",
    ATTEMPTS_HEADER: 99,
    NOT_BEFORE_HEADER: time.time_ns() // 1_000_000 + 86_400_000,
    "x-death": [{"count": 50}],
}


def test_worker_headers_that_a_producer_forged_have_no_effect() -> None:
    work = _open(headers={**_headers(), **_FORGED})
    assert len(work.jobs) == 2
    assert {job.attempt for job in work.jobs} == {1}
    assert work.wait_ms is None


def test_worker_headers_count_on_what_came_back_from_a_retry_queue() -> None:
    headers = {**_headers(), **_FORGED, NOT_BEFORE_HEADER: 0}
    work = _open(routing_key="shop.q", headers=headers, from_exchange=False)
    assert [(job.handler.name, job.attempt) for job in work.jobs] == [("only_paid", 100)]


def test_a_retry_that_came_too_soon_waits_for_the_rest() -> None:
    work = _open(headers={**_headers(), **_FORGED}, from_exchange=False)
    assert work.wait_ms is not None
    assert 0 < work.wait_ms <= 86_400_000
    assert work.finished


def test_a_retry_for_a_handler_that_is_gone_is_parked() -> None:
    headers = {**_headers(), HANDLER_HEADER: "gone"}
    assert "'gone'" in str(_open(headers=headers, from_exchange=False).parked)


@pytest.mark.parametrize("attempts", [-5, "3", True, 10**9, None, 2.5])
def test_nonsense_attempts_count_as_none(attempts: object) -> None:
    headers = {**_headers(), HANDLER_HEADER: "only_paid", ATTEMPTS_HEADER: attempts}
    assert _open(headers=headers, from_exchange=False).jobs[0].attempt == 1


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Ack),
        (ValueError("no"), RetryAfter),
        (_Unprintable(), RetryAfter),
        (SystemExit(3), RetryAfter),
        (GeneratorExit(), RetryAfter),
        (KeyboardInterrupt(), RetryAfter),
        (asyncio.CancelledError(), RetryAfter),
    ],
)
def test_whatever_a_handler_raises_is_its_own_failure(
    error: BaseException | None, outcome: type
) -> None:
    raised[:] = [error] if error else []
    try:
        job = _open().jobs[0]
        Invoker(bus).run(job)
    finally:
        raised.clear()
    assert isinstance(job.outcome, outcome)
    assert job.error is error


@bus.handler("pipe.paid", queue="later")
async def later(event: Paid) -> None:
    """Raises what the test wants, after it has waited."""
    await asyncio.sleep(0)
    if raised:
        raise raised[0]


@pytest.mark.parametrize("queue", ["q", "later"])
@pytest.mark.parametrize(
    ("error", "outcome", "told", "level"),
    [
        (Skip("stale"), Ack(skipped="stale"), "skipped: Skip: stale", "INFO"),
        (Reject("never"), DeadLetter("never"), "parked: Reject: never", "WARNING"),
        (
            RetryLater(timedelta(hours=1), "closed", counted=False),
            RetryAfter(timedelta(hours=1), counted=False),
            "retry in 3600.0 s: RetryLater: closed",
            "INFO",
        ),
        (
            RetryLater(timedelta(0)),
            RetryAfter(timedelta(0)),
            "retry in 0.0 s: RetryLater",
            "WARNING",
        ),
    ],
    ids=str,
)
def test_what_a_handler_says_itself_is_done_and_told(
    caplog: pytest.LogCaptureFixture, queue: str, error: Any, outcome: Any, told: str, level: str
) -> None:
    caplog.set_level("INFO", "eventbus.worker")
    message = Message(b'{"amount": 1}', "pipe.paid", _headers(), content_type="application/json")
    subscriptions = {f"shop.{queue}": bus.subscription(queue)}
    [work] = open_works([Delivery(f"shop.{queue}", 1, message)], subscriptions, _RECEIVING)
    job = work.jobs[0]
    raised[:] = [error]
    try:
        if job.handler.is_coroutine:
            asyncio.run(Invoker(bus).run_async(job))
        else:
            Invoker(bus).run(job)
    finally:
        raised.clear()
    assert job.outcome == outcome
    # At the information level nothing has failed.
    assert job.error is (None if level == "INFO" else error)
    [record] = caplog.records
    assert record.getMessage().endswith(told)
    assert record.levelname == level
