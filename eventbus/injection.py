"""Gives a handler or a source what its parameters ask for, and closes it after the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from eventbus.context import Context
from eventbus.dependencies import Dependencies, Injected, Provider


def bind(
    handler: Injected, dependencies: Dependencies, finish: Callable[[Any], Any]
) -> Callable[[Any, Context], Any]:
    """The function of a plain `handler` with all it is given, made once for all its runs.

    Parameters
    ----------
    finish:
        Runs what the function returns to its end, before anything is closed.
    """
    function, given = handler.function, dependencies.of(handler)
    leading = any(parameter.leading for parameter in handler.parameters)
    if not given and leading:
        return lambda event, context: finish(function(event, context))
    if not given:
        return lambda event, context: finish(function(event))

    def call(event: Any, context: Context) -> Any:
        failure: BaseException | None = None
        returned = None
        with ExitStack() as stack:
            named = {
                name: one.open(context, stack) if isinstance(one, Provider) else one(context)
                for name, one in given.items()
            }
            try:
                returned = finish(
                    function(event, context, **named) if leading else function(event, **named)
                )
            except BaseException as error:
                failure = error
                raise
        _not_swallowed(failure)
        return returned

    return call


def bind_async(
    handler: Injected, dependencies: Dependencies
) -> Callable[[Any, Context], Awaitable[Any]]:
    """As `bind`, for a coroutine handler."""
    function, given = handler.function, dependencies.of(handler)
    leading = any(parameter.leading for parameter in handler.parameters)
    if not given and leading:
        return function
    if not given:
        return lambda event, context: function(event)

    async def call(event: Any, context: Context) -> Any:
        failure: BaseException | None = None
        returned = None
        async with AsyncExitStack() as stack:
            named = {}
            for name, one in given.items():
                if isinstance(one, Provider):
                    named[name] = await one.open_async(context, stack)
                else:
                    named[name] = one(context)
            try:
                returned = await (
                    function(event, context, **named) if leading else function(event, **named)
                )
            except BaseException as error:
                failure = error
                raise
        _not_swallowed(failure)
        return returned

    return call


def _not_swallowed(failure: BaseException | None) -> None:
    # A generator that catches what is thrown into it would make a failed run look like a success.
    if failure is not None:
        raise failure
