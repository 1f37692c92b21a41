"""The accidents: what really happened, because a demo without them would prove nothing."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from .shop import PREFETCH


@dataclass
class Accidents:
    """What the story has seen of each accident.

    Parameters
    ----------
    orders_waiting:
        Orders that nobody charged while billing had no worker.
    killed_by:
        The killed worker's exit code: minus the signal.
    charges_before_kill, queued_at_kill:
        What that worker had done, and what was still in its queue, a moment before.
    mails_missed, mails_sent:
        E-mails due, and e-mails sent all the same, while the email service was down.
    retries:
        E-mails that had failed and waited for their next attempt, at one moment.
    """

    orders_waiting: int = 0
    killed_by: int | None = None
    charges_before_kill: int = 0
    queued_at_kill: int = 0
    mails_missed: int = 0
    mails_sent: int = 0
    retries: int = 0

    @property
    def was_busy(self) -> bool:
        """Whether the killed worker was in the middle of its work.

        While more messages are queued than it may have at a time, it has its hands full.
        """
        return self.charges_before_kill > 0 and self.queued_at_kill >= PREFETCH

    def findings(self) -> list[tuple[str, bool]]:
        """Each accident in words, and whether it happened as it should."""
        killed = self.was_busy and self.killed_by == -signal.SIGKILL
        return [
            (f"{self.orders_waiting} orders waited while billing had no worker", self._waited()),
            (
                f"a worker was killed after {self.charges_before_kill} charges, with "
                f"{self.queued_at_kill} orders queued",
                killed,
            ),
            (f"{self.mails_missed} events waited while the email service was down", self._missed()),
            (f"{self.retries} e-mails failed and waited to be retried", self.retries > 0),
        ]

    def _waited(self) -> bool:
        return self.orders_waiting > 0

    def _missed(self) -> bool:
        return self.mails_missed > 0 and self.mails_sent == 0
