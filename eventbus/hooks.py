"""Lifecycle hooks: functions that are told what happens in a worker or a dispatcher.

    @bus.on("dead_lettered")
    def tell(happening: DeadLettered) -> None:
        pager.send(f"{happening.handler} gave up: {happening.reason}")

A hook runs at once, on the thread where it happens, and should be quick. What it raises is logged
and changes nothing. To change what happens, write a middleware (`eventbus.middleware`).

This module is the list of all hooks: each is called by the name of its class in small letters,
``worker_ready`` for `WorkerReady`, and is given an instance of it.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from eventbus.errors import DeclarationError

if TYPE_CHECKING:
    from eventbus.context import Context
    from eventbus.event import Event

log = logging.getLogger("eventbus.hooks")


@dataclass(frozen=True, slots=True)
class WorkerStarting:
    """A worker process is about to connect; `queues` are full names."""

    worker: str
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """It consumes all its queues for the first time."""

    worker: str
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerShutdown:
    """It has stopped; `drained` says whether every handler had ended."""

    worker: str
    drained: bool


@dataclass(frozen=True, slots=True)
class HandlerSucceeded:
    """A run of a handler returned after `seconds`; its effect is about to be remembered."""

    context: Context
    event: Event
    seconds: float


@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """A run of a handler raised `error` after `seconds`."""

    context: Context
    event: Event
    error: BaseException
    seconds: float


@dataclass(frozen=True, slots=True)
class HandlerSkipped:
    """A handler raised `eventbus.Skip`: the event is remembered as handled, without an effect."""

    context: Context
    event: Event
    reason: str


@dataclass(frozen=True, slots=True)
class Retried:
    """The message goes to a retry queue after `attempt` of `handler` failed."""

    queue: str
    handler: str
    event_id: str
    attempt: int
    delay: timedelta


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The message goes to the dead-letter queue.

    `handler` and `event_id` are None where it could not be read so far.
    """

    queue: str
    handler: str | None
    event_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerOpened:
    """Too many handlers of `queue` fail; it is not consumed for now."""

    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerClosed:
    """A probe succeeded; `queue` is consumed again."""

    queue: str


@dataclass(frozen=True, slots=True)
class DispatcherReady:
    """A dispatcher has a broker that takes messages, for the first time."""

    dispatcher: str


@dataclass(frozen=True, slots=True)
class DispatcherShutdown:
    """It has stopped."""

    dispatcher: str


@dataclass(frozen=True, slots=True)
class Unrouted:
    """No queue is bound for an event called `name`; it is kept until one is."""

    name: str
    event_id: str


@dataclass(frozen=True, slots=True)
class EventHeldBack:
    """A queue is full or the broker refuses it: events called `name` wait in the outbox."""

    name: str


@dataclass(frozen=True, slots=True)
class EventResumed:
    """The broker takes events called `name` again; those that wait follow."""

    name: str


Happening = (
    WorkerStarting
    | WorkerReady
    | WorkerShutdown
    | HandlerSucceeded
    | HandlerFailed
    | HandlerSkipped
    | Retried
    | DeadLettered
    | BreakerOpened
    | BreakerClosed
    | DispatcherReady
    | DispatcherShutdown
    | Unrouted
    | EventHeldBack
    | EventResumed
)

_Hook = TypeVar("_Hook", bound=Callable[[Any], object])


def name_of(kind: type) -> str:
    """The name of a hook: ``worker_ready`` for `WorkerReady`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


#: Name to class of what is given.
HOOKS: dict[str, type[Happening]] = {name_of(kind): kind for kind in get_args(Happening)}


def check_name(name: str) -> None:
    """Raise `DeclarationError` where there is no hook called `name`."""
    if name not in HOOKS:
        near = get_close_matches(str(name), HOOKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"hooks: {', '.join(HOOKS)}"
        raise DeclarationError(f"there is no hook {name!r}; {hint}")


class Hooks:
    """The hooks of one bus."""

    def __init__(self) -> None:
        self._functions: dict[type, tuple[Callable[[Any], object], ...]] = {}

    def add(self, name: str, function: _Hook) -> _Hook:
        """Call `function` with each happening of that name from now on.

        Raises
        ------
        DeclarationError
            There is no such hook, or `function` cannot be one.
        """
        check_name(name)
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise DeclarationError(
                f"hook {name!r} is a plain function that takes one argument, not {function!r:.100}"
            )
        kind = HOOKS[name]
        self._functions[kind] = (*self._functions.get(kind, ()), function)
        return function

    def __bool__(self) -> bool:
        """Whether anybody is told of anything; asked where something happens for each message."""
        return bool(self._functions)

    def fire(self, happening: Happening) -> None:
        """Tell all hooks of `happening`; raises nothing of theirs."""
        for function in self._functions.get(type(happening), ()):
            try:
                function(happening)
            except (Exception, SystemExit):
                log.exception("hook %s failed at %s", name_of(type(happening)), function)
