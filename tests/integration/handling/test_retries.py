"""Failing handlers on real brokers: who runs again, when, and what the dead letters tell."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from eventbus import Context, Event, Reject, Retry, RetryLater, Skip, tables, topology
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
)
from eventbus.outbox.publication import to_publication
from eventbus.outbox.row import make_row
from eventbus.outbox.store import StoredRow
from eventbus.topology import retry_queue_name
from tests.waiting import wait_until

from .conftest import Shop


class Sent(Event, name="retries.sent"):
    """An event with a number."""

    number: int


class Runs:
    """When each handler ran for which number, and in which attempt."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, int], list[float]] = {}
        self.attempts: dict[tuple[str, int], list[int]] = {}

    def note(self, event: Sent, context: Context) -> int:
        """How often this handler ran for this event, this time included."""
        key = (context.handler, event.number)
        self.times.setdefault(key, []).append(time.monotonic())
        self.attempts.setdefault(key, []).append(context.attempt)
        return len(self.times[key])

    def counts(self) -> Counter[tuple[str, int]]:
        return Counter({key: len(times) for key, times in self.times.items()})


@pytest.fixture
def runs() -> Runs:
    return Runs()


def test_only_the_handler_that_failed_runs_again_and_its_dead_letter_tells_both_errors(
    shop: Shop, runs: Runs
) -> None:
    @shop.bus.handler("retries.sent", queue="first")
    def fails(event: Sent, context: Context) -> None:
        if runs.note(event, context) == 1:
            raise ValueError("the first\nof two lines")
        raise KeyError("the last")

    @shop.bus.handler("retries.sent", queue="first")
    def fails_once(event: Sent, context: Context) -> None:
        if runs.note(event, context) == 1:
            raise ValueError("once")

    @shop.bus.handler("retries.sent", queue="first")
    def succeeds(event: Sent, context: Context) -> None:
        runs.note(event, context)

    @shop.bus.handler("retries.sent", queue="second")
    def elsewhere(event: Sent, context: Context) -> None:
        runs.note(event, context)

    with shop.running():
        before_ms = time.time() * 1000
        shop.publish(Sent(number=1), Sent(number=2))
        parked = shop.parked("first", 2)
        wait_until(lambda: runs.counts()["fails_once", 2] == 2, 30, "the one that fails once")
    assert runs.counts() == {
        **{("fails", n): 3 for n in (1, 2)},
        **{("fails_once", n): 2 for n in (1, 2)},
        **{("succeeds", n): 1 for n in (1, 2)},
        **{("elsewhere", n): 1 for n in (1, 2)},
    }
    assert runs.attempts["fails", 1] == [1, 2, 3]
    headers = parked[0].headers
    assert (headers[HANDLER_HEADER], headers[ATTEMPTS_HEADER]) == ("fails", 3)
    assert headers[FIRST_ERROR_HEADER] == "ValueError"
    assert headers[FIRST_ERROR_MESSAGE_HEADER] == "the first"
    assert (headers[ERROR_HEADER], headers[ERROR_MESSAGE_HEADER]) == ("KeyError", "'the last'")
    assert before_ms - 1 <= headers[FIRST_ERROR_AT_HEADER]
    # Two delays of a second lie between them.
    assert headers[ERROR_AT_HEADER] - headers[FIRST_ERROR_AT_HEADER] > 1_000
    assert "KeyError: 'the last'" in headers[TRACEBACK_HEADER]
    assert headers[REASON_HEADER] == "failed 3 of 3 attempts: KeyError: 'the last'"
    assert parked[0].routing_key == "retries.sent"


