"""Whether a reader's schema can read everything that a writer's may write.

Fields meet by number, messages from the event's down. What the reader has no field for it skips,
as Protobuf says. Kinds of differences:

    MESSAGE_REMOVED          the reader lacks a message that may be an event
    FIELD_NEEDED             the reader needs a field that the writer does not have
    FIELD_MAY_BE_ABSENT      the reader needs a field that the writer may leave out
    FIELD_RENUMBERED         the same name has another number
    FIELD_RENAMED            a reader that goes by names would not find it
    NUMBER_REUSED            one side reserves the name that the other gives to this number
    TYPE_CHANGED             values would be cut off, misread or refused
    TYPE_NAME_CHANGED        another message or enum
    LABEL_CHANGED            a list for the one, a single value for the other
    MAP_CHANGED              a map for the one, a list of messages for the other
    DEFAULT_CHANGED          absent means another value
    ONEOF_MERGED             of fields that may both be set, the reader keeps one
    ONEOF_MEMBER_UNKNOWN     the reader would see a oneof unset that is set
    ENUM_VALUE_UNKNOWN       the reader drops or refuses a value
    ENUM_VALUE_RENUMBERED    the same name has another number
    ENUM_VALUE_RENAMED       a reader that goes by names takes it for another value
    STRICTER                 the event class that reads asks more of a value
    UNDECIDED                too large to compare
    RESERVED_AGAIN           a number or name is used that an earlier version had reserved
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.limits import COMPARISON_MAX_STEPS
from eventbus.contracts.protobuf import marks
from eventbus.contracts.protobuf.enums import enum_differences
from eventbus.contracts.protobuf.model import TIMESTAMP, Contract, Facets, Field, Message
from eventbus.contracts.protobuf.oneofs import oneof_differences
from eventbus.contracts.protobuf.ranges import keeps_values

#: Characters of a path.
_PATH_MAX = 300


def differences(reader: Contract, writer: Contract) -> list[Difference]:
    """Why `reader` cannot read everything that `writer` may write."""
    return list(_Comparison(reader, writer).run())


class _TooLarge(Exception):
    """The comparison took more steps than are allowed."""


class _Comparison:
    """One walk over two schemas; each pair of messages is looked at once."""

    def __init__(self, reader: Contract, writer: Contract) -> None:
        self._reader = reader
        self._writer = writer
        roots = [reader.messages[full_name] for full_name in reader.roots]
        self._roots = {message.name: message for message in roots}
        self._seen: set[tuple[str, str]] = set()
        self._waiting: deque[tuple[str, Message, Message]] = deque()
        self._steps = 0

    def run(self) -> Iterator[Difference]:
        helpers = self._writer.helpers
        try:
            # What an event holds is told by its path from the event.
            for parts in (False, True):
                for full_name in self._writer.roots:
                    if (full_name in helpers) is parts:
                        yield from self._root(self._writer.messages[full_name], needed=not parts)
                while self._waiting:
                    yield from self._messages(*self._waiting.popleft())
        except _TooLarge:
            yield Difference(
                "UNDECIDED", "", "the schemas are too large to compare; split the event"
            )

    def _step(self) -> None:
        self._steps += 1
        if self._steps > COMPARISON_MAX_STEPS:
            raise _TooLarge

    def _root(self, written: Message, *, needed: bool) -> Iterator[Difference]:
        read = self._reader.messages.get(written.full_name) or self._roots.get(written.name)
        if read is not None:
            self._pair(written.name, read, written)
        elif needed:
            yield Difference(
                "MESSAGE_REMOVED",
                written.name,
                f"the reader has no message {written.name}, which the writer may send",
            )

    def _pair(self, path: str, reader: Message, writer: Message) -> None:
        key = (reader.full_name, writer.full_name)
        if key not in self._seen:
            self._seen.add(key)
            # Messages in a circle have paths without an end.
            shown = path if len(path) <= _PATH_MAX else f"...{path[-_PATH_MAX:]}"
            self._waiting.append((shown, reader, writer))

    def _messages(self, path: str, reader: Message, writer: Message) -> Iterator[Difference]:
        for number, read in reader.fields.items():
            self._step()
            written = writer.fields.get(number)
            if written is not None and _is_untouched(reader, read, writer, written):
                continue
            if written is None:
                yield from _absent(f"{path}.{read.name}", reader, read, writer)
            else:
                yield from self._fields(f"{path}.{read.name}", (reader, read), (writer, written))
        yield from oneof_differences(path, reader, writer)

    def _fields(
        self, path: str, reading: tuple[Message, Field], writing: tuple[Message, Field]
    ) -> Iterator[Difference]:
        (reader, read), (writer, written) = reading, writing
        yield from _names(path, reader, read, writer, written)
        if read.repeated != written.repeated:
            yield Difference(
                "LABEL_CHANGED",
                path,
                f"the writer has {_label(written)}, the reader {_label(read)}",
            )
            return
        yield from _presence(path, reader, read, writer, written)
        yield from _stricter(path, reader.facets.get(read.name), writer.facets.get(written.name))
        yield from self._types(path, reading, writing)

    def _types(
        self, path: str, reading: tuple[Message, Field], writing: tuple[Message, Field]
    ) -> Iterator[Difference]:
        (reader, read), (_, written) = reading, writing
        by_name = reader.derived
        if read.type == written.type and read.composite:
            yield from self._composites(path, read, written, by_name)
            return
        read_enum = self._reader.enums.get(read.type_name)
        written_enum = self._writer.enums.get(written.type_name)
        same = read.type == written.type
        if same and read_enum is not None and written_enum is not None:
            if read_enum != written_enum:
                yield from enum_differences(path, read_enum, written_enum, by_name)
        elif not keeps_values(read.type, written.type, read_enum, written_enum) or (
            by_name and not same
        ):
            yield Difference(
                "TYPE_CHANGED",
                path,
                f"the writer's {written.type} is {read.type} to the reader"
                + ("" if not by_name else ", whose class takes only that"),
            )
            return
        yield from _defaults(path, read, written)

    def _composites(
        self, path: str, read: Field, written: Field, by_name: bool
    ) -> Iterator[Difference]:
        if read.type_name == written.type_name == TIMESTAMP:
            # protoc takes the well-known types from nowhere else.
            return
        reader = self._reader.messages[read.type_name]
        writer = self._writer.messages[written.type_name]
        if reader.is_map_entry != writer.is_map_entry:
            yield Difference(
                "MAP_CHANGED",
                path,
                f"the writer has {_map(writer)}, the reader {_map(reader)}",
            )
        elif reader.name != writer.name and not reader.is_map_entry and not by_name:
            yield Difference(
                "TYPE_NAME_CHANGED",
                path,
                f"the writer's message is {writer.full_name}, the reader's {reader.full_name}",
            )
        else:
            self._pair(path, reader, writer)


def _is_untouched(reader: Message, read: Field, writer: Message, written: Field) -> bool:
    """Whether a single value is declared in the same way; most are, and need no closer look."""
    return (
        read == written
        and not read.type_name
        and reader.derived == writer.derived
        and reader.facets.get(read.name) == writer.facets.get(written.name)
    )


def _absent(path: str, reader: Message, read: Field, writer: Message) -> Iterator[Difference]:
    """The writer has nothing at this number."""
    namesake = writer.by_name.get(read.name)
    if namesake is not None:
        yield Difference(
            "FIELD_RENUMBERED",
            path,
            f"the writer's number of {read.name} is {namesake.number}, the reader's {read.number}; "
            f"a field keeps its number",
        )
    elif read.required or (reader.derived and not _has_default(reader, read)):
        yield Difference(
            "FIELD_NEEDED",
            path,
            f"the reader needs {read.name}, number {read.number}, which the writer does not have",
        )


def _names(
    path: str, reader: Message, read: Field, writer: Message, written: Field
) -> Iterator[Difference]:
    """The same number has two names."""
    if read.name == written.name:
        return
    if read.name in writer.reserved_names or written.name in reader.reserved_names:
        yield Difference(
            "NUMBER_REUSED",
            path,
            f"number {read.number} is {written.name} to the writer and {read.name} to the reader, "
            f"and one of them had given up the other's name",
        )
    elif reader.derived and written.name not in _earlier_names(reader, read):
        yield Difference(
            "FIELD_RENAMED",
            path,
            f"number {read.number} is {written.name} to the writer and {read.name} to the reader, "
            f"whose class does not have that name as an alias",
        )
    namesake = writer.by_name.get(read.name)
    if namesake is not None:
        yield Difference(
            "FIELD_RENUMBERED",
            path,
            f"the writer's number of {read.name} is {namesake.number}, the reader's {read.number}; "
            f"a field keeps its number",
        )


def _earlier_names(message: Message, field: Field) -> list[str]:
    return message.facets.get(field.name, {}).get(marks.WAS, "").split()


def _has_default(message: Message, field: Field) -> bool:
    return marks.DEFAULT in message.facets.get(field.name, {})


def _presence(
    path: str, reader: Message, read: Field, writer: Message, written: Field
) -> Iterator[Difference]:
    if read.repeated:
        return
    needed = read.required or (reader.derived and not read.optional_keyword)
    if needed and _may_be_absent(writer, written, read.required):
        yield Difference(
            "FIELD_MAY_BE_ABSENT",
            path,
            f"the reader needs {read.name}, which the writer may leave out",
        )


def _may_be_absent(writer: Message, written: Field, to_proto2: bool) -> bool:
    if to_proto2:
        # Zero is not written where there is no presence, and to proto2 that is absence.
        return not written.required
    return written.optional_keyword if writer.derived else written.nullable


def _stricter(path: str, asked: Facets | None, kept: Facets | None) -> Iterator[Difference]:
    for reason in marks.stricter(asked, kept or {}) if asked else ():
        yield Difference("STRICTER", path, f"the reader {reason}, which the writer does not")


def _defaults(path: str, read: Field, written: Field) -> Iterator[Difference]:
    if read.repeated or written.required or read.default is None or written.default is None:
        return
    # Types that keep values have comparable defaults, but for a string's bytes.
    if read.default != written.default:
        yield Difference(
            "DEFAULT_CHANGED",
            path,
            f"absent, it is {written.default!r:.80} to the writer and {read.default!r:.80} to the "
            f"reader",
        )


def _label(field: Field) -> str:
    return "a list" if field.repeated else "a single value"


def _map(message: Message) -> str:
    return "a map" if message.is_map_entry else f"a list of {message.name}"
