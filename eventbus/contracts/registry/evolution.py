"""Whether a schema may become the next version of a subject, and who could not read it: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eventbus.contracts.compatibility import (
    Compatibility,
    Difference,
    Mode,
    check_evolution,
)
from eventbus.contracts.registry.port import Reader, RegisteredSchema
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import InvalidSchema

#: Readers that are looked at for the text of a refusal.
_READERS_MAX = 50
_NAMED_MAX = 10
_DIFFERENCES_MAX = 20


def evolution(versions: Sequence[RegisteredSchema], new: Schema, mode: Mode) -> Compatibility:
    """Whether `new` may follow `versions`, the oldest first, whatever their formats are.

    Raises
    ------
    InvalidSchema
        It is no schema of its format.
    """
    compared = versions if mode.transitive else versions[-1:]
    same = [one for one in compared if one.schema.format is new.format]
    found = check_evolution(
        new=new, previous=[one.schema for one in same], mode=mode, format=new.format
    )
    differences = [_of_version(one, same) for one in found.differences]
    if mode is not Mode.NONE:
        differences += [
            _other_format(one, new.format)
            for one in compared
            if one.schema.format is not new.format
        ]
    return Compatibility(tuple(differences))


def _of_version(difference: Difference, compared: Sequence[RegisteredSchema]) -> Difference:
    """Deleted versions are not compared, so numbers of the history are not those of the subject."""
    if difference.version is None:
        return difference
    return replace(difference, version=compared[difference.version - 1].version)


def _other_format(earlier: RegisteredSchema, format: Format) -> Difference:
    return Difference(
        "FORMAT_CHANGED",
        "",
        f"version {earlier.version} is {earlier.schema.format.value}, this is {format.value}; a "
        f"contract keeps its format inside one major",
        version=earlier.version,
    )


def broken_readers(
    readers: Sequence[Reader], new: Schema
) -> list[tuple[Reader, tuple[Difference, ...]]]:
    """Those of the readers that could not read what is written by `new`, and why."""
    found = []
    for reader in readers[:_READERS_MAX]:
        differences = _why_unreadable(reader, new)
        if differences:
            found.append((reader, differences))
    return found


def _why_unreadable(reader: Reader, new: Schema) -> tuple[Difference, ...]:
    if reader.schema.format is not new.format:
        return ()
    try:
        return check_evolution(
            new=new, previous=[reader.schema], mode=Mode.FORWARD, format=new.format
        ).differences
    except InvalidSchema as error:
        # Told by a newer eventbus, or damaged: it cannot be said that it reads this.
        return (Difference("INVALID_READER", "", str(error)),)


def refusal(
    subject: str,
    mode: Mode,
    differences: Sequence[Difference],
    broken: Sequence[tuple[Reader, tuple[Difference, ...]]],
) -> str:
    """What to say to somebody who wanted to register an incompatible schema."""
    lines = [f"{subject}: {mode.value} does not allow it"]
    lines += _cut([difference_text(one) for one in differences], _DIFFERENCES_MAX)
    lines += _cut([broken_text(reader, why) for reader, why in broken], _NAMED_MAX)
    lines.append(f"keep it compatible, or begin a new major, such as {next_major(subject)}")
    return "; ".join(lines)


def difference_text(difference: Difference) -> str:
    """One difference on one line: against which version, in which direction, where and what."""
    where = f" at {difference.path}" if difference.path else ""
    return f"{difference.kind}{where}{_against(difference)}: {difference.message}"


def _against(difference: Difference) -> str:
    if difference.version is None:
        return ""
    if difference.direction == "forward":
        return f", version {difference.version} could not read it"
    if difference.direction == "backward":
        return f", it could not read version {difference.version}"
    return f", against version {difference.version}"


def broken_text(reader: Reader, why: Sequence[Difference]) -> str:
    """Who could not read it any longer, and what is missing."""
    return (
        f"it breaks {reader.queue} {reader.release}, handler {reader.handler} "
        f"({'; '.join(one.message for one in why[:3])})"
    )


def _cut(lines: list[str], most: int) -> list[str]:
    rest = len(lines) - most
    return lines if rest <= 0 else [*lines[:most], f"and {rest} more"]


def next_major(subject: str) -> str:
    """The name of the subject's next major: ``order.paid`` has ``order.paid.v2``."""
    stem, dot, last = subject.rpartition(".v")
    if dot and last.isascii() and last.isdigit() and len(last) < 9:
        return f"{stem}.v{int(last) + 1}"
    return f"{subject}.v2"
