"""Numbers and names that were given up stay so: old events have them with another meaning.

What comes back exactly as an earlier version had it, has the meaning that it had.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.protobuf.marks import is_mark
from eventbus.contracts.protobuf.model import Contract, EnumType, Field, Message, Range
from eventbus.contracts.protobuf.numbers import merged

_Type = TypeVar("_Type", Message, EnumType)


def reserved_again(new: Contract, earlier: Sequence[Contract]) -> list[Difference]:
    """What `new` uses in another way though one of `earlier` had reserved it.

    Parameters
    ----------
    earlier:
        The versions before it, the oldest first.
    """
    found: list[Difference] = []
    histories = [
        (_messages(contract), {enum.name: enum for enum in contract.enums.values()})
        for contract in earlier
    ]
    for message in new.messages.values():
        found += _told(_fields_again(message, [one.get(message.name) for one, _ in histories]))
    for enum in new.enums.values():
        found += _told(_values_again(enum, [one.get(enum.name) for _, one in histories]))
    return found


def _messages(contract: Contract) -> dict[str, Message]:
    return {message.name: message for message in contract.messages.values()}


def _told(found: Iterable[tuple[int, Difference]]) -> list[Difference]:
    return [replace(one, version=version, direction="backward") for version, one in found]


class _Reserved:
    """The numbers in ranges, found quickly in however many."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._ranges = merged(ranges)
        self._firsts = [first for first, _ in self._ranges]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._ranges[at][1]


def _fields_again(
    now: Message, history: Sequence[Message | None]
) -> Iterator[tuple[int, Difference]]:
    had = {_meaning(field) for one in history if one for field in one.fields.values()}
    changed = [field for field in now.fields.values() if _meaning(field) not in had]
    for version, before in _present(history):
        reserved = _Reserved(before.reserved_ranges)
        for field in changed:
            path = f"{now.name}.{field.name}"
            if field.number in reserved:
                yield version, _again(path, f"the number {field.number}")
            elif field.name in before.reserved_names and not is_mark(field.name):
                yield version, _again(path, f"the name {field.name}")


def _present(history: Sequence[_Type | None]) -> Iterator[tuple[int, _Type]]:
    return ((at, found) for at, found in enumerate(history, start=1) if found is not None)


def _meaning(field: Field) -> tuple[int, str, str, bool]:
    return field.number, field.name, field.type, field.repeated


def _values_again(
    now: EnumType, history: Sequence[EnumType | None]
) -> Iterator[tuple[int, Difference]]:
    had = {value for one in history if one for value in one.values.items()}
    changed = [value for value in now.values.items() if value not in had]
    for version, before in _present(history):
        reserved = _Reserved(before.reserved_ranges)
        for name, number in changed:
            path = f"{now.name}.{name}"
            if number in reserved:
                yield version, _again(path, f"the number {number}")
            elif name in before.reserved_names:
                yield version, _again(path, f"the name {name}")


def _again(path: str, what: str) -> Difference:
    return Difference(
        "RESERVED_AGAIN",
        path,
        f"{what} is reserved by an earlier version: events with its old meaning may still come",
    )
