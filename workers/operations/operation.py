"""An operation over many messages: its audit row, its counts, its pace, and how it ends.

    with Operation("replay", {"queue": "shop.billing"}, log=OperationLog(bus.engine),
                   limits=Limits(rate=500), total=20_000) as operation:
        while rows := read(operation.next_batch(500)):   # waits for the rate
            send(rows)
            operation.advance(len(rows), position=rows[-1].seq)

`next_batch` is where an operation is interrupted or stopped: nothing is under way there. The end
of the block writes what became of it: done, interrupted, stopped or failed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from eventbus.errors import NotResumable, OperationInterrupted, OperationStopped
from eventbus.identifiers import new_event_id
from eventbus.outbox.row import now_ms

from .audit import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED, OperationLog, OperationRecord, who
from .pacing import Pacer

_logger = logging.getLogger("eventbus.operations")

#: How often the audit row is written.
WRITE_SECONDS = 0.5
#: What the audit database gets for the first and the last write. An emergency must not wait for it.
ANSWER_SECONDS = 5.0
#: So many must be done before a ratio of failures says something.
LEAST_FOR_RATIO = 20


@dataclass(frozen=True)
class Limits:
    """How fast an operation goes, and when it ends itself.

    Parameters
    ----------
    rate:
        Messages per second.
    stop_on_failures:
        From 0 to 1: it stops once more than this share of what it did has failed, looked at
        after the first `LEAST_FOR_RATIO`.
    """

    rate: float | None = None
    stop_on_failures: float | None = None

    def exceeded(self, done: int, failed: int) -> bool:
        """Whether too many of `done` have failed."""
        if self.stop_on_failures is None or done < LEAST_FOR_RATIO:
            return False
        return failed > done * self.stop_on_failures


@dataclass(eq=False)
class Operation:
    """One operation, to be run in a ``with`` block.

    Parameters
    ----------
    kind, parameters, total:
        See `OperationRecord`.
    log:
        Where the audit row goes; None where there is no database for it.
    resumed:
        The record of an earlier run (`resumable`), which this one continues.
    warn:
        Told in a sentence when the audit cannot be written. The operation goes on: a replay in an
        emergency must not depend on a second server.
    observe:
        Called with the record after each change, on the thread that made it.
    """

    kind: str
    parameters: dict[str, Any]
    log: OperationLog | None = None
    limits: Limits = Limits()
    total: int | None = None
    resumed: OperationRecord | None = None
    warn: Callable[[str], None] = _logger.warning
    observe: Callable[[OperationRecord], None] = field(default=lambda record: None)
    _interrupted: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._record = self._first_record()
        self._pace = Pacer(self.limits.rate)
        self._audit = None if self.log is None else _Audit(self.log, lambda text: self.warn(text))

    def _first_record(self) -> OperationRecord:
        now = now_ms()
        if self.resumed is None:
            return OperationRecord(
                str(new_event_id()),
                self.kind,
                RUNNING,
                who(),
                now,
                now,
                parameters=self.parameters,
                total=self.total,
            )
        total = None if self.total is None else self.resumed.done + self.total
        return replace(
            self.resumed,
            state=RUNNING,
            updated_at_ms=now,
            finished_at_ms=None,
            total=total,
            runs=self.resumed.runs + 1,
            error=None,
        )

    @property
    def record(self) -> OperationRecord:
        """What the audit row says, or would say."""
        return self._record

    @property
    def id(self) -> str:
        """The operation's id, for ``--resume``."""
        return self._record.id

    def __enter__(self) -> Operation:
        if self._audit is not None:
            self._audit.start(self._record)
        self.observe(self._record)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        now = now_ms()
        text = None if error is None else str(error) or type(error).__name__
        self._change(state=_ending(error), finished_at_ms=now, error=text)
        if self._audit is not None:
            self._audit.stop()

    def interrupt(self) -> None:
        """Ask it to end at the next safe point; for signal handlers and other threads."""
        self._interrupted = True

    def next_batch(self, most: int) -> int:
        """How many messages to do next, 1 to `most`; waits as long as the rate asks for.

        Raises
        ------
        OperationInterrupted
            `interrupt` was called.
        OperationStopped
            Too many have failed.
        """
        return self._pace.take(most, self.check)

    def check(self) -> None:
        """Raise what `next_batch` would; for a wait within an operation."""
        record = self._record
        if self._interrupted:
            raise OperationInterrupted(
                f"interrupted after {record.done} of {_number(record.total)}; the rest is untouched"
            )
        if self.limits.exceeded(record.done, record.failed):
            raise OperationStopped(
                f"stopped: {record.failed} of {record.done} failed, more than the "
                f"{self.limits.stop_on_failures:g} that --stop-on-failures allows"
            )

    def advance(self, done: int = 0, *, failed: int | None = None, position: Any = None) -> None:
        """Count `done` more messages.

        Parameters
        ----------
        failed:
            How many have failed so far, all together.
        position:
            Where to go on from now, see `OperationRecord`.
        """
        changes: dict[str, Any] = {"done": self._record.done + done}
        if failed is not None:
            changes["failed"] = failed
        if position is not None:
            changes["position"] = position
        self._change(**changes)

    def note(self, name: str, value: Any) -> None:
        """Remember something in the audit row."""
        self._change(notes={**self._record.notes, name: value})

    def _change(self, **changes: Any) -> None:
        self._record = replace(self._record, updated_at_ms=now_ms(), **changes)
        if self._audit is not None:
            self._audit.latest = self._record
        self.observe(self._record)


