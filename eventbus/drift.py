"""The difference between the topology that an application declares and what its broker holds.

`plan` is a pure function from two values to the changes that would make them equal; who asks the
broker (`eventbus.brokers.port.Admin.inspect`) and who carries a change out is elsewhere.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventbus.errors import TopologyMismatch
from eventbus.topology import (
    RETRY_LEVELS_MS,
    UNLIMITED_DELIVERIES,
    Binding,
    Queue,
    Topology,
    retry_queue_name,
)

#: Where the messages of a queue are while it gets other arguments.
_MIGRATION_SUFFIX = ".migrating"
#: What a subscription's other queues are called after its own.
_COMPANION = re.compile(r"\.(?:dlq|overflow|retry\.\d+)$")

#: Arguments that RabbitMQ compares although the declaration does not name them. It ignores others
#: that it does not know, so a queue that has one of those is not different.
COMPARED_ARGUMENTS = frozenset(
    {
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-dead-letter-strategy",
        "x-delivery-limit",
        "x-expires",
        "x-max-in-memory-bytes",
        "x-max-in-memory-length",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
        "x-message-ttl",
        "x-overflow",
        "x-queue-type",
        "x-single-active-consumer",
    }
)
#: What a queue is on which the broker did not say it: as RabbitMQ shows it.
_UNSAID = {"x-queue-type": "classic"}

#: The share of its bound from which a queue may be full within the next moments.
NEARLY_FULL = 0.9

PRUNE, MIGRATE, BY_HAND = "--prune", "--migrate", "by hand"


@dataclass(frozen=True, slots=True)
class FoundQueue:
    """A queue as the broker has it.

    Parameters
    ----------
    arguments:
        None where the broker did not let us see them.
    unseen:
        Arguments of which it is not known what they are.
    messages:
        Ready, and unacknowledged as far as the broker tells.
    durable:
        It survives the broker's restart. Every queue of ours does.
    policy:
        What a policy of the broker's operator adds to the arguments.
    """

    name: str
    arguments: Mapping[str, Any] | None
    unseen: frozenset[str] = frozenset()
    messages: int = 0
    consumers: int = 0
    durable: bool = True
    auto_delete: bool = False
    policy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_quorum(self) -> bool:
        """Whether it is one; True where it is not known, as every queue of ours is."""
        return self.arguments is None or self.arguments.get("x-queue-type") == "quorum"

    @property
    def dead_letters_to(self) -> str | None:
        """The queue that it dead-letters to through the default exchange, where that is known."""
        arguments = self.arguments or {}
        if arguments.get("x-dead-letter-exchange") != "":
            return None
        return arguments.get("x-dead-letter-routing-key")


@dataclass(frozen=True, slots=True)
class Found:
    """What a broker holds of one application.

    Parameters
    ----------
    exchanges:
        Name to type, of those that exist.
    queues:
        By name; all of the application's where `complete`, else those that were asked for.
    bindings:
        To the exchanges asked for; None where they cannot be seen.
    complete:
        Queues that are not declared any more would be among `queues`.
    notes:
        What could not be seen and how to change that, and what else a person should know.
    """

    exchanges: Mapping[str, str | None] = field(default_factory=dict)
    queues: Mapping[str, FoundQueue] = field(default_factory=dict)
    bindings: tuple[Binding, ...] | None = ()
    complete: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One argument of a queue that is not as declared; None stands for "not set"."""

    queue: str
    argument: str
    declared: Any
    found: Any


