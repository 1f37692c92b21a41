"""What is deprecated in an event that is published, told once.

Who publishes a deprecated event, or gives a deprecated field another value than its default, gets a
`DeprecationWarning` with the day and the alternative; Python shows those in tests and in
``__main__``, and ``python -W default`` everywhere. ``eventbus schema check`` complains once the day
has passed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

from eventbus.event import Event, Struct
from eventbus.shape import Deprecation

_told: set[str] = set()


def warn_of_deprecated(event: Event) -> None:
    """Warn of what is deprecated in `event`, of each thing once in this process."""
    for text in deprecations_in(event):
        if text not in _told:
            warnings.warn(text, DeprecationWarning, stacklevel=_callers_level())
            # Afterwards: where warnings are errors, each is one.
            _told.add(text)


def deprecations_in(event: Event) -> Iterator[str]:
    """What is deprecated in `event`, a sentence each."""
    cls = type(event)
    if cls.__deprecated__ is not None:
        yield _sentence(f"event {cls.__event_name__!r}", cls.__deprecated__)
    yield from _in_struct(event, cls.__event_name__, "")


def _in_struct(struct: Struct, event_name: str, path: str) -> Iterator[str]:
    cls = type(struct)
    if not cls.__deprecates__:
        return
    for name, marks in cls.__marks__.items():
        value = struct.__dict__[name]
        if marks.deprecated is not None and not _is_default(cls, name, value):
            yield _sentence(f"field {path + name!r} of event {event_name!r}", marks.deprecated)
        yield from _in_value(value, event_name, f"{path}{name}.")


def _in_value(value: Any, event_name: str, path: str) -> Iterator[str]:
    if isinstance(value, Struct):
        yield from _in_struct(value, event_name, path)
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _in_value(item, event_name, path)


def _is_default(cls: type[Struct], name: str, value: Any) -> bool:
    if name not in cls.__defaults__:
        return False
    default = cls.__defaults__[name]
    return bool(value == (default() if callable(default) else default))


def _sentence(what: str, deprecation: Deprecation) -> str:
    until = "" if deprecation.until is None else f", until {deprecation.until.isoformat()}"
    return f"{what} is deprecated{until}; {deprecation.instead}"


def _callers_level() -> int:
    """The ``stacklevel`` of who has called eventbus."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    return level


def _is_ours(module: str) -> bool:
    return module == "eventbus" or module.startswith("eventbus.")
