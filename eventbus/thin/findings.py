"""What keeps an event from being thin."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marshmallow import fields as plain

from eventbus import fields
from eventbus.thin.sensitive_names import Smell, smell_of
from eventbus.thin.worst_case import Unbounded, field_bytes, worst_case_bytes

if TYPE_CHECKING:
    from eventbus.event import Event

#: What the data of a thin event takes in JSON at worst.
MAX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason why an event is not thin.

    Parameters
    ----------
    kind:
        ``TYPE``, ``NAME`` or ``SIZE``.
    field:
        Its name on the wire; empty for what concerns the event as a whole.
    rule:
        What is wrong, as the rest of a sentence about the field.
    remedy:
        What to write instead.
    """

    kind: str
    field: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field or 'it'} {self.rule} ({self.remedy})"


def findings_of(event: type[Event]) -> list[Finding]:
    """Every reason why `event` is not thin, field by field, whatever style it declares."""
    found = _unsuitable_fields(event.__declared__)
    return [*found, *sensitive_fields(event)] if found else _whole(event)


def _whole(event: type[Event]) -> list[Finding]:
    size = worst_case_bytes(event.__declared__)
    found = sensitive_fields(event)
    if size > MAX_BYTES:
        found.append(
            Finding(
                "SIZE",
                "",
                f"takes up to {size} bytes, more than {MAX_BYTES}",
                f"shorten the bound of {_largest(event.__declared__)}, which takes most of it",
            )
        )
    return found


def _largest(declared: dict[str, plain.Field[Any]]) -> str:
    return max(declared, key=lambda name: field_bytes(declared[name]))


def _unsuitable_fields(declared: dict[str, plain.Field[Any]]) -> list[Finding]:
    found = []
    for name, field in declared.items():
        try:
            field_bytes(field)
        except Unbounded as problem:
            found.append(Finding("TYPE", field.data_key or name, problem.rule, problem.remedy))
    return found


def sensitive_fields(event: type[Event]) -> list[Finding]:
    """The fields of `event` whose names smell of personal data or of secrets."""
    found = []
    for name, field in event.__declared__.items():
        if _is_reference(field):
            continue
        for spelling in dict.fromkeys((name, field.data_key or name)):
            smell = smell_of(spelling, _holds(field))
            if smell is not None:
                words, kind = smell
                found.append(
                    Finding("NAME", spelling, f"smells of {kind.value}: {words!r}", _REMEDIES[kind])
                )
                break
    return found


_REMEDIES = {
    Smell.PERSONAL: "publish the identifier of whose it is, and let the consumer ask for the rest",
    Smell.SECRET: "leave it out: an event is copied to queues, logs and backups",
}


def _is_reference(field: plain.Field[Any]) -> bool:
    """Whether it, or each item of a list, says which thing, and nothing of it."""
    from eventbus.references import Ref

    while isinstance(field, plain.List):
        field = field.inner
    return isinstance(field, fields.StructField) and field.struct is Ref


def _holds(field: plain.Field[Any]) -> type | None:
    """What a field, or each item of a list, is."""
    while isinstance(field, plain.List):
        field = field.inner
    for kind, fitting in _HOLDS.items():
        if isinstance(field, fitting):
            return kind
    return None


_HOLDS: dict[type, tuple[Any, ...]] = {
    uuid.UUID: (fields.Uuid, plain.UUID),
    bool: (fields.Bool, plain.Boolean),
    int: (fields.Int, plain.Integer),
    dt.date: (fields.Date, plain.Date, plain.Time),
    dt.datetime: (fields.Timestamp, plain.DateTime),
}
