"""Numbers and names that were given up stay so: old events have them with another meaning."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.protobuf.marks import is_mark
from eventbus.contracts.protobuf.model import Contract, EnumType, Message, Range
from eventbus.contracts.protobuf.numbers import merged


def reserved_again(new: Contract, earlier: Contract) -> list[Difference]:
    """What `new` uses though `earlier` had reserved it, message by message and enum by enum."""
    by_name = {message.name: message for message in new.messages.values()}
    found: list[Difference] = []
    for before in earlier.messages.values():
        now = by_name.get(before.name)
        if now is not None:
            found += _fields_again(now, before)
    enums = {enum.name: enum for enum in new.enums.values()}
    for enum_before in earlier.enums.values():
        enum_now = enums.get(enum_before.name)
        if enum_now is not None:
            found += _values_again(enum_now, enum_before)
    return found


class _Reserved:
    """The numbers in ranges, found quickly in however many."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._ranges = merged(ranges)
        self._firsts = [first for first, _ in self._ranges]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._ranges[at][1]


def _fields_again(now: Message, before: Message) -> Iterator[Difference]:
    reserved = _Reserved(before.reserved_ranges)
    for field in now.fields.values():
        path = f"{now.name}.{field.name}"
        if field.number in reserved:
            yield _again(path, f"the number {field.number}")
        elif field.name in before.reserved_names and not is_mark(field.name):
            yield _again(path, f"the name {field.name}")


def _values_again(now: EnumType, before: EnumType) -> Iterator[Difference]:
    reserved = _Reserved(before.reserved_ranges)
    for name, number in now.values.items():
        path = f"{now.name}.{name}"
        if number in reserved:
            yield _again(path, f"the number {number}")
        elif name in before.reserved_names:
            yield _again(path, f"the name {name}")


def _again(path: str, what: str) -> Difference:
    return Difference(
        "RESERVED_AGAIN",
        path,
        f"{what} is reserved by an earlier version: events with its old meaning may still come",
    )
