"""Claims of a worker on idempotency keys: taken in batches, renewed while handlers run."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from eventbus.backoff import Backoff
from eventbus.errors import IdempotencyStoreUnavailable
from eventbus.outcome import Ack, DeadLetter, RetryAfter, Return

from .idempotency.port import Claim, IdempotencyStore, Key, Verdict
from .pipeline import BUSY_DELAY
from .work import Job

if TYPE_CHECKING:
    from eventbus.bus import EventBus

log = logging.getLogger("eventbus.worker")

_Answer = TypeVar("_Answer")

#: The lease of a transactional handler's claim, which only counts its starts: the database keeps
#: others away, and nobody is to wait for the lease of a worker that died.
COUNTING_LEASE_MS = 1

#: How long it is known of an event that it was parked for killing its workers. Of one that was
#: forwarded and not yet acknowledged when its worker died, another copy may come; sent again by an
#: operator, later, it is to have its chance.
KEEP_DOOMED_MS = 60_000

#: With ``idempotency_failure=continue``: how long a store that is away is not asked again. Each
#: question may take until its time-out.
AWAY_SECONDS = 2.0


class Claims:
    """Asks the idempotency store and keeps what it gave.

    While the store is away its methods wait for it (``idempotency_failure=pause``), as long as
    `stopping` does not say otherwise; with ``continue`` they go on without it.
    """

    def __init__(
        self, bus: EventBus, store: IdempotencyStore, stopping: Callable[[float], bool]
    ) -> None:
        settings = bus.settings
        self._store = store
        self._stopping = stopping
        self._pause = settings.idempotency_failure == "pause"
        self._token = uuid.uuid4().hex
        self._lease_ms = int(settings.claim_lease.total_seconds() * 1000)
        self._ttl_ms = int(settings.idempotency_ttl.total_seconds() * 1000)
        self._max_starts = settings.max_starts
        self._held: set[Key] = set()
        self._away_until = 0.0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="eventbus-leases", daemon=True)
        #: Why the worker is waiting, in words for an operator.
        self.trouble: str | None = None

    def start(self) -> None:
        """Begin to renew leases."""
        self._renewer.start()

    def close(self) -> None:
        """Stop renewing; claims that are still held run out."""
        self._closed.set()
        if self._renewer.is_alive():
            self._renewer.join(timeout=5)

    def claim(self, jobs: Sequence[Job], *, alone: bool = False) -> list[Job]:
        """Claim the jobs' keys; returns those to run, the others have their outcome.

        Of a job that may kill its worker neither is true: it is not claimed, and waits until it is
        claimed `alone`, with nothing beside it.
        """
        counting = [job for job in jobs if job.handler.transactional]
        if not counting:
            return self._claim(self._not_held(jobs), self._lease_ms, alone)
        others = self._not_held([job for job in jobs if not job.handler.transactional])
        runnable = self._claim(others, self._lease_ms, alone)
        return runnable + self._claim(counting, COUNTING_LEASE_MS, alone)

    def _claim(self, jobs: Sequence[Job], lease_ms: int, alone: bool) -> list[Job]:
        if not jobs:
            return []
        keys = [job.key for job in jobs]
        claims = self._ask(lambda: self._store.claim(keys, self._token, lease_ms, alone=alone))
        if claims is None:
            self._drop(keys)
            if self._pause:
                for job in jobs:
                    job.outcome = Return()
                return []
            return list(jobs)
        runnable = []
        not_ours = []
        doomed = []
        for job, claim in zip(jobs, claims, strict=True):
            verdict = claim.verdict
            if verdict is Verdict.MINE:
                job.claimed = True
                if claim.starts <= self._max_starts:
                    runnable.append(job)
                    continue
            else:
                not_ours.append(job.key)
            if verdict is not Verdict.SUSPECT:
                _refuse(job, claim)
                continue
            job.lost_starts = claim.starts
            if claim.starts >= self._max_starts:
                doomed.append(job)
        if not_ours:
            self._drop(not_ours)
        if doomed:
            # To be parked, not run; claimed first, so that nobody else runs it meanwhile.
            runnable += self.claim(doomed, alone=True)
        return runnable

    def _not_held(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs whose keys this worker does not hold already; they are held from now on.

        The store gives a key to the same token again, so it would let this worker run an event
        twice at a time: one that came in two copies, or again after the connection broke.
        """
        fresh = []
        with self._lock:
            for job in jobs:
                if job.key in self._held:
                    job.outcome = RetryAfter(BUSY_DELAY, counted=False)
                else:
                    self._held.add(job.key)
                    fresh.append(job)
        return fresh

    def conclude(self, jobs: Sequence[Job]) -> None:
        """Remember what succeeded and release what failed; the jobs have their outcomes.

        What was not begun is given back with its start: released, an event that has killed workers
        would begin anew at one.
        """
        done, failed, not_begun, doomed = [], [], [], []
        for job in jobs:
            if not job.claimed:
                continue
            if job.doomed:
                doomed.append(job.key)
            elif isinstance(job.outcome, Return) or job.busy:
                not_begun.append(job)
            elif isinstance(job.outcome, Ack) and not job.handler.transactional:
                done.append(job)
            else:
                failed.append(job.key)
        if done:
            keys = [job.key for job in done]
            kept = self._ask(lambda: self._store.remember(keys, self._token, self._ttl_ms))
            for job, still_mine in zip(done, kept or [True] * len(done), strict=True):
                if not still_mine:
                    log.warning(
                        "the lease of handler %s on %s ran out while it ran; another worker may "
                        "have run it too",
                        job.handler.name,
                        job.key.event_id,
                    )
            self._drop(keys)
        if failed:
            self._ask(lambda: self._store.release(failed, self._token))
            self._drop(failed)
        self.unclaim(not_begun)
        if doomed:
            self._ask(lambda: self._store.unclaim(doomed, self._token, 0, KEEP_DOOMED_MS))
            self._drop(doomed)

    def unclaim(self, jobs: Sequence[Job]) -> None:
        """Give back the claims of jobs that are to wait on."""
        keys = [job.key for job in jobs if job.claimed]
        if keys:
            self._ask(lambda: self._store.unclaim(keys, self._token))
            self._drop(keys)
        for job in jobs:
            job.claimed = False

    def abandon(self, jobs: Sequence[Job]) -> None:
        """Leave the claims of jobs that still run while the process ends.

        They run out by themselves, as their handlers may still be running. Their starts do not
        count: it is not they who end the process.
        """
        for transactional, lease_ms in ((False, self._lease_ms), (True, COUNTING_LEASE_MS)):
            keys = [
                job.key
                for job in jobs
                if job.claimed and job.handler.transactional is transactional
            ]
            if keys:
                self._ask(partial(self._store.unclaim, keys, self._token, lease_ms))
                self._drop(keys)

    def _drop(self, keys: Sequence[Key]) -> None:
        with self._lock:
            self._held.difference_update(keys)

    def _ask(self, request: Callable[[], _Answer]) -> _Answer | None:
        """The store's answer; None when it is away and we do not wait for it (any longer)."""
        if time.monotonic() < self._away_until:
            return None
        backoff = Backoff(longest=2.0)
        while True:
            try:
                answer = request()
            except IdempotencyStoreUnavailable as error:
                if str(error) != self.trouble:
                    what = "waiting for it" if self._pause else "going on without, at least once"
                    log.warning("idempotency store: %s; %s", error, what)
                    self.trouble = str(error)
                if not self._pause:
                    self._away_until = time.monotonic() + AWAY_SECONDS
                    return None
                if self._stopping(backoff.next()):
                    return None
            else:
                if self.trouble is not None:
                    log.info("the idempotency store is back")
                    self.trouble = None
                return answer

    def _renew(self) -> None:
        interval = timedelta(milliseconds=self._lease_ms).total_seconds() / 3
        while not self._closed.wait(interval):
            with self._lock:
                keys = list(self._held)
            try:
                for start in range(0, len(keys), 500):
                    self._store.renew(keys[start : start + 500], self._token, self._lease_ms)
            except Exception as error:  # of whatever kind: without this thread all leases run out
                log.warning("idempotency store: %s; %d leases are not renewed", error, len(keys))


def _refuse(job: Job, claim: Claim) -> None:
    if claim.verdict is Verdict.DONE:
        job.outcome = Ack()
    elif claim.verdict is Verdict.BUSY:
        job.outcome = RetryAfter(BUSY_DELAY, counted=False)
    elif claim.verdict is Verdict.MISMATCH:
        job.outcome = DeadLetter(
            f"handler {job.handler.name!r} has handled an event with the id {job.envelope.id!r} "
            f"and other data; the id was used twice"
        )
    else:
        job.doomed = True
        job.outcome = DeadLetter(
            f"handler {job.handler.name!r} was started {claim.starts - 1} times on it and its "
            f"worker died each time"
        )
