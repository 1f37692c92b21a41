"""Handlers and the subscriptions they belong to.

A subscription is one queue of one service, bound by the routing-key patterns of its handlers. An
event that comes to the queue runs every handler of the queue whose pattern matches it.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from eventbus.breaker import DEFAULT_BREAKER, Breaker
from eventbus.dependencies import Parameter, parameters_of
from eventbus.errors import DeclarationError
from eventbus.event import Event, named_events
from eventbus.patterns import check_pattern, matches
from eventbus.rate_limit import RateLimit
from eventbus.retry import Retry
from eventbus.topology import (
    DEFAULT_MAX_LENGTH,
    Overflow,
    Topology,
    dead_letter_queue_name,
    overflow_queue_name,
    queue_name,
    subscription_topology,
)

#: As long as the idempotency tables have room for.
HANDLER_NAME_MAX_LENGTH = 200

_LONGEST_TIME_LIMIT = timedelta(days=1)

#: Names of events seen, per handler; bounded, because a foreign producer may send any.
_CACHE_LIMIT = 4096


@dataclass(frozen=True, eq=False)
class Handler:
    """A function that reacts to events.

    Parameters
    ----------
    name:
        Unique within the service, and part of the idempotency key: keep it when the function is
        renamed.
    function:
        Takes the event, and what its other parameters ask for.
    patterns:
        Routing-key patterns of the events it reacts to.
    events:
        The classes its first parameter is annotated with, by event name; empty for any event.
    retry:
        What happens when it raises.
    transactional:
        It runs in a database transaction of eventbus that also holds the inbox row.
    max_concurrency:
        Runs at the same time in one process; None for as many as the pool has room for.
    rate_limit:
        Runs that one process begins in a time; None for any.
    soft_time_limit, time_limit:
        After the first `SoftTimeLimitExceeded` is raised in the handler, after the second the run
        has failed; None for those of the worker.
    """

    name: str
    function: Callable[..., Any]
    patterns: tuple[str, ...]
    events: dict[str, type[Event]]
    retry: Retry
    transactional: bool
    parameters: tuple[Parameter, ...]
    is_coroutine: bool
    max_concurrency: int | None = None
    rate_limit: RateLimit | None = None
    time_limit: timedelta | None = None
    soft_time_limit: timedelta | None = None
    _accepts: dict[str, bool] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """As errors name it."""
        return f"handler {self.name!r}"

    def accepts(self, event_name: str) -> bool:
        """Whether one of its patterns matches `event_name`."""
        known = self._accepts.get(event_name)
        if known is None:
            known = any(matches(pattern, event_name) for pattern in self.patterns)
            if len(self._accepts) < _CACHE_LIMIT:
                self._accepts[event_name] = known
        return known

    def event_class(self, event_name: str) -> type[Event] | None:
        """The class to read the event with; None if the handler knows no such event."""
        if self.events:
            return self.events.get(event_name)
        return named_events().get(event_name)


@dataclass
class Subscription:
    """One queue of one service.

    Parameters
    ----------
    service, name:
        Together the queue's name on the broker: ``shop`` and ``billing`` give ``shop.billing``.
    max_length:
        What the queue holds at most.
    overflow:
        What becomes of more.
    breaker:
        When workers stop to consume it; None for never.
    """

    service: str
    name: str
    handlers: list[Handler] = field(default_factory=list)
    max_length: int = DEFAULT_MAX_LENGTH
    overflow: Overflow = Overflow.DEAD_LETTER
    breaker: Breaker | None = DEFAULT_BREAKER

    @property
    def queue(self) -> str:
        """The queue's full name."""
        return queue_name(self.service, self.name)

    @property
    def dead_letter_queue(self) -> str:
        """Full name of the queue where its messages are parked."""
        return dead_letter_queue_name(self.queue)

    @property
    def overflow_queue(self) -> str | None:
        """Full name of the queue where its excess waits; None where the broker refuses it."""
        return overflow_queue_name(self.queue) if self.overflow is Overflow.DEAD_LETTER else None

    @property
    def patterns(self) -> tuple[str, ...]:
        """The routing-key patterns of all its handlers, each once."""
        return tuple(dict.fromkeys(p for handler in self.handlers for p in handler.patterns))

    def topology(self, exchange: str) -> Topology:
        """What it needs on the broker."""
        longest = max(
            (handler.retry.longest_delay for handler in self.handlers), default=timedelta(0)
        )
        return subscription_topology(
            exchange,
            self.queue,
            self.patterns,
            longest_delay_ms=int(longest.total_seconds() * 1000),
            max_length=self.max_length,
            overflow=self.overflow,
        )


