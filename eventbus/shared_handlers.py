"""Handlers of reusable packages, which know no bus.

    @shared_handler("order.*", queue="audit")
    def record(event: Event, context: Context) -> None: ...

A bus takes them over that looks for handlers in their package: ``bus.autodiscover("auditing")``.
No other does, so that with two buses in one process it is said which of them has which handlers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from eventbus.event import Event
from eventbus.retry import Retry
from eventbus.subscription import make_handler
from eventbus.topology import check_name_part

if TYPE_CHECKING:
    from datetime import timedelta

    from typing_extensions import Unpack

    from eventbus.rate_limit import RateLimit

_Function = TypeVar("_Function", bound=Callable[..., Any])


class HandlerOptions(TypedDict, total=False):
    """The options of `EventBus.handler`."""

    queue: str | None
    name: str | None
    retry: Retry | None
    transactional: bool
    max_concurrency: int | None
    rate_limit: RateLimit | str | None
    time_limit: timedelta | None
    soft_time_limit: timedelta | None


@dataclass(frozen=True, eq=False)
class SharedHandler:
    """A handler that a bus may take over; `module` is where it was declared."""

    function: Callable[..., Any]
    patterns: tuple[str | type[Event], ...]
    options: HandlerOptions
    module: str

    def is_in(self, package: str) -> bool:
        """Whether it was declared in `package` or below it."""
        return f"{self.module}.".startswith(f"{package}.")


_declared: list[SharedHandler] = []


def shared_handler(
    *patterns: str | type[Event], **options: Unpack[HandlerOptions]
) -> Callable[[_Function], _Function]:
    """Declare a handler for each bus that discovers its package.

    Parameters are those of `EventBus.handler`. Without `retry` the policy of the bus applies.

    Raises
    ------
    DeclarationError
        As of `EventBus.handler`; where two names meet, only when a bus takes them over.
    """
    module = str(sys._getframe(1).f_globals.get("__name__"))

    def declare(function: _Function) -> _Function:
        _check(function, patterns, options)
        _declared.append(SharedHandler(function, patterns, options, module))
        return function

    return declare


def _check(
    function: Callable[..., Any],
    patterns: tuple[str | type[Event], ...],
    options: HandlerOptions,
) -> None:
    """Raise what a bus would raise, where the handler is written."""
    checked = {name: value for name, value in options.items() if name != "queue"}
    handler = make_handler(function, patterns, **_DEFAULTS | checked, namespace={})
    check_name_part("queue name", options.get("queue") or handler.name)


_DEFAULTS: dict[str, Any] = {"name": None, "retry": Retry(), "transactional": False}


def declared_in(package: str) -> list[SharedHandler]:
    """The shared handlers of `package`, in the order of their declaration."""
    return [one for one in _declared if one.is_in(package)]
