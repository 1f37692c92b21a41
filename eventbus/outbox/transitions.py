"""What becomes of an outbox row and of a shard, as pure functions: no clock, no database.

`eventbus.outbox.store` reads the facts, asks here, and writes the answer; the tests run the same
commands against a model.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from eventbus.brokers.port import Confirmation

#: Failed attempts after which a row is parked as failed: with the delays below about a day.
MAX_ATTEMPTS = 100
FIRST_HOLD_MS = 1_000
LONGEST_HOLD_MS = 15 * 60_000


@dataclass(frozen=True, slots=True)
class Log:
    """The broker has it, or no queue wants it: the row moves to the event log."""

    routed: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """It could not be sent: the row waits `delay_ms`, and the later rows of its key with it."""

    delay_ms: int
    error: str


@dataclass(frozen=True, slots=True)
class HoldBack:
    """A queue refuses its event: the row waits for the event's turn, as long as that takes.

    It costs the row no attempt; the later rows of its key wait with it.
    """

    error: str


@dataclass(frozen=True, slots=True)
class Fail:
    """It is given up: the row is parked in the outbox, and its key flows on."""

    error: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing is known of it: the row stays as it is and is published again."""


Change = Log | Hold | HoldBack | Fail | Keep


def settle(
    confirmation: Confirmation, attempts: int, *, fail_unrouted: bool, suspect: bool
) -> Change:
    """What becomes of a row whose publish was answered with `confirmation`.

    Parameters
    ----------
    attempts:
        Attempts that have failed before this one.
    fail_unrouted:
        The setting ``unroutable="fail"``.
    suspect:
        It was published alone, and the broker was there: a missing answer is its own doing, as
        of a message that makes the broker close the connection.
    """
    if confirmation is Confirmation.ROUTED:
        return Log(routed=True)
    if confirmation is Confirmation.UNROUTED:
        if fail_unrouted:
            return Fail("no queue is bound for its routing key (unroutable=fail)")
        return Log(routed=False)
    if confirmation is Confirmation.UNKNOWN and not suspect:
        return Keep()
    if confirmation is Confirmation.REFUSED:
        return HoldBack("the broker refused it (basic.nack): a queue is full or has no leader")
    error = (
        "it is too large for the broker, or cannot be sent as a message; see the dispatcher's log"
        if confirmation is Confirmation.UNSENDABLE
        else "the broker closed the connection or gave no answer when it was sent alone"
    )
    if attempts + 1 >= MAX_ATTEMPTS:
        return Fail(f"given up after {MAX_ATTEMPTS} attempts: {error}")
    return Hold(hold_ms(attempts), error)


def hold_ms(attempts: int) -> int:
    """How long a row waits after its failed attempt number ``attempts + 1``."""
    doublings = min(attempts, 30)
    return min(FIRST_HOLD_MS << doublings, LONGEST_HOLD_MS)


@dataclass(frozen=True, slots=True)
class ShardState:
    """Who has a shard, and whether the lease has run out."""

    owner: str | None
    expired: bool


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The shards to keep, to take and to give up."""

    keep: frozenset[int]
    take: frozenset[int]
    release: frozenset[int]

    @property
    def owned(self) -> frozenset[int]:
        """What the dispatcher has when the plan is carried out."""
        return self.keep | self.take


def plan_shards(shards: Mapping[int, ShardState], owner: str, alive: Collection[str]) -> ShardPlan:
    """Divide the shards fairly: each dispatcher alive takes at most its share, and gives up more.

    A shard changes hands only when its owner gave it up or its lease ran out, never directly, so
    that two dispatchers never publish from one at the same time.
    """
    share = math.ceil(len(shards) / max(len({*alive, owner}), 1))
    mine = sorted(number for number, state in shards.items() if state.owner == owner)
    keep = frozenset(mine[:share])
    free = sorted(
        number
        for number, state in shards.items()
        if state.owner is None or (state.expired and state.owner != owner)
    )
    take = frozenset(free[: max(share - len(keep), 0)])
    return ShardPlan(keep=keep, take=take, release=frozenset(mine[share:]))


def plan_waves(keys: Sequence[str | None], in_flight: Collection[str]) -> list[list[int]]:
    """Positions of a batch's rows in the order to publish them, a list for each wave.

    Rows of one wave may be in flight together: no key occurs twice in it, as a refusal of the
    first would let the second overtake it. The first wave may be published at once; it has no key
    that is `in_flight` in an earlier batch. Each later wave waits for the one before it, and for
    the earlier batches.

    Example::

        plan_waves(["a", "b", "a", None], in_flight={"b"}) == [[0, 3], [1, 2]]
    """
    waves: list[list[int]] = [[]]
    depth = dict.fromkeys(in_flight, 1)
    for position, key in enumerate(keys):
        wave = 0
        if key is not None:
            wave = depth.get(key, 0)
            depth[key] = wave + 1
        while wave >= len(waves):
            waves.append([])
        waves[wave].append(position)
    return waves
