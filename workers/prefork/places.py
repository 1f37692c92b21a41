"""The places of the pool: each has one child that works, and those before it that finish."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from eventbus import errors
from eventbus.errors import EventBusError
from eventbus.workers.monitoring.report import Report

from .channel import Message
from .crash_loop import STABLE_SECONDS, CrashLoop
from .starting import ChildProcess


@dataclass(eq=False)
class Child:
    """A child, and what it has told.

    Parameters
    ----------
    running:
        It consumes.
    leaving:
        It ends on purpose, or was told to.
    exit_code:
        What it said that it ends with.
    """

    process: ChildProcess
    started_at: float = field(default_factory=time.monotonic)
    running: bool = False
    leaving: bool = False
    killed: bool = False
    exit_code: int | None = None
    failure: EventBusError | None = None
    report: Report | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it consumes."""
        return self.running and self.report is not None and self.report.ready


@dataclass(eq=False)
class Place:
    """One of the N.

    Parameters
    ----------
    child:
        The one that works.
    newcomer:
        Takes over from it as soon as it runs.
    leavers:
        Finish what they do.
    start_at:
        When the next child may start, after one has died.
    """

    number: int
    child: Child | None = None
    newcomer: Child | None = None
    leavers: list[Child] = field(default_factory=list)
    crashes: CrashLoop = field(default_factory=CrashLoop)
    start_at: float = 0.0
    death: str = ""

    @property
    def children(self) -> Iterator[Child]:
        """All that are there."""
        yield from tuple(self.leavers)
        for child in (self.child, self.newcomer):
            if child is not None:
                yield child

    def leave(self, child: Child) -> None:
        """`child` only finishes what it does: its place is free."""
        child.leaving = True
        if child is self.child:
            self.child = None
        elif child is self.newcomer:
            self.newcomer = None
        if child not in self.leavers:
            self.leavers.append(child)

    def take_over(self) -> Child | None:
        """Let the newcomer work; the child that it takes over from."""
        before, self.child, self.newcomer = self.child, self.newcomer, None
        if before is not None:
            before.leaving = True
            self.leavers.append(before)
        return before

    def remove(self, child: Child) -> None:
        """`child` is gone."""
        if child is self.child:
            self.child = None
        elif child is self.newcomer:
            self.newcomer = None
        else:
            self.leavers.remove(child)

    def trouble(self, now: float) -> str | None:
        """That it dies again and again, in words for an operator."""
        child = self.child
        if self.crashes.deaths < 2 or (child and now - child.started_at > STABLE_SECONDS):
            return None
        text = f"process {self.number} died {self.crashes.deaths} times in a row, {self.death}"
        wait = math.ceil(self.start_at - now)
        return f"{text}; the next one starts in {wait} s" if child is None and wait > 0 else text


def end_of(status: int | None) -> str:
    """How a process ended, in words.

    >>> end_of(-11)
    'by SIGSEGV'
    """
    if status is None:
        return "nobody knows how"
    if status >= 0:
        return f"with exit code {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"


def failure_of(message: Message) -> EventBusError:
    """The error that a child could not run for, as an error of its class."""
    kind = getattr(errors, message["error"], None)
    if isinstance(kind, type) and issubclass(kind, EventBusError):
        return kind(message["message"])
    return EventBusError(message["message"])
