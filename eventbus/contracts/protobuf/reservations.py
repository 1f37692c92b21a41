"""Numbers and names that were given up stay so: old events have them with another meaning."""

from __future__ import annotations

from collections.abc import Iterator

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.protobuf.marks import is_mark
from eventbus.contracts.protobuf.model import Contract, EnumType, Message


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


def _fields_again(now: Message, before: Message) -> Iterator[Difference]:
    for field in now.fields.values():
        path = f"{now.name}.{field.name}"
        if before.reserves(field.number):
            yield _again(path, f"the number {field.number}")
        elif field.name in before.reserved_names and not is_mark(field.name):
            yield _again(path, f"the name {field.name}")


def _values_again(now: EnumType, before: EnumType) -> Iterator[Difference]:
    for name, number in now.values.items():
        path = f"{now.name}.{name}"
        if any(first <= number <= last for first, last in before.reserved_ranges):
            yield _again(path, f"the number {number}")
        elif name in before.reserved_names:
            yield _again(path, f"the name {name}")


def _again(path: str, what: str) -> Difference:
    return Difference(
        "RESERVED_AGAIN",
        path,
        f"{what} is reserved by an earlier version: events with its old meaning may still come",
    )
