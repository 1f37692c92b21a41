"""What waits in a worker, and what of it is to be begun next.

    deliveries ──▶ backlog of each queue ──▶ gate of each handler ──▶ claimed ──▶ running
                                                     suspects: alone ──▶

It decides and remembers, and does nothing itself: no clock, no thread, no broker, no store. Times
are seconds of any clock that only grows.

- A *gate* lets the jobs of a handler through while its pool has room, and within its
  ``max_concurrency`` and ``rate_limit``. What waits there is not claimed: no lease runs, nobody is
  blamed if the worker dies.
- Of messages that were delivered before, no more are claimed than can begin at once: the culprit of
  a crash is among what was begun, and the claim is how that is known.
- A *suspect*, whose earlier start ended without an outcome, runs when nothing else does.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter

from eventbus.brokers.port import Delivery
from eventbus.outcome import RetryAfter
from eventbus.subscription import Handler, Subscription

from ..work import Job
from .token_bucket import TokenBucket

#: Suspects wait for a moment when nothing else is to be done, at most for so long.
PATIENCE_SECONDS = 5.0

#: What waits longer goes back to its queue, where others may have it: a consumer that keeps a
#: message for half an hour is thrown out by RabbitMQ (``consumer_timeout``).
HOLD_SECONDS = 300.0

#: Suspects may wait so much longer, for handlers that run: once they went back, others would begin
#: in their place, and they would never be alone.
SUSPECTS_HOLD_LONGER_SECONDS = 900.0

#: Work of a rate-limited queue to have at hand.
RATED_PREFETCH_SECONDS = 60.0


@dataclass(slots=True)
class Room:
    """What the pool of one kind of handlers has room for.

    Parameters
    ----------
    places:
        Jobs that run at the same time.
    ahead:
        How many times as many may be claimed, so that many short ones share a round trip.
    used:
        Jobs that are claimed and have not ended.
    """

    places: int
    ahead: int = 1
    used: int = 0

    @property
    def free(self) -> int:
        """Jobs that may be claimed now."""
        return self.places * self.ahead - self.used


class Gate:
    """Lets the jobs of one handler through.

    Parameters
    ----------
    patience:
        Jobs that may wait here for the handler's own limits; more are put off, because they take
        up the prefetch of a queue that has other handlers too.
    """

    __slots__ = ("_bucket", "_most", "_patience", "_room", "queue", "running", "waiting")

    def __init__(
        self, handler: Handler, queue: str, room: Room, patience: float, now: float
    ) -> None:
        self.queue = queue
        self.running = 0
        #: Since when each job has waited.
        self.waiting: deque[tuple[float, Job]] = deque()
        self._room = room
        self._most = handler.max_concurrency or math.inf
        limit = handler.rate_limit
        self._patience = patience if handler.max_concurrency or limit else math.inf
        self._bucket = None if limit is None else TokenBucket.full(limit, now)

    def admits(self, job: Job, now: float) -> bool:
        """Whether `job` may be claimed now."""
        room = self._room
        limit = room.places
        if not job.work.delivery.redelivered:
            limit *= room.ahead
        return (
            room.used < limit
            and self.running < self._most
            and (self._bucket is None or self._bucket.has_token(now))
        )

    def enter(self, now: float) -> None:
        """A job is claimed."""
        self._room.used += 1
        self.running += 1
        if self._bucket is not None:
            self._bucket = self._bucket.taken(now)

    def leave(self, *, begun: bool) -> None:
        """A claimed job has ended, or was not begun after all."""
        self._room.used -= 1
        self.running -= 1
        if self._bucket is not None and not begun:
            self._bucket = self._bucket.given_back()

    def put_off_seconds(self) -> float | None:
        """For how long one more job is to be put off, None where it may wait here."""
        if len(self.waiting) < self._patience:
            return None
        if self._bucket is None:
            return 1.0
        return max(1.0, len(self.waiting) / self._bucket.per_second)

    def opens_at(self) -> float:
        """When the rate lets the next job through; infinite where there is no rate."""
        return math.inf if self._bucket is None else self._bucket.next_at()


class Backlog:
    """What one queue has delivered and was not looked at yet, in chunks as they arrived."""

    __slots__ = ("_chunks", "size")

    def __init__(self) -> None:
        self._chunks: deque[tuple[float, deque[Delivery]]] = deque()
        self.size = 0

    def add(self, deliveries: Iterable[Delivery], now: float) -> None:
        """Keep `deliveries`, which have come now."""
        chunk = deque(deliveries)
        self._chunks.append((now, chunk))
        self.size += len(chunk)

    def take(self, most: int) -> list[Delivery]:
        """Up to `most` of them, the oldest first."""
        taken: list[Delivery] = []
        while self._chunks and len(taken) < most:
            chunk = self._chunks[0][1]
            if len(chunk) <= most - len(taken):
                taken.extend(chunk)
                self._chunks.popleft()
            else:
                taken.extend(chunk.popleft() for _ in range(most - len(taken)))
        self.size -= len(taken)
        return taken

    def take_older(self, than: float) -> list[Delivery]:
        """Those that came before the time `than`."""
        taken: list[Delivery] = []
        while self._chunks and self._chunks[0][0] < than:
            taken.extend(self._chunks.popleft()[1])
        self.size -= len(taken)
        return taken


class Scheduler:
    """Chooses what a worker begins next.

    Parameters
    ----------
    subscriptions:
        Full queue name to subscription.
    plain, coroutines:
        The pools' rooms for the two kinds of handlers.
    prefetch:
        Messages that a queue hands out.
    """

    def __init__(
        self,
        subscriptions: dict[str, Subscription],
        plain: Room,
        coroutines: Room,
        prefetch: int,
        now: float,
    ) -> None:
        self._plain = plain
        self._coroutines = coroutines
        #: Queues of which nothing is begun but a probe.
        self.closed: set[str] = set()
        self._backlogs = {queue: Backlog() for queue in subscriptions}
        #: The queues, the one whose turn it is first.
        self._turns = deque(subscriptions)
        self._rooms: dict[str, list[Room]] = {}
        self._gates: dict[str, Gate] = {}
        for queue, subscription in subscriptions.items():
            rooms = [self._room_of(handler) for handler in subscription.handlers]
            self._rooms[queue] = list({id(room): room for room in rooms}.values())
            patience = prefetch / 2 / len(rooms) if len(rooms) > 1 else math.inf
            for handler, room in zip(subscription.handlers, rooms, strict=True):
                self._gates[handler.name] = Gate(handler, queue, room, patience, now)
        self._at_gates = 0
        self._suspects: deque[tuple[float, Job]] = deque()
        self._alone: Job | None = None

    def _room_of(self, handler: Handler) -> Room:
        return self._coroutines if handler.is_coroutine else self._plain

    # -- what came ----------------------------------------------------------------------------

    def add(self, deliveries: Sequence[Delivery], now: float) -> None:
        """Keep what a consumer has delivered."""
        for queue, some in itertools.groupby(deliveries, _QUEUE):
            self._backlogs[queue].add(some, now)

    @property
    def waiting(self) -> int:
        """Messages and jobs that were delivered and not begun."""
        backlogs = sum(backlog.size for backlog in self._backlogs.values())
        return backlogs + self._at_gates + len(self._suspects)

    def holds(self, queue: str) -> bool:
        """Whether something of `queue` waits here."""
        return (
            self._backlogs[queue].size > 0
            or any(gate.waiting for gate in self._gates_of(queue))
            or any(job.queue == queue for _, job in self._suspects)
        )

    def has_room(self, queue: str) -> bool:
        """Whether the pools have room for a handler of `queue`."""
        return any(room.free > 0 for room in self._rooms[queue])

    def _gates_of(self, queue: str) -> list[Gate]:
        return [gate for gate in self._gates.values() if gate.queue == queue]

    # -- what is next -------------------------------------------------------------------------

    def next_deliveries(self, now: float) -> list[Delivery]:
        """Messages to be looked at: of each queue whose handlers have room, in turn."""
        queues = [queue for queue in self._turns if self._has_next(queue)]
        if not queues or self._holds_back(now):
            return []
        if len(queues) > 1:
            self._turns.rotate(-1)
        taken: list[Delivery] = []
        for left, queue in zip(range(len(queues), 0, -1), queues, strict=True):
            free = max(room.free for room in self._rooms[queue]) - len(taken)
            taken += self._backlogs[queue].take(-(-free // left))
        return taken

    def _has_next(self, queue: str) -> bool:
        return self._backlogs[queue].size > 0 and queue not in self.closed and self.has_room(queue)

    def admit(self, jobs: Iterable[Job], now: float) -> list[Job]:
        """Of jobs that have just been made, those to claim now.

        The others wait at their gates, or have an outcome: they are put off.
        """
        admitted = []
        for job in jobs:
            gate = self._gates[job.handler.name]
            if not gate.waiting and gate.admits(job, now):
                gate.enter(now)
                admitted.append(job)
            elif (seconds := gate.put_off_seconds()) is not None:
                job.outcome = RetryAfter(timedelta(seconds=seconds), counted=False)
            else:
                gate.waiting.append((now, job))
                self._at_gates += 1
        return admitted

    def put_back(self, jobs: Sequence[Job], now: float) -> None:
        """Jobs that were to be claimed wait at their gates again, before the others."""
        for job in reversed(jobs):
            self.leave(job, begun=False)
            self._gates[job.handler.name].waiting.appendleft((now, job))
        self._at_gates += len(jobs)

    def next_jobs(self, now: float) -> list[Job]:
        """The jobs that waited at a gate and are to be claimed now."""
        if not self._at_gates or self._holds_back(now):
            return []
        admitted: list[Job] = []
        for gate in self._gates.values():
            while gate.waiting:
                job = gate.waiting[0][1]
                if (gate.queue in self.closed and not job.probe) or not gate.admits(job, now):
                    break
                gate.waiting.popleft()
                gate.enter(now)
                admitted.append(job)
        self._at_gates -= len(admitted)
        return admitted

    def leave(self, job: Job, *, begun: bool = True) -> None:
        """A job that was to be claimed has ended, or was not begun after all."""
        self._gates[job.handler.name].leave(begun=begun)
        if job is self._alone:
            self._alone = None

    # -- suspects -----------------------------------------------------------------------------

    def suspect(self, job: Job, now: float) -> None:
        """A job that was to be claimed may kill its worker: it waits until it can run alone."""
        self.leave(job, begun=False)
        self._suspects.append((now, job))

    def next_suspect(self, now: float) -> Job | None:
        """A suspect to claim and to run now, with nothing beside it until it has left."""
        if not self._suspects or self._is_running() or not self._suspect_is_due(now):
            return None
        # Of the innocent who were there when a worker was killed for another reason, the next one
        # that dies with one shall not always take the same.
        candidates = [entry for entry in self._suspects if self._may_run(entry[1])]
        found = min(candidates, key=lambda entry: entry[1].lost_starts)
        self._suspects.remove(found)
        self._alone = found[1]
        self._gates[self._alone.handler.name].enter(now)
        return self._alone

    def _holds_back(self, now: float) -> bool:
        """Whether nothing may begin, because a suspect runs or is due to."""
        return self._alone is not None or (bool(self._suspects) and self._suspect_is_due(now))

    def _suspect_is_due(self, now: float) -> bool:
        since = [since for since, job in self._suspects if self._may_run(job)]
        if not since:
            return False
        return now - min(since) >= PATIENCE_SECONDS or not (self._is_running() or self._has_more())

    def _is_running(self) -> bool:
        return bool(self._plain.used or self._coroutines.used)

    def _has_more(self) -> bool:
        """Whether something other than suspects waits and may begin."""
        return any(
            backlog.size and queue not in self.closed for queue, backlog in self._backlogs.items()
        ) or any(gate.waiting and gate.queue not in self.closed for gate in self._gates.values())

    def _may_run(self, job: Job) -> bool:
        return job.probe or job.queue not in self.closed

    # -- what is not begun --------------------------------------------------------------------

    def probe(self, queue: str) -> Job | Delivery | None:
        """What to try of the closed `queue`: a job, which waits on as a probe, or a message."""
        waiting = [gate.waiting[0][1] for gate in self._gates_of(queue) if gate.waiting]
        suspects = [job for _, job in self._suspects if job.queue == queue]
        if not waiting and self._backlogs[queue].size:
            return self._backlogs[queue].take(1)[0]
        for job in waiting or suspects:
            job.probe = True
            return job
        return None

    def take_back(self, queue: str, before: float = math.inf) -> tuple[list[Delivery], list[Job]]:
        """Take out what waits of `queue` since before that time, to give it back.

        Suspects only if they wait `SUSPECTS_HOLD_LONGER_SECONDS` longer.
        """
        jobs = []
        for gate in self._gates_of(queue):
            early, gate.waiting = _split(gate.waiting, lambda entry: entry[0] < before)
            jobs += early
        self._at_gates -= len(jobs)
        since = before - SUSPECTS_HOLD_LONGER_SECONDS
        suspects, self._suspects = _split(
            self._suspects, lambda entry: entry[0] < since and entry[1].queue == queue
        )
        return self._backlogs[queue].take_older(before), jobs + suspects

    def wait_seconds(self, now: float) -> float:
        """After how long there may be something to begin although nothing happens."""
        times = [since + PATIENCE_SECONDS for since, _ in self._suspects]
        if self._at_gates:
            times += [gate.opens_at() for gate in self._gates.values() if gate.waiting]
        # What was due before could not begin, and waits for something else to end.
        return min((at - now for at in times if at > now), default=math.inf)


_Entries = deque[tuple[float, Job]]

_QUEUE = attrgetter("queue")


def _split(
    entries: _Entries, chosen: Callable[[tuple[float, Job]], bool]
) -> tuple[list[Job], _Entries]:
    """The jobs of those that are chosen, and the others."""
    taken = [entry[1] for entry in entries if chosen(entry)]
    return taken, deque(entry for entry in entries if not chosen(entry))


def prefetch_of(subscription: Subscription, prefetch: int) -> int:
    """The prefetch of a queue; small where its handlers are slowed down by their rates."""
    limits = [handler.rate_limit for handler in subscription.handlers]
    rates = [limit.per_second for limit in limits if limit is not None]
    if len(rates) < len(limits):
        return prefetch
    return max(1, min(prefetch, math.ceil(sum(rates) * RATED_PREFETCH_SECONDS)))
