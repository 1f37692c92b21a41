"""The idempotency rules as pure functions: record + command + now → new record + answer.

The stores only carry them out: `sql` calls these functions inside a transaction, `redis` has them
as Lua scripts, and the tests run the same commands against all of them and compare the answers.

A record that is absent and one whose `expires_at_ms` has passed are the same thing.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .port import KEEP_STARTS_MS, Claim, Key, Verdict

#: The token of a record that nobody holds; its starts are remembered.
NOBODY = "-"


class State(enum.Enum):
    """What a store knows about a key."""

    HELD = "held"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Record:
    """What a store keeps for one key.

    Parameters
    ----------
    token:
        Who claimed it last.
    fingerprint:
        Digest of the data that the claim, or the effect, was for.
    starts:
        Runs since the last outcome, the present one included; 0 where the only one was given back
        and may still be running.
    lease_until_ms:
        From then on, another token may take the claim over.
    expires_at_ms:
        From then on, there is no record.
    """

    state: State
    token: str
    fingerprint: str
    starts: int
    lease_until_ms: int
    expires_at_ms: int


def claim(
    record: Record | None,
    *,
    token: str,
    fingerprint: str,
    lease_ms: int,
    now_ms: int,
    alone: bool = False,
) -> tuple[Record, Claim]:
    """Claim a key: mine when it is free, or `token` holds it already.

    One whose lease has run out with a start that had no outcome is given only to who runs it
    `alone`: beside others, it would raise their counts as well when it kills its worker again.
    """
    record = _unexpired(record, now_ms)
    if record is None:
        return _held(token, fingerprint, 1, lease_ms, now_ms)
    if record.state is State.DONE:
        same = record.fingerprint == fingerprint
        return record, Claim(Verdict.DONE if same else Verdict.MISMATCH)
    lapsed = record.lease_until_ms <= now_ms
    if record.token == token and record.fingerprint == fingerprint:
        # The first answer to this request was lost: the same start, not another one.
        return _held(token, fingerprint, record.starts, lease_ms, now_ms)
    if lapsed and record.starts and not alone:
        return record, Claim(Verdict.SUSPECT, record.starts)
    if lapsed:
        # Counted on even when the data is another: the count protects workers from what kills them.
        return _held(token, fingerprint, record.starts + 1, lease_ms, now_ms)
    if record.fingerprint != fingerprint:
        return record, Claim(Verdict.MISMATCH)
    return record, Claim(Verdict.BUSY)


def remember(
    record: Record | None, *, token: str, fingerprint: str, ttl_ms: int, now_ms: int
) -> tuple[Record, bool]:
    """Mark a key done, unless another token has taken the claim over.

    A record that is gone (evicted, forgotten in a failover, kept past its time) is held by nobody,
    and the effect has happened: it is remembered.
    """
    record = _unexpired(record, now_ms)
    if record is not None and record.state is State.DONE:
        return record, True
    if record is not None and record.token != token:
        return record, False
    done = Record(State.DONE, token, fingerprint, 0, 0, now_ms + ttl_ms)
    return done, True


def release(record: Record | None, *, token: str, now_ms: int) -> Record | None:
    """Give a claim up; what another token holds and what is done stays."""
    record = _unexpired(record, now_ms)
    if record is not None and _holds(record, token):
        return None
    return record


def unclaim(
    record: Record | None, *, token: str, lease_ms: int, keep_ms: int, now_ms: int
) -> Record | None:
    """Take a start of `token` back; nobody may claim the key for `lease_ms` milliseconds."""
    record = _unexpired(record, now_ms)
    if record is None or not _holds(record, token):
        return record
    starts = record.starts - 1
    if not starts and not lease_ms:
        return None
    until = now_ms + lease_ms
    return replace(
        record,
        token=NOBODY,
        starts=starts,
        lease_until_ms=until,
        expires_at_ms=until + keep_ms,
    )


def renew(
    record: Record | None, *, token: str, lease_ms: int, now_ms: int
) -> tuple[Record | None, bool]:
    """Extend a lease, also one that has run out while nobody else took it."""
    record = _unexpired(record, now_ms)
    if record is None or not _holds(record, token):
        return record, False
    until = now_ms + lease_ms
    return replace(record, lease_until_ms=until, expires_at_ms=until + KEEP_STARTS_MS), True


def is_done(record: Record | None, now_ms: int) -> bool:
    """Whether the effect has happened, with whatever data."""
    record = _unexpired(record, now_ms)
    return record is not None and record.state is State.DONE


def with_repeats(keys: Sequence[Key], distinct: Sequence[Claim]) -> list[Claim]:
    """Answer a batch that may carry a key more than once, from the answers to its distinct keys.

    Only the first of them can be *mine*; the others are told that it is being run.
    """
    if len(distinct) == len(keys):
        return list(distinct)
    answers = dict(zip(dict.fromkeys(keys), distinct, strict=True))
    result = []
    for key in keys:
        answer = answers[key]
        result.append(answer)
        if answer.verdict is Verdict.MINE:
            answers[key] = Claim(Verdict.BUSY)
    return result


def _unexpired(record: Record | None, now_ms: int) -> Record | None:
    return None if record is None or record.expires_at_ms <= now_ms else record


def _holds(record: Record, token: str) -> bool:
    return record.state is State.HELD and record.token == token


def _held(
    token: str, fingerprint: str, starts: int, lease_ms: int, now_ms: int
) -> tuple[Record, Claim]:
    until = now_ms + lease_ms
    record = Record(State.HELD, token, fingerprint, starts, until, until + KEEP_STARTS_MS)
    return record, Claim(Verdict.MINE, starts)
