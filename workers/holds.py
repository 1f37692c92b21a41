"""Events that a queue refuses: which the dispatcher holds back, when it tries, how it resumes.

A refused publish has reached the other queues of its event all the same, and reaches them once more
each time it is tried again. So a refused event is held back as a whole, by its name; one of it is
sent to try, after growing pauses; and once that is taken the number under way grows slowly, so that
the next refusal meets few.

Decisions only: the clock comes from outside, and nothing here reads or sends.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

log = logging.getLogger("eventbus.dispatcher")

#: Seconds before the first try, and at the most between two. Each is between half of that and all
#: of it, so that several dispatchers do not try in the same moment.
FIRST_TRY_SECONDS = 1.0
LONGEST_TRY_SECONDS = 60.0

#: At most one in so many publishes of an event that was refused before may be refused again when
#: its queue fills up: what is under way then is this share of what was taken since it flows.
SHARE = 50

#: A run of fewer taken than this is no relief: the pauses go on growing.
RELIEF = 10

#: How often held rows are looked at that wait for something else.
STUCK_SECONDS = 1.0
LOOK_SECONDS = 0.05

#: After so many seconds without a refusal an event is like any other.
CALM_SECONDS = 600.0


@dataclass(slots=True)
class Hold:
    """What is known of one event's name.

    Parameters
    ----------
    closed:
        It was refused, and nothing was taken since.
    backlog:
        Rows of it are held in the outbox; they go before new ones.
    window, ceiling:
        How many may be under way, and how far that may grow for now.
    under_way:
        How many are.
    trying:
        What is under way is the one that is to try.
    look_at:
        The held rows all wait for something else; not worth a look before.
    taken:
        Publishes that were taken since the last refusal.
    pause_seconds:
        Before the next try; `try_at` is its time.
    """

    closed: bool = True
    backlog: bool = True
    window: int = 1
    ceiling: int = 1
    under_way: int = 0
    trying: bool = False
    taken: int = 0
    pause_seconds: float = FIRST_TRY_SECONDS
    try_at: float = 0.0
    look_at: float = 0.0
    refused_at: float = 0.0

    def room(self, now: float) -> int:
        """How many more may be sent now."""
        if self.closed:
            return 1 if not self.under_way and now >= self.try_at else 0
        return max(self.window - self.under_way, 0)

    def begun(self, count: int) -> None:
        """Note `count` publishes that begin."""
        self.under_way += count
        self.trying = self.closed

    def answered(self, sent: int, taken: int, refused: int, now: float) -> None:
        """Note the end of `sent` publishes; what is neither taken nor refused is unknown."""
        self.under_way -= sent
        if self.closed and not (self.trying and sent):
            return  # sent before the refusal that closed it
        self.taken += taken
        if refused:
            self._refused(now)
        elif taken:
            self.closed = False
            self.ceiling = max(self.ceiling, self.taken // SHARE)
            self.window = min(self.window * 2, self.ceiling)
        elif self.closed:
            self._pause(now)

    def seconds_to_look(self, now: float) -> float:
        """Until rows that are held may be worth a look."""
        return max(self.look_at, self.try_at if self.closed else 0.0) - now

    def _refused(self, now: float) -> None:
        if self.taken >= RELIEF or not self.refused_at:
            self.pause_seconds = FIRST_TRY_SECONDS
        else:
            self.pause_seconds = min(self.pause_seconds * 2, LONGEST_TRY_SECONDS)
        self.closed = True
        self.window = 1
        self.ceiling = max(1, self.taken // SHARE)
        self.taken = 0
        self.refused_at = now
        self._pause(now)

    def _pause(self, now: float) -> None:
        self.try_at = now + self.pause_seconds * random.uniform(0.5, 1.0)


class Holds:
    """The events that need care, by name.

    Parameters
    ----------
    bound_of:
        The smallest bound of the queues known to refuse what is too much of an event; None where
        none is known. Such an event is cautious from the start.
    """

    def __init__(self, bound_of: Callable[[str], int | None] = lambda name: None) -> None:
        self._bound_of = bound_of
        self._holds: dict[str, Hold] = {}
        self._known: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._holds)

    def __iter__(self) -> Iterator[tuple[str, Hold]]:
        return iter(list(self._holds.items()))

    def meet(self, names: Iterable[str]) -> None:
        """Events of these names are about to be sent."""
        for name in set(names) - self._known:
            self._known.add(name)
            bound = self._bound_of(name)
            if bound is not None and name not in self._holds:
                share = max(1, bound // SHARE)
                self._holds[name] = Hold(False, False, window=share, ceiling=share)

    def is_closed(self, name: str) -> bool:
        """Whether events of that name are held back."""
        hold = self._holds.get(name)
        return hold is not None and hold.closed

    def found_held(self, names: Iterable[str], now: float) -> None:
        """Rows of these names are held in the outbox, by an earlier dispatcher perhaps."""
        for name in names:
            self._holds.setdefault(name, Hold(try_at=now, refused_at=now)).backlog = True

    def count_under_way(self, names: Iterable[str]) -> Counter[str]:
        """Note publishes of these `names` that begin; returns those that need care."""
        if not self._holds:
            return Counter()
        counts = Counter(name for name in names if name in self._holds)
        for name, count in counts.items():
            self._holds[name].begun(count)
        return counts

    def answered(self, name: str, sent: int, taken: int, refused: int, now: float) -> None:
        """Note the end of publishes of `name`; `sent` of them were counted as under way."""
        hold = self._holds.get(name)
        if hold is None:
            if not refused:
                return
            hold = self._holds[name] = Hold(closed=False, backlog=False)
        was_closed = hold.closed
        hold.answered(sent, taken, refused, now)
        hold.backlog = hold.backlog or refused > 0
        if hold.closed and not was_closed:
            log.warning(
                "event %r is held back in the outbox: a queue is full or has no leader; "
                "%d refused, next try in %.0f s",
                name,
                refused,
                hold.try_at - now,
            )
        elif was_closed and not hold.closed:
            log.info("event %r is taken again; what was held back follows", name)

    def forget_calm(self, now: float) -> None:
        """Let go of events that have flown for long."""
        for name, hold in self:
            if hold.closed or hold.backlog or hold.under_way:
                continue
            if now - hold.refused_at > CALM_SECONDS:
                del self._holds[name]
                self._known.discard(name)

    def names(self) -> list[str]:
        """The events of which rows wait."""
        return sorted(name for name, hold in self if hold.closed or hold.backlog)

    def with_backlog(self, now: float) -> dict[str, Hold]:
        """Those of which held rows are worth a look now."""
        return {n: h for n, h in self if h.backlog and h.seconds_to_look(now) <= 0 and h.room(now)}

    def seconds_to_look(self, now: float) -> float:
        """Until held rows are worth a look again; never so short as to be a busy loop."""
        waits = [h.seconds_to_look(now) for _, h in self if h.backlog and not h.under_way]
        return max(min(waits, default=math.inf), LOOK_SECONDS)
