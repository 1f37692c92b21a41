"""How an enum may change between a writer and a reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.protobuf.model import EnumType
from eventbus.contracts.protobuf.names import value_of_constant

#: Names in one message.
_SHOWN_MAX = 5


def enum_differences(
    path: str, reader: EnumType, writer: EnumType, by_name: bool
) -> Iterator[Difference]:
    """Why values of `writer` would not be the same to `reader`.

    Parameters
    ----------
    by_name:
        The reader is an event class: it takes the names that it knows, and nothing else.
    """
    if by_name:
        yield from _by_name(path, reader, writer)
        return
    if reader.name != writer.name:
        yield Difference(
            "TYPE_NAME_CHANGED",
            path,
            f"the writer's enum is {writer.full_name}, the reader's {reader.full_name}",
        )
    yield from _renumbered(path, reader.values, writer.values)
    if reader.closed:
        yield from _dropped(path, reader, writer)


def _dropped(path: str, reader: EnumType, writer: EnumType) -> Iterator[Difference]:
    unknown = [name for name, number in writer.values.items() if number not in reader.numbers]
    if unknown:
        yield _unknown(path, unknown)
    elif not writer.closed:
        yield Difference(
            "ENUM_VALUE_UNKNOWN",
            path,
            "the writer's enum is open and may hold any number; the reader's is closed and drops "
            "those that it does not know",
        )


def _by_name(path: str, reader: EnumType, writer: EnumType) -> Iterator[Difference]:
    read = {value_of_constant(reader, name): number for name, number in reader.values.items()}
    written = {value_of_constant(writer, name): number for name, number in writer.values.items()}
    # Number 0 stands for a value that is not set, which an event never writes.
    unknown = [name for name, number in written.items() if number and name not in read]
    if unknown:
        yield _unknown(path, unknown)
    yield from _renumbered(path, read, written)


def _renumbered(
    path: str, reader: Mapping[str, int], writer: Mapping[str, int]
) -> Iterator[Difference]:
    for name, number in writer.items():
        if reader.get(name, number) != number:
            yield Difference(
                "ENUM_VALUE_RENUMBERED",
                path,
                f"{name} is {number} to the writer and {reader[name]} to the reader",
            )


def _unknown(path: str, names: list[str]) -> Difference:
    shown = ", ".join(names[:_SHOWN_MAX])
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return Difference(
        "ENUM_VALUE_UNKNOWN", path, f"the reader does not know {shown}{more}, which the writer has"
    )
