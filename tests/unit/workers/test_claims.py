"""Claims: what is held, what is refused, what happens while the store is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Event, EventBus
from eventbus.brokers.port import Delivery
from eventbus.envelope import Envelope
from eventbus.errors import IdempotencyStoreUnavailable
from eventbus.message import Message
from eventbus.outcome import Ack, DeadLetter, RetryAfter, Return
from eventbus.workers.claims import Claims
from eventbus.workers.idempotency.port import Claim, Key, Verdict
from eventbus.workers.work import Job, Work


class Paid(Event, name="claims.paid"):
    """An event."""


bus = EventBus("shop")


@bus.handler("claims.paid", queue="q")
def handle(event: Paid) -> None:
    """A handler."""


@bus.handler("claims.paid", queue="q", transactional=True)
def book(event: Paid) -> None:
    """A handler whose claims only count its starts."""


class Store:
    """Answers what the test has prepared; while `away` it does not answer."""

    def __init__(self) -> None:
        self.verdict = Claim(Verdict.MINE, 1)
        self.away = 0
        self.calls: list[tuple[str, list[str]]] = []

    def _note(self, name: str, keys: Sequence[Key]) -> None:
        self.calls.append((name, [key.event_id for key in keys]))
        if self.away:
            self.away -= 1
            raise IdempotencyStoreUnavailable("redis is away")

    def claim(
        self, keys: Sequence[Key], token: str, lease_ms: int, *, alone: bool = False
    ) -> list[Claim]:
        self._note("claim", keys)
        return [self.verdict] * len(keys)

    def remember(self, keys: Sequence[Key], token: str, ttl_ms: int) -> list[bool]:
        self._note("remember", keys)
        return [True] * len(keys)

    def release(self, keys: Sequence[Key], token: str) -> None:
        self._note("release", keys)

    def unclaim(self, keys: Sequence[Key], token: str, lease_ms: int = 0, keep_ms: int = 1) -> None:
        self._note(f"unclaim for {lease_ms} ms", keys)


def _job(event_id: str, handler: str = "handle") -> Job:
    work = Work(Delivery("shop.q", event_id, Message(b"{}", "claims.paid")))
    envelope = Envelope(event_id, "shop", "claims.paid")
    return Job(work, bus.handlers[handler], Paid(), envelope, Key(handler, event_id, "f"), 1)


@pytest.fixture
def store() -> Store:
    return Store()


def _claims(store: Any, *, stopping: bool = False, failure: str = "pause") -> Claims:
    bus.settings = replace(bus.settings, idempotency_failure=failure)
    return Claims(bus, store, lambda seconds: stopping)


def test_what_is_mine_runs_and_is_remembered(store: Store) -> None:
    claims = _claims(store)
    job = _job("1")
    assert claims.claim([job]) == [job]
    job.outcome = Ack()
    claims.conclude([job])
    assert store.calls == [("claim", ["1"]), ("remember", ["1"])]


def test_a_failure_is_released(store: Store) -> None:
    claims = _claims(store)
    job = _job("1")
    claims.claim([job])
    job.outcome = DeadLetter("no")
    claims.conclude([job])
    assert store.calls[-1] == ("release", ["1"])


def _ended(job: Job, outcome: Any, **attributes: Any) -> Job:
    job.outcome = outcome
    for name, value in attributes.items():
        setattr(job, name, value)
    return job


@pytest.mark.parametrize(
    ("handler", "outcome", "attributes", "call"),
    [
        ("handle", Return(), {}, "unclaim for 0 ms"),
        ("handle", RetryAfter(timedelta(1)), {}, "release"),
        ("handle", RetryAfter(timedelta(1), counted=False), {}, "release"),
        ("handle", DeadLetter("kills"), {"doomed": True}, "unclaim for 0 ms"),
        ("book", Ack(), {}, "release"),
        ("book", RetryAfter(timedelta(1)), {}, "release"),
        ("book", RetryAfter(timedelta(1), counted=False), {"busy": True}, "unclaim for 0 ms"),
    ],
)
def test_a_start_is_given_back_where_there_was_none_and_else_it_has_its_outcome(
    store: Store, handler: str, outcome: Any, attributes: dict[str, Any], call: str
) -> None:
    """Released, an event that has killed workers before would begin anew at one."""
    claims = _claims(store)
    job = _job("1", handler)
    assert claims.claim([job]) == [job]
    claims.conclude([_ended(job, outcome, **attributes)])
    assert store.calls == [("claim", ["1"]), (call, ["1"])]


def test_what_runs_on_at_the_end_keeps_its_lease_and_not_its_start(store: Store) -> None:
    claims = _claims(store)
    jobs = [_job("1"), _job("2", "book"), _job("3")]
    assert len(claims.claim(jobs[:2])) == 2
    claims.abandon(jobs)
    assert store.calls[2:] == [("unclaim for 30000 ms", ["1"]), ("unclaim for 1 ms", ["2"])]


def test_a_suspect_is_neither_run_nor_refused_until_it_is_claimed_alone(store: Store) -> None:
    store.verdict = Claim(Verdict.SUSPECT, 2)
    claims = _claims(store)
    job = _job("1")
    assert claims.claim([job]) == []
    assert (job.outcome, job.lost_starts, job.claimed) == (None, 2, False)
    store.verdict = Claim(Verdict.MINE, 3)
    assert claims.claim([job], alone=True) == [job]


def test_an_event_that_runs_here_does_not_run_here_a_second_time(store: Store) -> None:
    claims = _claims(store)
    first, copy, again = _job("1"), _job("1"), _job("1")
    assert claims.claim([first, copy]) == [first]
    assert claims.claim([again]) == []
    for job in (copy, again):
        assert isinstance(job.outcome, RetryAfter)
        assert not job.outcome.counted
    first.outcome = Ack()
    claims.conclude([first])
    later = _job("1")
    assert claims.claim([later]) == [later]


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Claim(Verdict.DONE), Ack),
        (Claim(Verdict.BUSY), RetryAfter),
        (Claim(Verdict.MISMATCH), DeadLetter),
        (Claim(Verdict.MINE, bus.settings.max_starts + 1), DeadLetter),
    ],
)
def test_what_is_not_to_run_has_its_outcome(store: Store, verdict: Claim, outcome: type) -> None:
    store.verdict = verdict
    job = _job("1")
    assert _claims(store).claim([job]) == []
    assert isinstance(job.outcome, outcome)


def test_a_store_that_is_away_is_waited_for(store: Store) -> None:
    store.away = 3
    job = _job("1")
    claims = _claims(store)
    assert claims.claim([job]) == [job]
    assert len(store.calls) == 4
    assert claims.trouble is None


def test_at_a_stop_nobody_waits_and_nothing_counts_as_a_duplicate(store: Store) -> None:
    store.away = 100
    job = _job("1")
    claims = _claims(store, stopping=True)
    assert claims.claim([job]) == []
    assert isinstance(job.outcome, Return)
    assert "away" in str(claims.trouble)


def test_continue_goes_on_without_the_store_where_asked_to(store: Store) -> None:
    store.away = 1
    job = _job("1")
    assert _claims(store, failure="continue").claim([job]) == [job]
    assert not job.claimed