def make_handler(
    function: Callable[..., Any],
    patterns: Sequence[str | type[Event]],
    *,
    name: str | None,
    retry: Retry,
    transactional: bool,
    namespace: dict[str, Any],
    max_concurrency: int | None = None,
    rate_limit: RateLimit | str | None = None,
    time_limit: timedelta | None = None,
    soft_time_limit: timedelta | None = None,
) -> Handler:
    """Check a handler's declaration and return it.

    Parameters
    ----------
    namespace:
        The local names where it was declared, to resolve its annotations.

    Raises
    ------
    DeclarationError
        No pattern, a bad pattern, a parameter that is not an event, a pattern and an annotation
        that contradict each other, or a limit that cannot be kept.
    """
    if not callable(function):
        raise DeclarationError(f"a handler is a function, not {function!r}")
    label = str(name or getattr(function, "__name__", type(function).__name__))
    _check_handler_name(label)
    if not patterns:
        raise DeclarationError(
            f"handler {label!r} has no routing key; write @bus.handler('order.paid', queue=...)"
        )
    keys = tuple(_pattern_of(pattern, label) for pattern in patterns)
    (first, *others), hints = parameters_and_hints(
        function, f"handler {label!r}", "the event", namespace
    )
    events = _event_classes(first, hints, label)
    for pattern in keys:
        if events and not any(matches(pattern, event_name) for event_name in events):
            raise DeclarationError(
                f"handler {label!r} is bound to {pattern!r} but takes "
                f"{' or '.join(sorted(events))}, which it does not match"
            )
    _check_not_generator(function, label)
    is_coroutine = inspect.iscoroutinefunction(called_function(function))
    if transactional and is_coroutine:
        raise DeclarationError(
            f"handler {label!r} is a coroutine and transactional; context.session is a plain "
            f"Session, so make it a plain function"
        )
    _check_max_concurrency(max_concurrency, label)
    _check_time_limits(soft_time_limit, time_limit, label)
    return Handler(
        label,
        function,
        keys,
        events,
        retry,
        transactional,
        parameters_of(others, hints, f"handler {label!r}"),
        is_coroutine,
        max_concurrency=max_concurrency,
        rate_limit=_rate_limit(rate_limit, label),
        time_limit=time_limit,
        soft_time_limit=soft_time_limit,
    )


def _check_max_concurrency(value: int | None, handler: str) -> None:
    if value is not None and (type(value) is not int or not 1 <= value <= 100_000):
        raise DeclarationError(
            f"handler {handler!r}: max_concurrency={value!r}; use 1 to 100,000, or leave it out"
        )


def _check_time_limits(soft: timedelta | None, hard: timedelta | None, handler: str) -> None:
    for name, value in (("soft_time_limit", soft), ("time_limit", hard)):
        if value is not None and (
            not isinstance(value, timedelta) or not timedelta(0) < value <= _LONGEST_TIME_LIMIT
        ):
            raise DeclarationError(
                f"handler {handler!r}: {name}={value!r}; use a timedelta of more than zero, up to "
                f"a day"
            )
    if soft is not None and hard is not None and soft >= hard:
        raise DeclarationError(
            f"handler {handler!r}: soft_time_limit={soft!r} must be shorter than "
            f"time_limit={hard!r}, so that the handler has time to tidy up"
        )


def _rate_limit(value: RateLimit | str | None, handler: str) -> RateLimit | None:
    if value is None or isinstance(value, RateLimit):
        return value
    try:
        return RateLimit.parse(value if isinstance(value, str) else repr(value))
    except DeclarationError as error:
        raise DeclarationError(f"handler {handler!r}: rate_limit: {error}") from None


def called_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function whose body runs: that inside a partial, or the ``__call__`` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _check_not_generator(function: Callable[..., Any], handler: str) -> None:
    called = called_function(function)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise DeclarationError(
            f"handler {handler!r} contains 'yield', so that a call would run none of it"
        )


def _check_handler_name(name: str) -> None:
    if (
        not name
        or len(name) > HANDLER_NAME_MAX_LENGTH
        or any(character.isspace() or not character.isprintable() for character in name)
    ):
        raise DeclarationError(
            f"handler name {name[:80]!r} must have 1 to {HANDLER_NAME_MAX_LENGTH} characters "
            f"without white space"
        )


def _pattern_of(pattern: str | type[Event], handler: str) -> str:
    if isinstance(pattern, type) and issubclass(pattern, Event):
        if not pattern.__event_name__:
            raise DeclarationError(
                f"handler {handler!r}: event class {pattern.__name__} has no name; declare it as "
                f"class {pattern.__name__}(Event, name='...')"
            )
        return pattern.__event_name__
    return check_pattern(pattern)


def parameters_and_hints(
    function: Callable[..., Any], label: str, first: str, namespace: dict[str, Any]
) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """The parameters of a function of the application's, at least one, and their annotations.

    Parameters
    ----------
    label:
        The function, as errors name it: ``handler 'charge'``.
    first:
        What its first parameter is given, for errors.
    namespace:
        The local names where it was declared.

    Raises
    ------
    DeclarationError
        It takes nothing, or an annotation cannot be read.
    """
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in positional:
        raise DeclarationError(f"{label} must take {first} as its first parameter")
    if all(parameter.annotation is parameter.empty for parameter in parameters):
        return parameters, {}
    try:
        return parameters, typing.get_type_hints(called_function(function), localns=namespace)
    except NameError as error:
        raise DeclarationError(
            f"{label}: an annotation names {error.name!r}, which is not defined where "
            f"it is declared; import it outside 'if TYPE_CHECKING'"
        ) from None


def _event_classes(
    parameter: inspect.Parameter, hints: dict[str, Any], handler: str
) -> dict[str, type[Event]]:
    annotation = hints.get(parameter.name, Any)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        classes = typing.get_args(annotation)
    else:
        classes = (annotation,)
    if classes in ((Event,), (Any,)):
        return {}
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Event) and cls.__event_name__):
            raise DeclarationError(
                f"handler {handler!r}: parameter {parameter.name!r} is annotated with {cls!r}, "
                f"which is not an event with a name"
            )
    return {cls.__event_name__: cls for cls in classes}
