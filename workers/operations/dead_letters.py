"""The dead letters of some queues: which of them, how many of what kind, one after the other.

    letters = DeadLetters(admin, ["shop.billing"])
    for parked in letters.browse(Selection(errors=("TimeoutError",))):
        ...

However many there are, few are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from eventbus.brokers.port import Admin, Pace
from eventbus.errors import UnknownName
from eventbus.message import Message
from eventbus.patterns import matches
from eventbus.topology import dead_letter_queue_name, overflow_queue_name

from .parked import Group, Parked, read_parked

#: Groups that are told apart; a foreign producer may give each message a name of its own.
MOST_GROUPS = 1_000
OTHERS = "(others)"


@dataclass(frozen=True)
class Selection:
    """Which parked messages are meant: those for which all that is given holds.

    Parameters
    ----------
    ids, handlers, errors:
        One of them; an error is its class, or what groups show for it.
    events:
        One of these names, or routing-key patterns.
    text:
        It is in the body, the reason or the error's message; in ASCII whatever its case.
    since_ms, until_ms:
        Parked at or after, and before, in epoch milliseconds.
    """

    ids: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    text: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def __contains__(self, parked: object) -> bool:
        return (
            isinstance(parked, Parked)
            and (not self.ids or parked.id in self.ids)
            and (not self.handlers or parked.handler in self.handlers)
            and (not self.events or any(matches(one, parked.event) for one in self.events))
            and (not self.errors or not {parked.error, parked.group.error}.isdisjoint(self.errors))
            and self._is_in_time(parked.parked_at_ms)
            and (self.text is None or _has_text(parked, self.text))
        )

    def _is_in_time(self, at_ms: int | None) -> bool:
        if self.since_ms is None and self.until_ms is None:
            return True
        if at_ms is None:
            return False
        return (self.since_ms is None or at_ms >= self.since_ms) and (
            self.until_ms is None or at_ms < self.until_ms
        )


def _has_text(parked: Parked, text: str) -> bool:
    wanted = text.encode("utf-8", "surrogatepass").lower()
    said = f"{parked.reason}\n{parked.last_failure.message or ''}"
    return (
        wanted in parked.message.body.lower()
        or wanted in said.encode("utf-8", "surrogatepass").lower()
    )


@dataclass
class Count:
    """How many messages, and when the first and the last of them were parked."""

    messages: int = 0
    oldest_ms: int | None = None
    newest_ms: int | None = None

    def add(self, parked: Parked) -> None:
        """Count one more."""
        self.messages += 1
        at = parked.parked_at_ms
        if at is not None:
            self.oldest_ms = at if self.oldest_ms is None else min(self.oldest_ms, at)
            self.newest_ms = at if self.newest_ms is None else max(self.newest_ms, at)


@dataclass
class Tally:
    """Parked messages counted by group.

    Parameters
    ----------
    older:
        How many were parked before `older_than_ms`, in epoch milliseconds.
    ids:
        The ids found of those that were asked for by name.
    """

    older_than_ms: int | None = None
    groups: dict[Group, Count] = field(default_factory=dict)
    older: int = 0
    ids: set[str] = field(default_factory=set)

    def add(self, parked: Parked, wanted_ids: Sequence[str] = ()) -> None:
        """Count one more."""
        group = parked.group
        if group not in self.groups and len(self.groups) >= MOST_GROUPS:
            group = Group(parked.queue, None, OTHERS, OTHERS)
        self.groups.setdefault(group, Count()).add(parked)
        if is_older(parked, self.older_than_ms):
            self.older += 1
        if parked.id in wanted_ids:
            self.ids.add(parked.id)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(count.messages for count in self.groups.values())

    def of_queue(self, queue: str) -> list[tuple[Group, Count]]:
        """The groups of one queue, the largest first."""
        found = [(group, count) for group, count in self.groups.items() if group.queue == queue]
        return sorted(found, key=lambda one: -one[1].messages)

    def messages_of(self, queue: str) -> int:
        """How many messages there are of one queue."""
        return sum(count.messages for _, count in self.of_queue(queue))


def is_older(parked: Parked, than_ms: int | None) -> bool:
    """Whether it was parked before `than_ms`; not where nothing says when."""
    return than_ms is not None and parked.parked_at_ms is not None and parked.parked_at_ms < than_ms


class DeadLetters:
    """What is parked from some queues.

    Parameters
    ----------
    queues:
        Full names.
    required:
        Whether each of them must have a dead-letter queue on the broker.

    Raises
    ------
    UnknownName
        One has none.
    """

    def __init__(self, admin: Admin, queues: Sequence[str], *, required: bool = True) -> None:
        self.admin = admin
        self.queues = list(queues)
        #: Full name of each queue to how many messages are parked from it.
        self.counts = {}
        found = admin.stats([name(queue) for queue in queues for name in _NAMES])
        for queue in queues:
            parked = found.get(dead_letter_queue_name(queue))
            if parked is None and required:
                raise UnknownName(
                    f"there is no queue {dead_letter_queue_name(queue)!r} on the broker"
                )
            self.counts[queue] = 0 if parked is None else parked.messages
        #: Full name to how many messages it had no room for; these are no dead letters.
        self.overflowing = {
            queue: stats.messages
            for queue in queues
            if (stats := found.get(overflow_queue_name(queue))) is not None and stats.messages
        }

    def browse(
        self, selection: Selection, queues: Sequence[str] | None = None
    ) -> Generator[Parked, None, None]:
        """The messages that are meant, queue by queue, oldest first; of all queues or of some."""
        for queue in self._with_messages() if queues is None else queues:
            if not self.counts[queue]:
                continue
            with closing(self.admin.browse(dead_letter_queue_name(queue))) as messages:
                for message in messages:
                    parked = read_parked(message, queue)
                    if parked in selection:
                        yield parked

    def tally(self, selection: Selection, *, older_than_ms: int | None = None) -> Tally:
        """Count what is meant."""
        tally = Tally(older_than_ms)
        for parked in self.browse(selection):
            tally.add(parked, selection.ids)
        return tally

    def remove(
        self, decide: Callable[[Parked], bool], limit: int | None, pace: Pace
    ) -> dict[str, int]:
        """Delete those for which `decide` says so; how many of each queue."""
        removed: dict[str, int] = {}
        for queue in self._with_messages():

            def chosen(message: Message, queue: str = queue) -> bool:
                return decide(read_parked(message, queue))

            left = None if limit is None else limit - sum(removed.values())
            if left is None or left > 0:
                name = dead_letter_queue_name(queue)
                removed[queue] = self.admin.remove(name, chosen, left, pace)
        return removed

    def _with_messages(self) -> list[str]:
        return [queue for queue in self.queues if self.counts[queue]]


_NAMES = (dead_letter_queue_name, overflow_queue_name)
