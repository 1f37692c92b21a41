"""How a delivery ends: what its handlers' outcomes become, and what the copies carry."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from eventbus import Event, EventBus, RetryLater
from eventbus.brokers.port import Delivery
from eventbus.envelope import Envelope
from eventbus.message import (
    ATTEMPTS_HEADER,
    ERROR_AT_HEADER,
    ERROR_HEADER,
    ERROR_MESSAGE_HEADER,
    FIRST_ERROR_AT_HEADER,
    FIRST_ERROR_HEADER,
    FIRST_ERROR_MESSAGE_HEADER,
    HANDLER_HEADER,
    NOT_BEFORE_HEADER,
    REASON_HEADER,
    TRACEBACK_HEADER,
    WORKER_HEADERS,
    Message,
)
from eventbus.outcome import Ack, DeadLetter, Outcome, RetryAfter, Return
from eventbus.workers.idempotency.port import Key
from eventbus.workers.work import Job, Work, cut, settlement_of


class Paid(Event, name="work.paid"):
    """An event."""


bus = EventBus("shop")


@bus.handler("work.paid", queue="q")
def first(event: Paid) -> None:
    """The first handler."""


@bus.handler("work.paid", queue="q")
def second(event: Paid) -> None:
    """The second handler."""


def _work(*outcomes: Outcome, attempt: int = 1, error: BaseException | None = None) -> Work:
    work = Work(Delivery("shop.q", 1, Message(b"{}", "work.paid", {"mine": "kept"})))
    envelope = Envelope("1", "shop", "work.paid")
    for handler, outcome in zip(bus.handlers.values(), outcomes, strict=False):
        job = Job(work, handler, Paid(), envelope, Key(handler.name, "shop 1", "f"), attempt)
        job.outcome, job.error = outcome, error
        work.jobs.append(job)
    return work


def test_what_is_done_is_acknowledged() -> None:
    settlement = settlement_of(_work(Ack(), Ack()))
    assert not settlement.forwards
    assert not settlement.requeue


def test_a_retry_is_for_the_handler_that_failed_alone() -> None:
    delay = RetryAfter(timedelta(seconds=5))
    [forward] = settlement_of(_work(Ack(), delay, attempt=2)).forwards
    assert forward.delay_ms == 5_000
    assert forward.message.headers[HANDLER_HEADER] == "second"
    assert forward.message.headers[ATTEMPTS_HEADER] == 2
    assert forward.message.headers["mine"] == "kept"
    assert NOT_BEFORE_HEADER in forward.message.headers


def test_a_delay_that_is_not_counted_leaves_the_attempts_as_they_were() -> None:
    [forward] = settlement_of(_work(RetryAfter(timedelta(seconds=1), counted=False))).forwards
    assert forward.message.headers[ATTEMPTS_HEADER] == 0


def test_each_failed_handler_has_a_copy_of_its_own() -> None:
    forwards = settlement_of(_work(DeadLetter("no"), RetryAfter(timedelta(0)))).forwards
    assert [forward.message.headers[HANDLER_HEADER] for forward in forwards] == ["first", "second"]
    assert [forward.delay_ms for forward in forwards] == [None, 0]


def test_one_that_is_returned_returns_the_whole_delivery() -> None:
    settlement = settlement_of(_work(DeadLetter("no"), Return()))
    assert settlement.requeue
    assert not settlement.forwards


def test_a_message_that_cannot_be_read_is_parked_whole() -> None:
    work = Work(Delivery("shop.q", 1, Message(b"?", "x")), parked="not JSON")
    [forward] = settlement_of(work).forwards
    assert forward.delay_ms is None
    assert forward.message.headers[REASON_HEADER] == "not JSON"
    assert HANDLER_HEADER not in forward.message.headers


def test_an_early_message_waits_for_the_rest() -> None:
    message = Message(b"{}", "x", {ATTEMPTS_HEADER: 3})
    work = Work(Delivery("shop.q", 1, message, from_exchange=False), wait_ms=700)
    [forward] = settlement_of(work).forwards
    assert forward.delay_ms == 700
    assert forward.message.headers == {ATTEMPTS_HEADER: 3}


_FORGED = dict.fromkeys(WORKER_HEADERS, "forged")


@pytest.mark.parametrize("outcome", [RetryAfter(timedelta(seconds=1)), DeadLetter("no"), None])
def test_headers_that_a_producer_forged_do_not_get_into_a_copy(outcome: Outcome | None) -> None:
    """A replay from the dead letters would obey them."""
    work = _work() if outcome is None else _work(outcome)
    work.parked = "unreadable" if outcome is None else None
    message = work.delivery.message.with_headers({**_FORGED, "x-death": "forged"})
    work.delivery = replace(work.delivery, message=message)
    [forward] = settlement_of(work).forwards
    assert "forged" not in forward.message.headers.values()
    assert forward.message.headers["mine"] == "kept"


def test_headers_of_ours_on_a_retried_message_are_kept() -> None:
    work = _work(RetryAfter(timedelta(seconds=1), counted=False), attempt=3)
    message = work.delivery.message.with_headers({ERROR_HEADER: "ValueError"})
    work.delivery = replace(work.delivery, message=message, from_exchange=False)
    [forward] = settlement_of(work).forwards
    assert forward.message.headers[ERROR_HEADER] == "ValueError"
    assert forward.message.headers[ATTEMPTS_HEADER] == 2


def _again(work: Work, attempt: int, error: BaseException | None, outcome: Outcome) -> Work:
    """What the retry queue brings back of `work`, after its next run."""
    [forward] = settlement_of(work).forwards
    again = _work(outcome, attempt=attempt, error=error)
    again.delivery = Delivery("shop.q", 2, forward.message, from_exchange=False)
    return again


def test_a_copy_tells_of_the_first_error_and_of_the_last() -> None:
    retry = RetryAfter(timedelta(seconds=1))
    work = _work(retry, error=ValueError("first\nsecond line"))
    work = _again(work, 2, KeyError("last"), DeadLetter("failed 2 of 2"))
    first = work.delivery.message.headers
    assert first[FIRST_ERROR_HEADER] == first[ERROR_HEADER] == "ValueError"
    headers = settlement_of(work).forwards[0].message.headers
    assert (headers[FIRST_ERROR_HEADER], headers[FIRST_ERROR_MESSAGE_HEADER]) == (
        "ValueError",
        "first",
    )
    assert (headers[ERROR_HEADER], headers[ERROR_MESSAGE_HEADER]) == ("KeyError", "'last'")
    assert headers[FIRST_ERROR_AT_HEADER] == first[FIRST_ERROR_AT_HEADER]
    assert headers[FIRST_ERROR_AT_HEADER] <= headers[ERROR_AT_HEADER]
    assert "KeyError" in headers[TRACEBACK_HEADER]
    assert headers[ATTEMPTS_HEADER] == 2


def test_a_delay_that_is_no_failure_leaves_the_errors_as_they_were() -> None:
    work = _work(RetryAfter(timedelta(seconds=1)), error=ValueError("no"))
    later = RetryLater(timedelta(hours=1), "closed", counted=False)
    work = _again(work, 2, later, RetryAfter(later.delay, counted=False))
    before = work.delivery.message.headers
    headers = settlement_of(work).forwards[0].message.headers
    assert headers[ERROR_HEADER] == "ValueError"
    assert headers[ERROR_AT_HEADER] == before[ERROR_AT_HEADER]
    assert headers[ATTEMPTS_HEADER] == 1


def test_a_replay_takes_everything_off_that_a_worker_has_added() -> None:
    work = _work(DeadLetter("no"), error=ValueError("no"))
    message = settlement_of(work).forwards[0].message
    assert message.without_worker_headers().headers == {"mine": "kept"}


def test_a_delivery_is_finished_when_every_job_is_concluded_not_before() -> None:
    work = _work(Ack(), DeadLetter("no"))
    assert not work.finished
    work.jobs[0].concluded = True
    assert not work.finished
    work.jobs[1].concluded = True
    assert work.finished


def test_a_huge_error_is_cut_and_keeps_the_end_of_its_traceback() -> None:
    def fail() -> None:
        raise ValueError("x" * 1_000_000)

    with pytest.raises(ValueError, match="xxx") as caught:
        fail()
    work = _work(DeadLetter("y" * 1_000_000 + "\ud800\0"), error=caught.value)
    headers = settlement_of(work).forwards[0].message.headers
    assert len(headers[REASON_HEADER]) <= 1_000
    assert len(headers[TRACEBACK_HEADER]) <= 4_000
    assert len(headers[ERROR_MESSAGE_HEADER]) <= 300
    assert headers[ERROR_HEADER] == "ValueError"


def test_cut_text_is_text_that_every_database_holds() -> None:
    assert cut("a\0b\ud800c", 100) == "a\\x00b\\ud800c"
    assert cut("0123456789", 5) == "01..."
    assert cut("0123456789", 5, end=True) == "...89"