def resumable(record: OperationRecord, kind: str) -> OperationRecord:
    """`record`, if it can be resumed as an operation of that `kind`.

    Raises
    ------
    NotResumable
        It is another kind, is done, or is still running.
    """
    if record.kind != kind:
        raise NotResumable(f"operation {record.id} is a {record.kind}, not a {kind}")
    state = record.state_at(now_ms())
    if state == DONE:
        raise NotResumable(f"operation {record.id} is done; there is nothing to resume")
    if state == RUNNING:
        raise NotResumable(
            f"operation {record.id} is running now, started by {record.started_by}; "
            f"interrupt it first"
        )
    return record


def _ending(error: BaseException | None) -> str:
    if error is None:
        return DONE
    if isinstance(error, (OperationInterrupted, KeyboardInterrupt)):
        return INTERRUPTED
    return STOPPED if isinstance(error, OperationStopped) else FAILED


def _number(total: int | None) -> str:
    return "an unknown number" if total is None else str(total)


class _Audit:
    """Writes the latest record on a thread of its own: a database that hangs holds nothing up."""

    def __init__(self, log: OperationLog, warn: Callable[[str], None]) -> None:
        self.latest: OperationRecord | None = None
        self._log = log
        self._warn = warn
        self._warned = False
        self._ending = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operation-audit", daemon=True)

    def start(self, record: OperationRecord) -> None:
        """Write the first row, and wait for it for a while."""
        self.latest = record
        self._thread.start()
        if not self._answered.wait(ANSWER_SECONDS):
            self._cannot(f"the database does not answer within {ANSWER_SECONDS:g} s")

    def stop(self) -> None:
        """Write the last state."""
        self._ending.set()
        self._thread.join(ANSWER_SECONDS)
        if self._thread.is_alive():
            self._cannot(f"the database does not answer within {ANSWER_SECONDS:g} s")

    def _run(self) -> None:
        while True:
            ending = self._ending.is_set()
            record = self.latest
            assert record is not None
            if not ending:
                # Also when nothing has changed: the time says that the process is alive.
                record = replace(record, updated_at_ms=now_ms())
            try:
                self._log.write(record)
                self._warned = False
            except Exception as error:  # whatever it is, the operation is not to end by it
                self._cannot(str(error))
            self._answered.set()
            if ending:
                return
            self._ending.wait(WRITE_SECONDS)

    def _cannot(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"the audit of this operation cannot be written, it goes on: {reason}")
