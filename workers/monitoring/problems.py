"""The verdict on a snapshot: what is wrong, and what to do about it.

Pure: the same `Snapshot` and `Thresholds` always give the same list, the worst first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eventbus.printable import age
from eventbus.topology import dead_letter_queue_name

from .condition import is_live, reasons
from .processes import ProcessRow
from .report import DISPATCHER
from .snapshot import BROKER, DATABASE, QueueState, Snapshot

#: A process may take so long to become ready after its start.
STARTING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on something is a problem.

    Parameters
    ----------
    outbox_age_ms:
        Age of the oldest event that waits to be published.
    ready:
        Messages ready in one queue.
    dead_letters:
        Messages in one dead-letter queue; also in one overflow queue.
    """

    outbox_age_ms: int = 60_000
    ready: int = 10_000
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to know.

    Parameters
    ----------
    kind:
        A word for programs, such as ``dead-letters``.
    subject:
        The queue, process or server that it is about.
    text, remedy:
        What is wrong, and what to do; for a person.
    notice:
        It is only to be known: somebody meant it so, or it passes by itself.
    """

    kind: str
    subject: str
    text: str
    remedy: str | None = None
    notice: bool = False


def find_problems(snapshot: Snapshot, thresholds: Thresholds | None = None) -> list[Problem]:
    """What is wrong in `snapshot`: problems first, then what is only to be known."""
    limits = thresholds or Thresholds()
    found = [
        *_servers(snapshot),
        *_outbox(snapshot, limits),
        *_processes(snapshot),
        *(problem for queue in snapshot.queues for problem in _queue(queue, limits)),
    ]
    return sorted(found, key=lambda problem: problem.notice)


def count_problems(problems: Iterable[Problem]) -> int:
    """Without those that are only to be known."""
    return sum(not problem.notice for problem in problems)


def _servers(snapshot: Snapshot) -> Iterator[Problem]:
    parts: dict[str, list[str]] = {}
    for part in (DATABASE, BROKER):
        if part in snapshot.away:
            parts.setdefault(snapshot.away[part], []).append(part)
    # One sentence where the embedded broker is away with its database.
    for why, away in parts.items():
        yield Problem("unreachable", away[0], f"{' and '.join(away)}: {why}")


def _outbox(snapshot: Snapshot, limits: Thresholds) -> Iterator[Problem]:
    depth = snapshot.outbox
    if depth is None:
        return
    dispatchers = [row for row in snapshot.living if row.report.kind == DISPATCHER]
    waiting = depth.pending + depth.delayed
    if waiting and not dispatchers:
        yield Problem(
            "no-dispatcher",
            "outbox",
            f"{_events(waiting)} in the outbox and no dispatcher runs",
            "start 'eventbus dispatcher'",
        )
    elif (depth.oldest_age_ms or 0) > limits.outbox_age_ms:
        yield Problem(
            "outbox-age",
            "outbox",
            f"the oldest event in the outbox waits for {age(depth.oldest_age_ms or 0)}",
            "the dispatchers are too slow, or the broker refuses: 'eventbus outbox list'",
        )
    held = sorted({name for row in dispatchers for name in row.report.held})
    if held:
        yield Problem(
            "held",
            "outbox",
            f"held back because a queue is full: {', '.join(held)}",
            "the queue's worker is too slow, or not running",
        )
    if depth.failed:
        yield Problem(
            "outbox-failed",
            "outbox",
            f"{_events(depth.failed)} could not be published",
            "'eventbus outbox list --state failed' tells why",
        )
    if depth.unrouted:
        yield Problem(
            "unrouted",
            "outbox",
            f"{_events(depth.unrouted)} without a queue",
            "sent again once a queue is bound for them: 'eventbus outbox list --state unrouted'",
            notice=True,
        )


def _processes(snapshot: Snapshot) -> Iterator[Problem]:
    alive = {_role(row) for row in snapshot.living}
    for row in snapshot.processes or ():
        if row.gone:
            replaced = _role(row) in alive
            yield Problem(
                "gone",
                row.report.name,
                f"{_named(row)} was killed or is cut off: last seen {age(row.seen_ms)} ago",
                None if replaced else "start it again",
                notice=replaced,
            )
        elif _is_stuck(row):
            yield Problem(
                "stuck",
                row.report.name,
                f"{_named(row)} has not moved for {age(row.beat_age_ms)}",
                "SIGUSR1 writes the stacks of its threads to its log",
            )
    yield from _not_ready(snapshot)


def _not_ready(snapshot: Snapshot) -> Iterator[Problem]:
    """One for each reason: a broker that is away stops many processes in the same way."""
    why: dict[str, list[ProcessRow]] = {}
    for row in snapshot.living:
        if not _is_stuck(row) and _should_be_ready(row, snapshot.taken_at):
            for reason in reasons(row.report):
                why.setdefault(reason, []).append(row)
    for reason, rows in why.items():
        others = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        yield Problem("not-ready", rows[0].report.name, f"{_named(rows[0])}{others}: {reason}")


def _named(row: ProcessRow) -> str:
    report = row.report
    return f"{report.kind} {report.name} on {report.host} (pid {report.pid})"


def _is_stuck(row: ProcessRow) -> bool:
    return not is_live(row.report, row.beat_age_ms / 1000)


def _role(row: ProcessRow) -> tuple[str, str, str]:
    return row.report.service, row.report.kind, row.report.name


def _should_be_ready(row: ProcessRow, now: float) -> bool:
    if row.report.state == "starting":
        return now - row.report.started_at > STARTING_SECONDS
    return row.report.state != "draining"


def _queue(queue: QueueState, limits: Thresholds) -> Iterator[Problem]:
    if queue.pause is not None:
        because = f": {queue.pause.reason}" if queue.pause.reason else ""
        yield Problem(
            "paused",
            queue.name,
            f"{queue.name} is paused by {queue.pause.paused_by}{because}",
            f"'eventbus queue resume {queue.name}'",
            notice=True,
        )
    if queue.exists is False:
        if queue.declared:
            yield Problem(
                "missing",
                queue.name,
                f"{queue.name} is declared and not on the broker",
                "start a worker, or run 'eventbus topology apply'",
            )
        return
    yield from _consumption(queue)
    if (queue.ready or 0) > limits.ready:
        yield Problem(
            "backlog",
            queue.name,
            f"{queue.name}: {_messages(queue.ready or 0)} ready",
            "more workers, or find out why its handlers are slow",
        )
    yield from _parked(queue, limits)


def _consumption(queue: QueueState) -> Iterator[Problem]:
    if queue.breaker != "closed":
        yield Problem(
            "breaker",
            queue.name,
            f"{queue.name}: the circuit breaker is {queue.breaker}, its handlers fail",
            f"'eventbus dlq list -Q {queue.name}' and the workers' logs tell why",
        )
    elif queue.consumers == 0 and queue.pause is None and (queue.declared or queue.ready):
        waiting = f"{_messages(queue.ready)} and " if queue.ready else ""
        yield Problem(
            "no-consumer",
            queue.name,
            f"{queue.name}: {waiting}no consumer",
            f"start 'eventbus worker -Q {queue.name}'",
        )


def _parked(queue: QueueState, limits: Thresholds) -> Iterator[Problem]:
    if (queue.dead_letters or 0) > limits.dead_letters:
        name = dead_letter_queue_name(queue.name)
        yield Problem(
            "dead-letters",
            queue.name,
            f"{_messages(queue.dead_letters or 0)} in {name}",
            f"'eventbus dlq list -Q {queue.name}'",
        )
    if (queue.overflow or 0) > limits.dead_letters:
        yield Problem(
            "overflow",
            queue.name,
            f"{queue.name} is full: {_messages(queue.overflow or 0)} in its overflow queue",
            "more workers; they come back by themselves when there is room",
        )


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number} events"


def _messages(number: int) -> str:
    return "1 message" if number == 1 else f"{number} messages"
