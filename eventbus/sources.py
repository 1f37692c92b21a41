"""Sources of truth: the functions that know what a thin event is about.

    @bus.source("order")
    def order(id: UUID) -> Order | None: ...

A handler asks with `eventbus.Context.fetch`.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from eventbus.dependencies import Parameter, parameters_of
from eventbus.directives import Reject, Skip
from eventbus.errors import DeclarationError, EventBusError, ValidationError
from eventbus.event import Event
from eventbus.references import Ref

#: The type of a `Ref`.
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")

_IDENTIFIERS = (UUID, int, str)


class Gone(EventBusError):
    """The source of truth says that there is no such thing any more.

    Raised by `eventbus.Context.fetch`. A source returns None, or raises this with more to say.
    What becomes of an event whose handler lets it escape is the source's to say:
    ``@bus.source("order", gone="skip")``.

    Parameters
    ----------
    reason:
        For the log.

    Attributes
    ----------
    thing:
        What is gone, as ``order 42``; None as long as the source has it in hand.
    """

    thing: str | None = None

    def __init__(self, reason: object = "") -> None:
        self.reason: str | None = str(reason)
        super().__init__(self.reason)


class GoneSkipped(Gone, Skip):
    """There is nothing to do for an event about something that is gone."""


class GoneRejected(Gone, Reject):
    """An event about something that is gone is a defect: an operator is to see it."""


#: What becomes of an event whose handler lets `Gone` escape.
GONE: dict[str, type[Gone]] = {"skip": GoneSkipped, "dead-letter": GoneRejected, "retry": Gone}


@dataclass(frozen=True, eq=False)
class Source:
    """A function that fetches a thing of one type by its identifier.

    Parameters
    ----------
    name:
        The type of the things it knows, such as ``order``.
    identifier:
        What it takes: a UUID, an int or a str.
    gone:
        Raised where it knows no such thing.
    """

    name: str
    function: Callable[..., Any]
    identifier: type
    gone: type[Gone]
    parameters: tuple[Parameter, ...]
    is_coroutine: bool
    #: It may ask for the session of the handler that it runs for.
    transactional: bool = True

    @property
    def label(self) -> str:
        """As errors name it."""
        return f"source {self.name!r}"

    def key(self, identifier: object) -> Any:
        """`identifier` as the function takes it.

        Raises
        ------
        ValidationError
            It is none that this source can know.
        """
        if type(identifier) is self.identifier:
            return identifier
        if isinstance(identifier, _IDENTIFIERS) and not isinstance(identifier, bool):
            try:
                return self.identifier(str(identifier))
            except ValueError:
                pass
        raise ValidationError(
            f"{self.label} takes a {self.identifier.__name__}, not {identifier!r:.100}"
        )

    def gone_error(self, identifier: object, said: Gone | None = None) -> Gone:
        """The error for a thing that is gone: in the form that tells what becomes of the event.

        Parameters
        ----------
        said:
            What the function raised, if it did not return None. What it has been told of another
            thing stays what it is.
        """
        if said is not None and said.thing is not None:
            return said
        thing = f"{self.name} {identifier}"
        reason = f"{thing} is gone"
        error = self.gone(f"{reason}: {said.reason}" if said and said.reason else reason)
        error.thing = thing
        return error


def make_source(
    name: str, function: Callable[..., Any], *, gone: str, namespace: dict[str, Any]
) -> Source:
    """Check a source's declaration and return it.

    Parameters
    ----------
    namespace:
        The local names where it was declared, to resolve its annotations.

    Raises
    ------
    DeclarationError
        Its name or its parameters cannot work.
    """
    from eventbus.subscription import called_function, parameters_and_hints

    check_source_name(name)
    label = f"source {name!r}"
    if gone not in GONE:
        raise DeclarationError(f"{label}: gone={gone!r:.80}; use {' or '.join(map(repr, GONE))}")
    if not callable(function):
        raise DeclarationError(f"{label} is a function, not {function!r:.100}")
    called = called_function(function)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise DeclarationError(f"{label} contains 'yield'; return what it found, or None")
    (first, *others), hints = parameters_and_hints(function, label, "the identifier", namespace)
    return Source(
        name,
        function,
        _identifier(hints.get(first.name, str), label),
        GONE[gone],
        parameters_of(others, hints, label),
        inspect.iscoroutinefunction(called),
    )


def check_source_name(name: object) -> None:
    """Refuse what could not be the type of a `Ref`."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise DeclarationError(
            f"source {name!r:.80}: a source is called like the things it knows, in small letters, "
            f"digits, '_', '-' and '.', such as @bus.source('order')"
        )


def _identifier(annotation: Any, label: str) -> type:
    if annotation is Any:
        return str
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if annotation not in _IDENTIFIERS:
        raise DeclarationError(
            f"{label}: its first parameter is the identifier; annotate it with UUID, int or str, "
            f"not {annotation!r:.80}"
        )
    kind: type = annotation
    return kind


# -- what an event is about ----------------------------------------------------------------------


def named_thing(of: Event | Ref | str, id: object = None) -> tuple[str, object]:
    """The type and the identifier of what is asked for: see `eventbus.Context.fetch`."""
    if isinstance(of, str):
        if id is None:
            raise DeclarationError(
                f"fetch({of!r:.80}) has no identifier; write context.fetch({of!r:.80}, event.id)"
            )
        return of, id
    if id is not None:
        raise DeclarationError(
            f"fetch({of!r:.80}, {id!r:.80}): an identifier belongs to the name of a source; "
            f"{type(of).__name__} has its own"
        )
    if isinstance(of, Ref):
        return of.type, of.id
    if isinstance(of, Event):
        return subject_of(of)
    raise DeclarationError(
        f"fetch({of!r:.80}): give an event, a Ref, or the name of a source and an identifier"
    )


def subject_of(event: Event) -> tuple[str, object]:
    """The type and the identifier of what `event` is about.

    The words of its name before the last say it, the nearest first: ``order.paid`` is about what
    the field ``order`` refers to, a `Ref`, or about the order with the ``order_id``. Without such a
    field it is about the only `Ref` that it has.

    Raises
    ------
    DeclarationError
        It does not tell.
    """
    values = vars(event)
    for word in reversed(type(event).__event_name__.lower().split(".")[:-1]):
        field = word.replace("-", "_")
        if isinstance(values.get(field), Ref):
            return values[field].type, values[field].id
        if values.get(f"{field}_id") is not None:
            return word, values[f"{field}_id"]
    references = [value for value in values.values() if isinstance(value, Ref)]
    if len(references) == 1:
        return references[0].type, references[0].id
    name = type(event).__event_name__
    raise DeclarationError(
        f"{name} does not tell what it is about: it has no field such as "
        f"{name.split('.')[0].replace('-', '_')}_id, and {len(references)} references; say it, "
        f"context.fetch('order', event.order_id)"
    )