class Kind(enum.Enum):
    """What would be done to the broker."""

    CREATE_EXCHANGE = "create exchange"
    CHANGE_EXCHANGE = "change exchange"
    CREATE_QUEUE = "create queue"
    CREATE_BINDING = "create binding"
    MIGRATE_QUEUE = "migrate queue"
    REMOVE_BINDING = "remove binding"
    REMOVE_QUEUE = "remove queue"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, and what ``topology apply`` would do about it.

    Parameters
    ----------
    name:
        Of the exchange or queue.
    needs:
        `PRUNE` or `MIGRATE` where apply does it only with that option, `BY_HAND` where never.
    held_up:
        Why it cannot be done now, as far as can be seen.
    """

    kind: Kind
    name: str
    action: str
    pattern: str | None = None
    exchange: str | None = None
    differences: tuple[Difference, ...] = ()
    needs: str | None = None
    held_up: str | None = None


def migration_queue_name(queue: str) -> str:
    """Where the messages of `queue` are while it is declared anew."""
    return queue + _MIGRATION_SUFFIX


def service_prefix(service: str) -> str:
    """How the names of all queues of `service` begin."""
    return f"{service}."


def plan(declared: Topology, found: Found, service: str) -> tuple[Change, ...]:
    """What is to be done so that the broker holds what is `declared`.

    Parameters
    ----------
    service:
        Whose queues are looked at for what is too much.
    """
    return (
        *_exchanges(declared, found),
        *_queues(declared, found),
        *_missing_bindings(declared, found),
        *_stale_bindings(declared, found, service),
        *_extra_queues(declared, found, service),
    )


def _exchanges(declared: Topology, found: Found) -> Iterator[Change]:
    for exchange in declared.exchanges:
        if exchange.name not in found.exchanges:
            yield Change(
                Kind.CREATE_EXCHANGE, exchange.name, f"creates the exchange ({exchange.kind})"
            )
            continue
        kind = found.exchanges[exchange.name]
        if kind not in (None, exchange.kind):
            yield Change(
                Kind.CHANGE_EXCHANGE,
                exchange.name,
                f"nothing: it is of type {kind}, declared is {exchange.kind}; delete it, or give "
                f"the setting exchange another name",
                needs=BY_HAND,
            )


def _queues(declared: Topology, found: Found) -> Iterator[Change]:
    for queue in declared.queues:
        existing = found.queues.get(queue.name)
        aside = migration_queue_name(queue.name)
        differences = differences_of(queue, existing) if existing is not None else ()
        if aside in found.queues:
            action = f"goes on with the migration: {aside} still holds messages of it"
            yield _migration(queue, differences, action)
        elif existing is None:
            yield Change(Kind.CREATE_QUEUE, queue.name, "creates the queue")
        elif differences:
            action = f"moves its messages to {aside}, declares it anew, moves them back"
            yield _migration(queue, differences, action, _overflowing(queue.name, found))


def _migration(
    queue: Queue,
    differences: tuple[Difference, ...],
    action: str,
    held_up: str | None = None,
) -> Change:
    return Change(
        Kind.MIGRATE_QUEUE,
        queue.name,
        action,
        differences=differences,
        needs=MIGRATE,
        held_up=held_up,
    )


def _overflowing(name: str, found: Found) -> str | None:
    """Why `name` must not be away even for a moment, else None.

    What a full queue drops goes to its overflow queue at most once: to none, if that is not there.
    """
    for other in found.queues.values():
        arguments = other.arguments or {}
        bound = arguments.get("x-max-length")
        if (
            other.dead_letters_to == name
            and arguments.get("x-overflow") != "reject-publish"
            and isinstance(bound, int)
            and other.messages >= bound * NEARLY_FULL
        ):
            return f"{other.name} is nearly full, and what it drops would be lost meanwhile"
    return None


def differences_of(declared: Queue, found: FoundQueue) -> tuple[Difference, ...]:
    """The arguments of an existing queue that are not as declared, as far as they can be seen."""
    compared = [
        Difference(declared.name, name, wanted, has)
        for name, wanted, has in (
            ("durable", True, found.durable),
            ("auto-delete", False, found.auto_delete),
            *_arguments(declared.arguments, found),
        )
        if wanted != has
    ]
    return tuple(compared)


def _arguments(declared: Mapping[str, Any], found: FoundQueue) -> Iterator[tuple[str, Any, Any]]:
    if found.arguments is None:
        return
    names = declared.keys() | (found.arguments.keys() & COMPARED_ARGUMENTS)
    for name in sorted(names - found.unseen):
        unsaid = _UNSAID.get(name)
        yield name, declared.get(name, unsaid), found.arguments.get(name, unsaid)


def _missing_bindings(declared: Topology, found: Found) -> Iterator[Change]:
    if found.bindings is None:
        return
    for binding in declared.bindings:
        if binding not in found.bindings:
            yield Change(
                Kind.CREATE_BINDING,
                binding.queue,
                "creates the binding",
                binding.pattern,
                binding.exchange,
            )


def _stale_bindings(declared: Topology, found: Found, service: str) -> Iterator[Change]:
    exchanges = {exchange.name for exchange in declared.exchanges}
    for binding in sorted(
        set(found.bindings or ()) - set(declared.bindings),
        key=lambda one: (one.queue, one.pattern),
    ):
        ours = binding.queue.startswith(service_prefix(service))
        if not ours or binding.exchange not in exchanges or _is_aside(binding.queue, declared):
            continue
        if _may_be_foreign(binding.queue, declared, service):
            continue
        yield Change(
            Kind.REMOVE_BINDING,
            binding.queue,
            "removes the binding: no handler of this application asks for it",
            binding.pattern,
            binding.exchange,
            needs=PRUNE,
        )


def _extra_queues(declared: Topology, found: Found, service: str) -> Iterator[Change]:
    if not found.complete:
        return
    wanted = {queue.name for queue in declared.queues}
    extra = [
        name
        for name in sorted(found.queues, key=removal_order)
        if name.startswith(service_prefix(service))
        and name not in wanted
        and not _is_aside(name, declared)
        and not _is_on_demand(name, wanted)
        and not _may_be_foreign(name, declared, service)
    ]
    for name in extra:
        yield Change(
            Kind.REMOVE_QUEUE,
            name,
            "deletes the queue: nothing declares it any more",
            needs=PRUNE,
            held_up=hindrance(name, found, going=extra),
        )


def removal_order(name: str) -> tuple[str, int, int, str]:
    """Sorts the queues of a subscription so that none goes while another points to it."""
    base = _COMPANION.sub("", name)
    level = re.search(r"\.retry\.(\d+)$", name)
    rank = 0 if level else 1 if name == base else 2
    return base, rank, int(level[1]) if level else 0, name


def _is_aside(name: str, declared: Topology) -> bool:
    """Whether it holds the messages of a declared queue that is being migrated."""
    base = name.removesuffix(_MIGRATION_SUFFIX)
    return base != name and any(queue.name == base for queue in declared.queues)


def _is_on_demand(name: str, declared: Collection[str]) -> bool:
    """Whether it is a level that `eventbus.RetryLater` has asked for, beyond the policy's longest.

    The first message that needs one makes it, and the next would make it again.
    """
    base = _COMPANION.sub("", name)
    return base in declared and name in {retry_queue_name(base, ms) for ms in RETRY_LEVELS_MS}


def _may_be_foreign(name: str, declared: Topology, service: str) -> bool:
    """Whether its name could also be that of a queue of another service.

    ``shop.eu.billing`` is the queue ``eu.billing`` of ``shop``, or ``billing`` of ``shop.eu``.
    """
    base = _COMPANION.sub("", name.removesuffix(_MIGRATION_SUFFIX))
    if any(queue.name == base for queue in declared.queues):
        return False
    return "." in base.removeprefix(service_prefix(service))


def left_alone(declared: Topology, found: Found, service: str) -> Iterator[str]:
    """Which queues are not judged, as they may belong to another service, a sentence each."""
    for name in sorted(found.queues):
        if name.startswith(service_prefix(service)) and _may_be_foreign(name, declared, service):
            other = name.removeprefix(service_prefix(service)).split(".")[0]
            yield f"{name} is left alone: it may belong to a service {service}.{other}"


def hindrance(name: str, found: Found, *, going: Sequence[str] = ()) -> str | None:
    """Why deleting the queue `name` would lose something, else None.

    Parameters
    ----------
    going:
        Queues that are deleted before it.
    """
    queue = found.queues[name]
    if queue.messages:
        return f"it holds {_count(queue.messages, 'message')}"
    if queue.consumers:
        return f"it has {_count(queue.consumers, 'consumer')}"
    for other in found.queues.values():
        if other.dead_letters_to != name or other.name == name:
            continue
        if other.messages:
            return f"{other.name} still holds {_count(other.messages, 'message')} for it"
        if other.name not in going:
            return f"{other.name} dead-letters to it"
    return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def overriding_policies(declared: Topology, found: Found) -> Iterator[str]:
    """What policies of the broker's operators change of declared queues, a sentence each.

    RabbitMQ takes the lower of a policy's number and the argument's; where only the policy sets
    it, the policy's counts. A plan cannot change policies, so this is for a person to know.
    """
    for queue in declared.queues:
        existing = found.queues.get(queue.name)
        for name, value in sorted((existing.policy if existing is not None else {}).items()):
            argument = queue.arguments.get(f"x-{name}")
            if argument is None and f"x-{name}" in COMPARED_ARGUMENTS:
                yield f"a policy gives {queue.name} {name}={value}, which is not declared"
            elif isinstance(argument, int) and isinstance(value, int) and value < argument:
                yield f"a policy gives {queue.name} {name}={value}, below the declared {argument}"


def mismatch(differences: Iterable[Difference]) -> TopologyMismatch:
    """The error that shows `differences` as a table, and says what to do."""
    rows = [("NAME", "ARGUMENT", "DECLARED", "ON THE BROKER")]
    rows += [
        (one.queue, one.argument, shown(one.declared), shown(one.found)) for one in differences
    ]
    widths = [max(len(row[number]) for row in rows) for number in range(4)]
    lines = [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return TopologyMismatch(
        "\n".join(
            (
                "the broker holds something else than declared:",
                *lines,
                "what exists cannot be changed in place; run 'eventbus topology plan' to see what "
                "can be done, or keep the old value in the declaration",
            )
        )
    )


def shown(value: Any) -> str:
    """A value of an argument for people; an empty text and one that is not set are told apart."""
    if value is None:
        return "not set"
    return "''" if value == "" else str(value)


def only(topology: Topology, queues: Iterable[str]) -> Topology:
    """`topology` with these `queues` alone, and their bindings."""
    names = set(queues)
    return Topology(
        topology.exchanges,
        tuple(queue for queue in topology.queues if queue.name in names),
        tuple(binding for binding in topology.bindings if binding.queue in names),
    )


def aside(queue: str) -> Queue:
    """The declaration of the queue that keeps the messages of `queue` meanwhile."""
    # Neither bound nor limit: it must take whatever comes, and keep it.
    return Queue(
        migration_queue_name(queue),
        {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED_DELIVERIES},
    )