def test_a_later_retry_comes_when_it_was_asked_for_although_no_such_level_was_declared(
    shop: Shop, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four seconds take the level of three, which only the first such message makes, and one."""
    monkeypatch.setattr(topology, "RETRY_LEVELS_MS", (1_000, 3_000, 1_000_000))

    @shop.bus.handler("retries.sent", queue="later", retry=Retry(max_attempts=2))
    def later(event: Sent, context: Context) -> None:
        if runs.note(event, context) == 1:
            raise RetryLater(timedelta(seconds=4), "not yet")

    declared = {queue.name for queue in shop.bus.topology().queues}
    assert retry_queue_name("shop.later", 3_000) not in declared
    with shop.running():
        shop.publish(Sent(number=1))
        wait_until(lambda: runs.counts()["later", 1] == 2, 60, "the second run")
    first, second = runs.times["later", 1]
    assert 3.4 <= second - first < 30
    assert runs.attempts["later", 1] == [1, 2]


def test_a_delay_of_thirty_days_is_held_by_the_broker(shop: Shop, runs: Runs) -> None:
    @shop.bus.handler("retries.sent", queue="later", retry=Retry(max_attempts=2))
    def later(event: Sent, context: Context) -> None:
        runs.note(event, context)
        raise RetryLater(timedelta(days=30))

    with shop.running():
        shop.publish(Sent(number=1))
        wait_until(lambda: _held(shop, "shop.later"), 60, "a message that waits")
        assert shop.depth("shop.later") == 0
    now_ms = time.time() * 1000
    if not shop.bus.settings.embedded:
        name = retry_queue_name("shop.later", 86_400_000)
        admin = shop.bus.broker.admin()
        [message] = admin.browse(name, 10)
        admin.close()
        wait_days = (message.headers[NOT_BEFORE_HEADER] - now_ms) / 86_400_000
        assert 29.99 < wait_days <= 30
    assert runs.counts() == {("later", 1): 1}


def _held(shop: Shop, queue: str) -> bool:
    """Whether a message waits for its time: in a retry queue, or as a row with a time."""
    if not shop.bus.settings.embedded:
        return shop.depth(retry_queue_name(queue, 86_400_000)) == 1
    due_at_ms = sa.select(tables.message.c.available_at_ms)
    with shop.bus.engine.connect() as connection:
        [due] = connection.scalars(due_at_ms).all() or [0]
        return (due / 1000 - time.time()) / 86_400 > 29.9


def test_a_later_retry_ends_with_the_attempts_unless_it_is_no_failure(
    shop: Shop, runs: Runs
) -> None:
    @shop.bus.handler("retries.sent", queue="counted", retry=Retry(max_attempts=2))
    def counted(event: Sent, context: Context) -> None:
        runs.note(event, context)
        raise RetryLater(timedelta(seconds=1), "closed")

    @shop.bus.handler("retries.sent", queue="free", retry=Retry(max_attempts=1))
    def free(event: Sent, context: Context) -> None:
        if runs.note(event, context) < 3:
            raise RetryLater(timedelta(seconds=1), counted=False)

    with shop.running():
        shop.publish(Sent(number=1))
        [parked] = shop.parked("counted")
        wait_until(lambda: runs.counts()["free", 1] == 3, 60, "the third run of a free delay")
    assert runs.attempts == {("counted", 1): [1, 2], ("free", 1): [1, 1, 1]}
    assert parked.headers[REASON_HEADER] == "failed 2 of 2 attempts: RetryLater: closed"
    assert shop.depth("shop.free.dlq") == 0


def test_what_a_handler_rejects_is_parked_and_what_it_skips_is_done(shop: Shop, runs: Runs) -> None:
    @shop.bus.handler("retries.sent", queue="rejecting")
    def reject(event: Sent, context: Context) -> None:
        runs.note(event, context)
        raise Reject("there is no such account") from LookupError(event.number)

    @shop.bus.handler("retries.sent", queue="skipping")
    def skip(event: Sent, context: Context) -> None:
        runs.note(event, context)
        raise Skip("stale")

    with shop.running() as worker:
        shop.publish(Sent(number=1))
        [parked] = shop.parked("rejecting")
        counts = worker.report().queues["shop.skipping"].handlers["skip"]
        wait_until(lambda: counts.skipped == 1, 30, "the skipped run")
        # As after a dispatcher that died before it had settled: the same event once more.
        _send_again(shop)
        wait_until(lambda: counts.duplicates == 1, 30, "the duplicate")
        assert (counts.succeeded, counts.retried, counts.dead_lettered) == (0, 0, 0)
    assert runs.counts()["skip", 1] == 1
    assert parked.headers[REASON_HEADER] == "there is no such account"
    assert parked.headers[ERROR_HEADER] == "Reject"
    assert "LookupError: 1" in parked.headers[TRACEBACK_HEADER]
    assert shop.depth("shop.skipping.dlq") == 0


def test_an_error_of_any_size_gets_through_retries_and_into_the_dead_letters(
    shop: Shop, runs: Runs
) -> None:
    """The headers of a message must fit a frame, or the broker closes the connection."""

    def deep(levels: int, text: str) -> None:
        if not levels:
            raise ValueError(text)
        deep(levels - 1, text)

    @shop.bus.handler("retries.sent", queue="huge", retry=Retry(max_attempts=2))
    def huge(event: Sent, context: Context) -> None:
        runs.note(event, context)
        deep(200, "\ud800\0\N{GRINNING FACE}" * 300_000)

    with shop.running():
        shop.publish(Sent(number=1))
        [parked] = shop.parked("huge")
    assert runs.attempts == {("huge", 1): [1, 2]}
    assert len(parked.headers[TRACEBACK_HEADER]) <= 4_000
    assert parked.headers[ATTEMPTS_HEADER] == 2
    assert parked.headers[FIRST_ERROR_HEADER] == "ValueError"


def test_headers_that_a_producer_forged_neither_steer_a_retry_nor_get_into_a_dead_letter(
    shop: Shop, runs: Runs
) -> None:
    @shop.bus.handler("retries.sent", queue="forged", retry=Retry(max_attempts=2))
    def react(event: Sent, context: Context) -> None:
        runs.note(event, context)
        raise ValueError("no")

    forged = {
        HANDLER_HEADER: "another",
        ATTEMPTS_HEADER: 77,
        NOT_BEFORE_HEADER: int(time.time() * 1000) + 3_600_000,
        FIRST_ERROR_HEADER: "Forged",
        FIRST_ERROR_AT_HEADER: 1,
        TRACEBACK_HEADER: "forged",
    }
    with shop.running():
        message = to_publication(_stored(shop, Sent(number=1)))
        publisher = shop.bus.broker.publisher("foreign")
        publisher.wait_ready(30)
        publisher.publish([message.with_headers(forged)]).result(30)
        publisher.close()
        [parked] = shop.parked("forged")
    assert runs.attempts == {("react", 1): [1, 2]}
    assert parked.headers[HANDLER_HEADER] == "react"
    assert parked.headers[FIRST_ERROR_HEADER] == "ValueError"
    assert parked.headers[FIRST_ERROR_AT_HEADER] > 1
    assert "forged" not in parked.headers[TRACEBACK_HEADER]


def _stored(shop: Shop, event: Event) -> StoredRow:
    row = make_row(event, source="elsewhere", max_bytes=1_000)
    return StoredRow(0, row.name, None, row.attributes, row.body, row.created_at_ms)


def _send_again(shop: Shop) -> None:
    with shop.bus.engine.connect() as connection:
        row: Any = connection.execute(sa.select(tables.event_log)).mappings().first()
    stored = StoredRow(0, row["name"], None, row["attributes"], row["body"], row["created_at_ms"])
    publisher = shop.bus.broker.publisher("again")
    publisher.wait_ready(30)
    publisher.publish([to_publication(stored)]).result(30)
    publisher.close()
