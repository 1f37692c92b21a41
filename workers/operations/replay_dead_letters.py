"""Moving dead letters back to their queues, as an operation.

A message is taken out of the dead-letter queue once its own queue has it, so that none is lost
wherever this is killed. On the embedded broker both is one transaction. On RabbitMQ a kill between
the two leaves some in both, at most a batch; the next replay sends those again, and the
idempotency key of the handler that has done them catches the second one.

What is sent carries the operation's id in a header. What fails again comes back with it and is
left alone by this operation, also when it is resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventbus.errors import OperationStopped, UnknownName
from eventbus.message import Message
from eventbus.topology import dead_letter_queue_name

from .dead_letters import DeadLetters, Selection, is_older
from .operation import Operation
from .outcomes import Handled, Returned
from .parked import Parked, read_parked

if TYPE_CHECKING:
    from eventbus.bus import EventBus

#: How often it is looked what became of a canary.
LOOK_SECONDS = 0.5
#: Between two looks at what came back, messages are moved for this long at least, and for so many
#: times what it took to get there: what the filter leaves out has to be read again each time.
ROUND_SECONDS = 1.0
ROUND_SHARE = 4.0


@dataclass(frozen=True)
class Canary:
    """What became of the first messages.

    Parameters
    ----------
    handled:
        None where it cannot be known, because the application is not named.
    """

    sent: int
    handled: int | None
    returned: int

    @property
    def undecided(self) -> int | None:
        """Neither handled nor back when the time was over: running, or waiting for a retry."""
        return None if self.handled is None else max(0, self.sent - self.handled - self.returned)

    @property
    def is_well(self) -> bool:
        """Whether all are handled, as far as it can be known."""
        return not self.returned and not self.undecided


@dataclass(frozen=True)
class Plan:
    """Which dead letters are sent again, and how.

    Parameters
    ----------
    limit:
        At most so many, of all queues together.
    older_than_ms:
        What was parked before is left where it is; None to send it all the same.
    canary:
        Send so many first, and see what becomes of them within `canary_seconds`.
    edits:
        `Parked.digest` to the message to send instead; only these are sent then.
    """

    selection: Selection
    limit: int | None = None
    older_than_ms: int | None = None
    canary: int | None = None
    canary_seconds: float = 60.0
    edits: Mapping[str, Message] | None = None


@dataclass
class Replay:
    """One run of the operation.

    Parameters
    ----------
    go_on:
        Asked after a canary that is not well; False stops the operation.
    """

    bus: EventBus
    letters: DeadLetters
    plan: Plan
    operation: Operation
    go_on: Callable[[Canary], bool]
    moved: dict[str, int] = field(default_factory=dict)
    canary: Canary | None = None
    #: Full name of each queue to how many were left because they are too old.
    left_older: dict[str, int] = field(default_factory=dict)
    _handled: Handled | None = None

    def __post_init__(self) -> None:
        self._returned = Returned(
            self.letters.admin,
            self.operation.id,
            self.letters.counts,
            self.operation.record.failed,
        )

    def run(self) -> None:
        """Send everything that is meant.

        Raises
        ------
        OperationInterrupted, OperationStopped
            See `Operation.next_batch`; or the canary is not well.
        UnknownName
            A queue is gone.
        """
        if self.plan.canary is not None:
            self._send_canary(self.plan.canary)
        for queue in self.letters.queues:
            self._send(queue)

    # -- the canary ------------------------------------------------------------------------------

    def _send_canary(self, size: int) -> None:
        self._handled = Handled(self.bus)
        size = size if self.plan.limit is None else min(size, self.plan.limit)
        for queue in self.letters.queues:
            if size > sum(self.moved.values()):
                self._transfer(queue, size)
        handled, self._handled = self._handled, None
        if not self.moved:
            return
        self.canary = self._watch(handled)
        self.operation.note("canary", self.canary.__dict__)
        self.operation.advance(failed=self.operation.record.failed + self.canary.returned)
        self.operation.check()
        if not self.canary.is_well and not self.go_on(self.canary):
            raise OperationStopped(
                f"stopped after the canary: of {self.canary.sent} messages "
                f"{self.canary.returned} came back"
                + (f" and {self.canary.undecided} are undecided" if self.canary.undecided else "")
            )

    def _watch(self, handled: Handled) -> Canary:
        sent = sum(self.moved.values())
        before = self.operation.record.failed
        deadline = time.monotonic() + self.plan.canary_seconds
        done = 0
        while time.monotonic() < deadline:
            done = handled.look() if handled.known else 0
            back = self._returned.at_most() - before
            if done + back >= sent:
                # Unless what came were others.
                back = self._returned.exactly() - before
                if done + back >= sent:
                    break
            self.operation.check()
            time.sleep(LOOK_SECONDS)
        return Canary(sent, done if handled.known else None, self._returned.exactly() - before)

    # -- the others ------------------------------------------------------------------------------

    def _send(self, queue: str) -> None:
        watched = self.operation.limits.stop_on_failures is not None
        while True:
            pace = _Round(self.operation, watched)
            self._transfer(queue, self.plan.limit, pace)
            if not watched:
                return
            self._check_returned()
            if not pace.is_over:
                return

    def _check_returned(self) -> None:
        """Stop where too many came back; the cheap count decides whether to look closely."""
        done = self.operation.record.done
        back = self._returned.at_most()
        if self.operation.limits.exceeded(done, back):
            back = self._returned.exactly()
        self.operation.advance(failed=back)
        self.operation.check()

    def _transfer(self, queue: str, limit: int | None, pace: _Round | None = None) -> None:
        left = None if limit is None else limit - sum(self.moved.values())
        if not self.letters.counts[queue] or (left is not None and left < 1):
            return
        pace = pace or _Round(self.operation, watched=False)
        self.left_older[queue] = 0
        try:
            self.letters.admin.transfer(
                dead_letter_queue_name(queue),
                lambda one: self._decide(one, queue),
                queue,
                left,
                pace,
            )
        except UnknownName as error:
            raise UnknownName(
                f"queue {queue!r} is gone, so its dead letters cannot go back to it: {error}. "
                f"'eventbus topology apply' declares it again"
            ) from None
        finally:
            if pace.moved:
                self.moved[queue] = self.moved.get(queue, 0) + pace.moved
                self._returned.sent(queue, pace.moved)

    def _decide(self, message: Message, queue: str) -> Message | None:
        self.operation.check()
        parked = read_parked(message, queue)
        if parked not in self.plan.selection or self._is_new(parked):
            return None
        if is_older(parked, self.plan.older_than_ms):
            self.left_older[queue] += 1
            return None
        if self._handled is not None:
            self._handled.expect(parked)
        if self.plan.edits is not None:
            return self.plan.edits.get(parked.digest)
        return parked.for_replay(self.operation.id)

    def _is_new(self, parked: Parked) -> bool:
        """Whether it was parked after the operation began.

        A first transfer ends with what was there when it began. For a later one clocks decide,
        which may differ.
        """
        if parked.operation == self.operation.id:
            return True
        if self.operation.record.runs == 1 and parked.queue not in self.moved:
            return False
        began = self.operation.record.started_at_ms
        return parked.parked_at_ms is not None and parked.parked_at_ms > began


class _Round:
    """The pace of an operation, until it is time to look at what came back."""

    def __init__(self, operation: Operation, watched: bool) -> None:
        self.moved = 0
        self.is_over = False
        self._operation = operation
        self._watched = watched
        self._began = time.monotonic()
        self._first_at: float | None = None

    def next_batch(self, most: int) -> int:
        """See `Pace.next_batch`."""
        if self._watched and self._first_at is not None:
            lead = self._first_at - self._began
            enough = max(ROUND_SECONDS, ROUND_SHARE * lead)
            if time.monotonic() - self._first_at > enough:
                self.is_over = True
                return 0
        return self._operation.next_batch(most)

    def advance(self, done: int) -> None:
        """See `Pace.advance`."""
        self.moved += done
        if done and self._first_at is None:
            self._first_at = time.monotonic()
        self._operation.advance(done)
