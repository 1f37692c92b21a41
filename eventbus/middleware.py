"""Middleware: code around each event that is published, and around each run of a handler.

    class Tenancy:
        def publish_scope(self, call_next, event, options):
            return call_next(event, options.with_attributes(tenant=current_tenant.get()))

        def consume_scope(self, call_next, event, context):
            with tenant(context.extensions["tenant"]):
                return call_next(event, context)

    bus.add_middleware(Tenancy())

A middleware is an object with any of these methods; the first one added is the outermost.

``publish_scope(call_next, event, options)`` is around each event of `publish`, `publish_many` and
`publish_async`, before anything is written: it may pass on another event or other `PublishOptions`,
and refuses by raising. ``call_next(event, options)`` returns the event's id.

``consume_scope(call_next, event, context)`` is around one run of one handler that is a plain
function; ``async def consume_scope_async(call_next, event, context)`` around one of a coroutine,
and awaits ``call_next``. What it raises is a failure of the handler; it may raise `Skip`, `Reject`
and `RetryLater` as well. The transaction of a transactional handler is inside: when ``call_next``
returns, it is committed.

A scope that neither calls ``call_next`` nor raises is an error: its event would be acknowledged
unhandled, or never written.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from eventbus.errors import DeclarationError, EventBusError

if TYPE_CHECKING:
    from eventbus.context import Context
    from eventbus.event import Event
    from eventbus.subscription import Handler

PUBLISH = "publish_scope"
CONSUME = "consume_scope"
CONSUME_ASYNC = "consume_scope_async"
SCOPES = (PUBLISH, CONSUME, CONSUME_ASYNC)


class MiddlewareError(EventBusError):
    """A middleware did not pass an event on, and did not say why."""


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What a publisher said of one event; a middleware passes on a changed copy.

    Parameters
    ----------
    key, delay, subject:
        As of `EventBus.publish`.
    attributes:
        CloudEvents extension attributes, which travel as headers ``cloudEvents_<name>``; a handler
        finds them in `Context.extensions`.
    """

    key: object = None
    delay: timedelta | None = None
    subject: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def with_attributes(self, **attributes: str) -> PublishOptions:
        """The same with `attributes` in addition."""
        return replace(self, attributes={**self.attributes, **attributes})


PublishNext = Callable[["Event", PublishOptions], str]
ConsumeNext = Callable[["Event", "Context"], Any]
ConsumeNextAsync = Callable[["Event", "Context"], Awaitable[Any]]


def check_middleware(middleware: object) -> None:
    """Raise `DeclarationError` unless `middleware` is one."""
    if isinstance(middleware, type):
        raise DeclarationError(
            f"add_middleware takes an object, not the class {middleware.__name__}; write "
            f"add_middleware({middleware.__name__}())"
        )
    label = type(middleware).__name__
    found = [name for name in SCOPES if hasattr(middleware, name)]
    if not found:
        raise DeclarationError(
            f"{label} is no middleware: it has none of the methods {', '.join(SCOPES)}"
        )
    for name in found:
        method = getattr(middleware, name)
        if not callable(method):
            raise DeclarationError(f"{label}.{name} is not a method")
        if inspect.iscoroutinefunction(method) is not (name == CONSUME_ASYNC):
            raise DeclarationError(
                f"{label}.{name} must be {'a coroutine' if name == CONSUME_ASYNC else 'plain'}: "
                f"{CONSUME_ASYNC} is around coroutine handlers and awaits call_next, {CONSUME} "
                f"and {PUBLISH} do not"
            )


def check_around_all(middlewares: Iterable[object], handlers: Iterable[Handler]) -> None:
    """Raise `DeclarationError` where one of `middlewares` would not be around one of `handlers`."""
    declared = list(handlers)
    for middleware in middlewares:
        for missing, other in ((CONSUME, CONSUME_ASYNC), (CONSUME_ASYNC, CONSUME)):
            if hasattr(middleware, missing) or not hasattr(middleware, other):
                continue
            left_out = [h.name for h in declared if h.is_coroutine is (missing == CONSUME_ASYNC)]
            if left_out:
                label = type(middleware).__name__
                raise DeclarationError(
                    f"middleware {label} has {other} and no {missing}, so it would not be around "
                    f"handler {left_out[0]!r}; add {missing}"
                )


def scopes(middlewares: Sequence[object], name: str) -> tuple[Callable[..., Any], ...]:
    """The methods called `name` of those that have one, the outermost first."""
    return tuple(getattr(one, name) for one in middlewares if hasattr(one, name))


def call_through(
    around: Sequence[Callable[..., Any]],
    innermost: Callable[[Any, Any], Any],
    event: Any,
    circumstances: Any,
) -> Any:
    """Call `innermost` inside the scopes `around`.

    Parameters
    ----------
    circumstances:
        `PublishOptions` or `Context`.

    Raises
    ------
    MiddlewareError
        A scope returned without having passed the event on.
    """
    reached = 0

    def enter(position: int, event: Any, circumstances: Any) -> Any:
        nonlocal reached
        reached = max(reached, position)
        if position == len(around):
            return innermost(event, circumstances)
        return around[position](_next(enter, position), event, circumstances)

    returned = enter(0, event, circumstances)
    _check_reached(around, reached)
    return returned


async def call_through_async(
    around: Sequence[Callable[..., Awaitable[Any]]],
    innermost: Callable[[Any, Any], Awaitable[Any]],
    event: Any,
    context: Any,
) -> Any:
    """As `call_through`, for coroutines: each step is awaited."""
    reached = 0

    async def enter(position: int, event: Any, context: Any) -> Any:
        nonlocal reached
        reached = max(reached, position)
        if position == len(around):
            return await innermost(event, context)
        return await around[position](_next(enter, position), event, context)

    returned = await enter(0, event, context)
    _check_reached(around, reached)
    return returned


def _next(enter: Callable[[int, Any, Any], Any], position: int) -> Callable[[Any, Any], Any]:
    return lambda event, circumstances: enter(position + 1, event, circumstances)


def _check_reached(around: Sequence[Callable[..., Any]], reached: int) -> None:
    if reached < len(around):
        raise MiddlewareError(
            f"middleware {getattr(around[reached], '__qualname__', around[reached])!r} returned "
            f"without calling call_next; call it, or raise: eventbus.Skip passes over an event"
        )
