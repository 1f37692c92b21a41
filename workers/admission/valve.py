"""Whether a worker consumes a queue and begins what comes of it.

Three things close a `Valve`: an operator's pause, the circuit breaker, and handlers so slow that
what was delivered waited too long. It decides; the worker pauses and resumes the consumer.
"""

from __future__ import annotations

from eventbus.breaker import Breaker
from eventbus.directives import Directive
from eventbus.outcome import Ack, DeadLetter, RetryAfter

from ..work import Job
from .breaker import CLOSED, HALF_OPEN, OPEN, Circuit


class Valve:
    """One queue of one worker process.

    Parameters
    ----------
    breaker:
        None for a queue without one.
    """

    __slots__ = ("_probes", "circuit", "consuming", "paused", "saturated")

    def __init__(self, breaker: Breaker | None) -> None:
        self.circuit = None if breaker is None else Circuit(breaker)
        #: An operator has paused the queue.
        self.paused = False
        #: Messages went back to the queue because the handlers did not come to them in time.
        self.saturated = False
        #: What the consumer was told.
        self.consuming = True
        self._probes = 0

    @property
    def state(self) -> str:
        """The breaker's: ``closed``, ``open`` or ``half-open``."""
        return CLOSED if self.circuit is None else self.circuit.state

    @property
    def begins(self) -> bool:
        """Whether what waits may be begun, probes aside."""
        return not self.paused and self.state is CLOSED

    def tick(self, now: float) -> None:
        """Note how late it is."""
        if self.circuit is not None:
            self.circuit.tick(now)

    def wants_probe(self) -> bool:
        """Whether an event is to be tried now, and none is."""
        return self.state is HALF_OPEN and not self.paused and not self._probes

    def wants_messages(self, *, holding: bool, has_room: bool) -> bool:
        """Whether the consumer is to deliver.

        Parameters
        ----------
        holding:
            Something of the queue waits here.
        has_room:
            A handler of the queue could begin.
        """
        self.saturated = self.saturated and (holding or not has_room)
        if self.paused or self.saturated or self.state is OPEN:
            return False
        # Half-open: what is held is tried first.
        return self.state is CLOSED or not (holding or self._probes)

    def probe(self, job: Job) -> None:
        """Try `job`."""
        job.probe = True
        self._probes += 1

    def note(self, job: Job, now: float) -> bool:
        """Note a job that is concluded; whether the breaker's state may have changed."""
        circuit = self.circuit
        if circuit is None:
            return False
        if job.probe:
            self._probes -= 1
            verdict = _verdict(job)
            if verdict is not None:
                circuit.probed(verdict, now)
            return True
        if circuit.state is not CLOSED:
            return False
        outcome = job.outcome
        if type(outcome) is Ack and job.seconds:
            circuit.succeeded(job.handler.name, now)
            return False
        if _verdict(job) is False:
            return circuit.failed(job.handler.name, job.key.event_id, now)
        return False


def _verdict(job: Job) -> bool | None:
    """Whether a run succeeded, or failed as it may not the next time; None where neither is."""
    outcome = job.outcome
    if isinstance(outcome, Ack):
        # A duplicate is acknowledged without a run.
        return True if job.seconds else None
    if job.error is None or isinstance(job.error, Directive):
        return None
    if isinstance(outcome, RetryAfter):
        return False if outcome.counted else None
    # The last attempt failed as those before; an error that the handler gives up on is the event's.
    exhausted = job.attempt >= job.handler.retry.max_attempts
    return False if isinstance(outcome, DeadLetter) and exhausted else None
