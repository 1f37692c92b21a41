"""The arguments of an existing queue, found out over AMQP alone, which has no question for them.

A declaration that differs from the queue is refused, and the refusal names one argument and its
value (``inequivalent arg 'x-max-length' ... current is '100'``). Each declaration sent here has an
argument that no queue can have, so it is refused whether the queue exists or not: nothing is ever
created. What a refusal tells goes into the next declaration, until the impossible argument is all
that is left to complain of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eventbus.drift import COMPARED_ARGUMENTS, FoundQueue

#: No queue type, no truth value, no number.
_IMPOSSIBLE = "eventbus-probe"
#: What other queues have not, whatever a declaration says.
_QUORUM_ONLY = ("x-delivery-limit", "x-dead-letter-strategy")
#: Stands for a value that differs from what is declared and that the refusal had no room for.
NOT_SHOWN = "(another value)"
#: Arguments whose impossible value is refused for a queue that does not exist, too. RabbitMQ
#: compares in an order of its own, which differs between versions; on none that we know does an
#: argument of ours come after all of these.
_GUARDS = ("x-queue-type", "x-single-active-consumer", "x-message-ttl")

_REFUSAL = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?:queue|exchange) '.+?' in vhost '.*?': "
    r"received (?:none|(?:the value )?'.*?'(?: of type '\w+')?) "
    r"but current is (?P<current>none|(?:the value )?'(?P<value>.*?)'(?: of type '\w+')?)$",
    re.DOTALL,
)
_NAMED = re.compile(r"inequivalent arg '(?P<argument>[^']+)'")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the broker's refusal of a declaration tells.

    Parameters
    ----------
    current:
        The value on the broker, None if the argument is not set.
    cut:
        The text was too long for the protocol (255 bytes), and the value was lost.
    """

    argument: str
    current: Any = None
    cut: bool = False


def read_refusal(text: str) -> Refusal | None:
    """Read the text of a 406 PRECONDITION_FAILED; None if it is about something else."""
    match = _REFUSAL.search(text)
    if match is not None:
        value = match["value"]
        return Refusal(match["argument"], None if value is None else _typed(value))
    named = _NAMED.search(text)
    return Refusal(named["argument"], cut=True) if named is not None else None


def _typed(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.lstrip("-").isdigit() else text


@dataclass
class _Probe:
    """What is known of one queue, and what to send next."""

    arguments: dict[str, Any]
    unseen: set[str] = field(default_factory=set)
    durable: bool = True
    auto_delete: bool = False

    def learn(self, refusal: Refusal) -> bool:
        """Take over what a refusal tells; False if it is nothing to go on with."""
        name = refusal.argument
        if refusal.cut:
            self.arguments[name] = NOT_SHOWN
            return False
        if name in ("durable", "auto_delete"):
            setattr(self, name, bool(refusal.current))
        elif refusal.current is None:
            if name not in self.arguments:
                return False
            del self.arguments[name]
        elif self.arguments.get(name) == refusal.current:
            return False  # it is said to differ from itself: another type than we think
        else:
            self.arguments[name] = refusal.current
        return True


Declare = Callable[[Mapping[str, Any], bool, bool], "Refusal | None"]


def probe(name: str, declared: Mapping[str, Any], declare: Declare) -> FoundQueue:
    """Find out the arguments of the queue `name`, which exists.

    Parameters
    ----------
    declared:
        What they are expected to be: each that is different takes one more question.
    declare:
        Declares the queue with arguments, durable, auto-delete; returns why it was refused.
    """
    known = _Probe(dict(declared))
    for guard in _GUARDS:
        if not _settle(known, guard, declare):
            names = COMPARED_ARGUMENTS | declared.keys()
            known.unseen |= {one for one in names if known.arguments.get(one) != NOT_SHOWN}
            break
    if "x-queue-type" not in known.unseen and known.arguments.get("x-queue-type") != "quorum":
        for argument in _QUORUM_ONLY:
            known.arguments.pop(argument, None)  # declared, and not compared there
    return FoundQueue(
        name,
        known.arguments,
        frozenset(known.unseen),
        durable=known.durable,
        auto_delete=known.auto_delete,
    )


def _settle(known: _Probe, guard: str, declare: Declare) -> bool:
    """Ask until `guard` is the one that is complained of, and known; False if that cannot be."""
    for _ in range(2 * len(COMPARED_ARGUMENTS)):
        sent = {**known.arguments, guard: _IMPOSSIBLE}
        refusal = declare(sent, known.durable, known.auto_delete)
        if refusal is None:
            return False
        if refusal.argument == guard and not refusal.cut:
            known.arguments.pop(guard, None)
            if refusal.current is not None:
                known.arguments[guard] = refusal.current
            return True
        if not known.learn(refusal):
            return False
    return False
