"""What a worker needs of an idempotency store.

Two stores keep it, `redis` and `sql`, both held to one contract suite and to the pure functions of
`transitions`. The transactional inbox is not one of them: it lives in the handler's own database
transaction (`inbox`).

A claim answers *mine*, *done*, *busy* or *suspect*; only *done* may be acknowledged without
running. A store that does not answer raises `IdempotencyStoreUnavailable`, which never means
"duplicate".

A claim is also a *start* of the handler, and starts are counted: one that ended without an outcome
may have killed its worker. A start that did not happen is given back (`unclaim`), so that no event
is blamed for it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

#: How long a claim that nobody settled is kept after its lease, with its count of starts. Long
#: enough for a queue that stood still over a night: an event that kills every worker which runs
#: it must be recognised when it is delivered again.
KEEP_STARTS_MS = 24 * 3600 * 1000


class Verdict(enum.Enum):
    """The answer to a claim."""

    #: The caller may run the handler; the lease is running.
    MINE = "mine"
    #: The handler has done this event within the remembered period.
    DONE = "done"
    #: Another worker is running it, or died less than a lease ago.
    BUSY = "busy"
    #: An earlier start ended without an outcome: it may kill whoever runs it. It is not claimed;
    #: whoever can run it with nothing else beside it claims it `alone`.
    SUSPECT = "suspect"
    #: Another event with the same id but other data has been handled: not a duplicate.
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key.

    Parameters
    ----------
    handler:
        The handler's name, unique within the service.
    event_id:
        The CloudEvents ``id`` together with its ``source``, which only together are unique
        (CloudEvents 1.0.2 §3.1.1), already joined by the caller.
    fingerprint:
        A short digest of the event's data; a repeated id with another one is a `Verdict.MISMATCH`.
    """

    handler: str
    event_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A verdict, and how many starts of this handler for this event ended without an outcome.

    `starts` counts this one too when the verdict is *mine*: 1 the first time, 2 after a worker
    died while it held the claim. When it is *suspect* it counts those that were lost. A failure
    that was settled (`IdempotencyStore.release`) is an outcome and starts the count anew.
    """

    verdict: Verdict
    starts: int = 0


class IdempotencyStore(Protocol):
    """Remembers what was handled. Each call is one round trip, however many keys it carries."""

    def claim(
        self, keys: Sequence[Key], token: str, lease_ms: int, *, alone: bool = False
    ) -> list[Claim]:
        """Claim each of `keys` for `token` for `lease_ms` milliseconds; answers in order.

        A key that `token` already holds is *mine* again (a repeated request whose first answer
        was lost), without counting another start.

        Parameters
        ----------
        alone:
            The caller runs nothing beside it, so that it may have what is *suspect* otherwise.
        """

    def remember(self, keys: Sequence[Key], token: str, ttl_ms: int) -> list[bool]:
        """Mark `keys` done for `ttl_ms` milliseconds, where `token` still holds the claim.

        False where another token holds it: this worker's lease ran out while the handler ran.
        A key already done stays done and answers True.
        """

    def release(self, keys: Sequence[Key], token: str) -> None:
        """Give up claims of `token` after a settled failure, so that a retry can claim at once."""

    def unclaim(
        self,
        keys: Sequence[Key],
        token: str,
        lease_ms: int = 0,
        keep_ms: int = KEEP_STARTS_MS,
    ) -> None:
        """Give claims of `token` back with their starts, as if they had not been made.

        Earlier starts stay counted, unlike with `release`.

        Parameters
        ----------
        lease_ms:
            How long nobody else may claim them yet, because the handler may still be running.
        keep_ms:
            How long after that the earlier starts are remembered.
        """

    def renew(self, keys: Sequence[Key], token: str, lease_ms: int) -> list[bool]:
        """Extend the claims of `token`; False where it no longer holds one."""

    def done(self, keys: Sequence[Key]) -> list[bool]:
        """Which of `keys` are done, whatever their fingerprint; only looks."""

    def ping(self) -> None:
        """Raise `IdempotencyStoreUnavailable` with the reason when the store does not answer."""

    def close(self) -> None:
        """Close the connections."""
