"""What a handler is given beside the event, by the annotations of its parameters.

    @bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid, context: Context, logger: logging.Logger, bank: Bank) -> None: ...

    bus.provide(Bank, lambda context: Bank(idempotency_key=context.event_id))

`Context` and ``logging.Logger`` are always there, SQLAlchemy's ``Session`` with
``transactional=True``; everything else is provided by the application. What is found is decided
once for each handler, when a worker starts.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from eventbus.context import Context, current_context
from eventbus.errors import DeclarationError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a handler beside the event.

    Parameters
    ----------
    annotation:
        The type that it asks for, without ``| None``.
    required:
        It has no default.
    leading:
        It is the context in second place, which needs no name and no annotation.
    """

    name: str
    annotation: Any
    required: bool
    leading: bool


class Injected(Protocol):
    """What is given its parameters: a handler or a source.

    Parameters
    ----------
    label:
        As errors name it: ``handler 'charge'``.
    transactional:
        It runs in a database transaction of eventbus.
    """

    @property
    def label(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...
    @property
    def transactional(self) -> bool: ...
    @property
    def is_coroutine(self) -> bool: ...


def parameters_of(
    parameters: list[inspect.Parameter], hints: dict[str, Any], owner: str
) -> tuple[Parameter, ...]:
    """The parameters after the first one.

    Parameters
    ----------
    owner:
        Whose they are, as errors name it: ``handler 'charge'``.

    Raises
    ------
    DeclarationError
        One could never be given anything.
    """
    found = []
    for position, parameter in enumerate(parameters):
        annotation = _bare(hints.get(parameter.name, Any))
        required = parameter.default is parameter.empty
        if parameter.kind in _VARIABLE:
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise DeclarationError(
                f"{owner}: nothing is given to {stars}{parameter.name}; name its "
                f"parameters and annotate them"
            )
        if annotation is Any and position == 0 and required and parameter.kind in _POSITIONAL:
            annotation = Context
        if annotation is Any and not required:
            continue
        _check(parameter, annotation, required, owner)
        leading = position == 0 and annotation is Context and parameter.kind in _POSITIONAL
        if parameter.kind is parameter.POSITIONAL_ONLY and not leading:
            raise DeclarationError(
                f"{owner}: parameter {parameter.name!r} is positional-only; what is "
                f"provided is given by name"
            )
        found.append(Parameter(parameter.name, annotation, required, leading))
    return tuple(found)


def _check(parameter: inspect.Parameter, annotation: Any, required: bool, owner: str) -> None:
    if required and annotation is Any:
        raise DeclarationError(
            f"{owner}: parameter {parameter.name!r} has no annotation that says what "
            f"to give it, such as {parameter.name}: Session; it takes "
            f"the context and what is provided by type"
        )
    if required and getattr(annotation, "__module__", None) == "builtins":
        raise DeclarationError(
            f"{owner}: parameter {parameter.name!r} is annotated with "
            f"{_shown(annotation)}, which tells nothing apart; annotate it with a class of its own "
            f"and call bus.provide with it"
        )


def _bare(annotation: Any) -> Any:
    """`annotation` without ``| None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not types.NoneType]
        if len(rest) == 1:
            return rest[0]
    return annotation


def _shown(annotation: Any) -> str:
    return str(getattr(annotation, "__name__", annotation))


# -- providers -----------------------------------------------------------------------------------


class Provider:
    """Makes the value of one type for one run of a handler."""

    def __init__(self, kind: Any, factory: Callable[..., Any]) -> None:
        self.kind = kind
        called = inspect.unwrap(factory)
        self.asynchronous = inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(
            called
        )
        self._takes_context = _takes_context(kind, factory)
        self._factory = factory
        if inspect.isgeneratorfunction(factory):
            self._factory = contextlib.contextmanager(factory)
        elif inspect.isasyncgenfunction(factory):
            self._factory = contextlib.asynccontextmanager(factory)

    def open(self, context: Context, stack: contextlib.ExitStack) -> Any:
        """The value for this run; what is to be closed afterwards is left to `stack`."""
        made = self._make(context)
        if self._is_value(made):
            return made
        if isinstance(made, contextlib.AbstractContextManager):
            return stack.enter_context(made)
        if inspect.isawaitable(made) or isinstance(made, contextlib.AbstractAsyncContextManager):
            # A plain function that returns one tells only now.
            raise DeclarationError(_asynchronous(f"handler {context.handler!r}", self.kind))
        return made

    async def open_async(self, context: Context, stack: contextlib.AsyncExitStack) -> Any:
        """As `open`, for a coroutine handler."""
        made = self._make(context)
        if inspect.isawaitable(made) and not self._is_value(made):
            made = await made
        if self._is_value(made):
            return made
        if isinstance(made, contextlib.AbstractAsyncContextManager):
            return await stack.enter_async_context(made)
        if isinstance(made, contextlib.AbstractContextManager):
            return stack.enter_context(made)
        return made

    def _make(self, context: Context) -> Any:
        return self._factory(context) if self._takes_context else self._factory()

    def _is_value(self, made: Any) -> bool:
        """Whether it is what was asked for, and not a context manager that gives it.

        A `Session` is both. It is then given as it is: it may be shared, and not ours to close.
        """
        try:
            return isinstance(made, self.kind)
        except TypeError:  # a NewType or a protocol
            return False


def _takes_context(kind: Any, factory: Callable[..., Any]) -> bool:
    if not callable(factory):
        raise DeclarationError(
            f"provide({_shown(kind)}, {factory!r:.100}): the second is a function that makes one"
        )
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (ValueError, TypeError):  # a class written in C tells nothing
        return False
    required = [p for p in parameters if p.default is p.empty and p.kind not in _VARIABLE]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise DeclarationError(
            f"provide({_shown(kind)}, ...): the factory takes nothing or the context, not "
            f"{', '.join(p.name for p in required)}"
        )
    return bool(required)


def _asynchronous(owner: str, kind: Any) -> str:
    return (
        f"{owner}: the factory of {_shown(kind)} is asynchronous, and the function that it is for "
        f"is not; make that a coroutine, or the factory plain"
    )


#: Given for a parameter: the value itself, from the context of the run.
Source = Callable[[Context], Any]


class Dependencies:
    """What the handlers of one bus can be given.

    Parameters
    ----------
    django:
        Transactional handlers run on Django's connection, not in a `Session`.
    """

    def __init__(self, *, django: bool = False) -> None:
        self._django = django
        self._providers: dict[Any, Provider] = {}

    def provide(self, kind: Any, factory: Callable[..., Any]) -> None:
        """See `EventBus.provide`."""
        if kind is Context or kind is logging.Logger:
            raise DeclarationError(f"{_shown(kind)} is given by eventbus itself")
        if getattr(kind, "__module__", None) == "builtins":
            raise DeclarationError(
                f"provide({_shown(kind)}, ...) would tell nothing apart; provide a class of its own"
            )
        if kind in self._providers:
            raise DeclarationError(f"{_shown(kind)} is provided already; provide it once")
        self._providers[kind] = Provider(kind, factory)

    def of(self, handler: Injected) -> dict[str, Source | Provider]:
        """What each parameter of `handler` is given, by name.

        Left out are the context in second place, and what keeps its default.

        Raises
        ------
        DeclarationError
            Nothing provides a parameter; the text says what would.
        """
        found: dict[str, Source | Provider] = {}
        for parameter in handler.parameters:
            if parameter.leading:
                continue
            source = self._source(handler, parameter)
            if source is not None:
                found[parameter.name] = source
            elif parameter.required:
                raise DeclarationError(self._remedy(handler, parameter))
        return found

    def _source(self, handler: Injected, parameter: Parameter) -> Source | Provider | None:
        annotation = parameter.annotation
        if annotation is Context:
            return _the_context
        if annotation is logging.Logger:
            logger = _logger(handler)
            return lambda context: logger
        provider: Provider | None = self._providers.get(annotation)
        if provider is None and _is_session(annotation) and handler.transactional:
            return None if self._django else _the_session
        if provider is not None and provider.asynchronous and not handler.is_coroutine:
            raise DeclarationError(_asynchronous(handler.label, annotation))
        return provider

    def _remedy(self, handler: Injected, parameter: Parameter) -> str:
        shown = _shown(parameter.annotation)
        text = f"{handler.label}: nothing provides parameter {parameter.name!r} of type {shown}; "
        if _is_session(parameter.annotation) and self._django:
            text += "in a Django project handlers write with the ORM: leave it out, or "
        elif _is_session(parameter.annotation):
            text += "declare the handler with transactional=True, or "
        return text + f"call bus.provide({shown}, factory) before a worker starts"


def _the_context(context: Context) -> Context:
    return context


def _the_session(context: Context) -> Any:
    return context.session


def _is_session(annotation: Any) -> bool:
    orm = sys.modules.get("sqlalchemy.orm")
    return orm is not None and annotation is orm.Session


# -- the logger ----------------------------------------------------------------------------------


def _logger(handler: Injected) -> logging.Logger:
    """A logger below that of the handler's module; its records tell the event."""
    function = handler.function
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or "eventbus"
    logger = logging.getLogger(f"{module}.{handler.name}")
    if _add_event not in logger.filters:
        logger.addFilter(_add_event)
    return logger


def _add_event(record: logging.LogRecord) -> bool:
    context = current_context.get()
    if context is not None:
        record.event_id = context.event_id
        record.event_name = context.envelope.type
        record.handler = context.handler
    return True
