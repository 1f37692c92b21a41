"""The check of an event when its class is declared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from eventbus.errors import DeclarationError
from eventbus.thin.findings import findings_of

if TYPE_CHECKING:
    from eventbus.event import Event

THIN = "thin"
SNAPSHOT = "snapshot"

#: As many as a person reads in one message.
_SHOWN = 5

_enforced = True


def check(event: type[Event], name: str) -> None:
    """Refuse an event that is not what its style says; a base, without a name, may be anything.

    An event with ``source=`` of another service is not judged: what it carries is theirs to say.

    Raises
    ------
    DeclarationError
        A field has no place in a thin event, or a snapshot does not say why it is one.
    """
    if not _enforced:
        return
    _check_style(event, name)
    if event.__style__ == THIN and event.__source__ is None:
        found = findings_of(event)
        if found:
            shown = [str(finding) for finding in found[:_SHOWN]]
            if found[_SHOWN:]:
                shown.append(f"and {len(found) - _SHOWN} more")
            raise DeclarationError(
                f"{event.__qualname__} ({name}) is not a thin event: "
                f"{'; '.join(shown)}. Or, where its consumers need a copy, say so: "
                f'style="snapshot", reason="…"'
            )


def _check_style(event: type[Event], name: str) -> None:
    where = f"{event.__qualname__} ({name})"
    if event.__style__ not in (THIN, SNAPSHOT):
        raise DeclarationError(
            f'{where}: style={event.__style__!r:.80}; use "{THIN}", or "{SNAPSHOT}" with a reason'
        )
    reason = event.__reason__
    if not isinstance(reason, str):
        raise DeclarationError(f"{where}: reason={reason!r:.80} is no text")
    if not is_explained(event):
        raise DeclarationError(
            f"{where} is a snapshot without a reason; say why its consumers need a copy and cannot "
            f'ask, such as reason="the price at the time of the order", or make it thin'
        )


def is_explained(event: type[Event]) -> bool:
    """Whether `event` says why it is a snapshot, if it is one."""
    return event.__style__ != SNAPSHOT or bool(event.__reason__.strip())


@contextlib.contextmanager
def unenforced() -> Iterator[None]:
    """Let events be declared as they are: ``schema lint`` reports all of them at once."""
    global _enforced
    before, _enforced = _enforced, False
    try:
        yield
    finally:
        _enforced = before
