"""How a oneof may change between a writer and a reader."""

from __future__ import annotations

from collections.abc import Iterator

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.protobuf.model import Field, Message


def oneof_differences(path: str, reader: Message, writer: Message) -> Iterator[Difference]:
    """Why a oneof of the one is not the same to the other."""
    yield from _merged(path, reader, writer)
    yield from _unknown_members(path, reader, writer)


def _merged(path: str, reader: Message, writer: Message) -> Iterator[Difference]:
    """Members of the reader's oneof that the writer may set together: only the last one is kept."""
    for oneof, members in reader.oneofs.items():
        written = [writer.fields[one.number] for one in members if one.number in writer.fields]
        if len(written) > 1 and (None in {one.oneof for one in written} or _several(written)):
            names = ", ".join(one.name for one in written[:5])
            yield Difference(
                "ONEOF_MERGED",
                f"{path}.{oneof}",
                f"the writer may set {names} together; of a oneof the reader keeps one",
            )


def _several(fields: list[Field]) -> bool:
    return len({field.oneof for field in fields}) > 1


def _unknown_members(path: str, reader: Message, writer: Message) -> Iterator[Difference]:
    for oneof, members in writer.oneofs.items():
        known = [reader.fields[one.number] for one in members if one.number in reader.fields]
        unknown = [one.name for one in members if one.number not in reader.fields]
        if unknown and any(one.oneof is not None for one in known):
            yield Difference(
                "ONEOF_MEMBER_UNKNOWN",
                f"{path}.{oneof}",
                f"the reader does not know {', '.join(unknown[:5])} of the oneof {oneof}, and "
                f"would see it unset",
            )
