"""Which number a field or an enum's constant has: by hand, as before, or the next free one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eventbus.contracts.protobuf.marks import is_mark
from eventbus.contracts.protobuf.model import EnumType, Message, Range
from eventbus.errors import DeclarationError
from eventbus.shape import Field

#: Protobuf language guide, "Assigning Field Numbers": 29 bits, a thousand of them its own.
_FIELD_MAX = 2**29 - 1
_OF_PROTOBUF: Range = (19_000, 19_999)
#: An enum's numbers are an int32's.
_CONSTANT_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a message's fields or of an enum's constants.

    Parameters
    ----------
    of:
        Name to number, of what is there now.
    reserved_ranges, reserved_names:
        Of what was there once.
    """

    of: Mapping[str, int]
    reserved_ranges: tuple[Range, ...] = ()
    reserved_names: tuple[str, ...] = ()


def number_fields(owner: str, fields: Sequence[Field], history: Sequence[Message]) -> Numbers:
    """Number the fields of a message.

    Parameters
    ----------
    owner:
        What they belong to, for errors.
    history:
        The message in earlier versions, the oldest first.

    Raises
    ------
    DeclarationError
        Two fields have one number, or none is left.
    """
    before = {field.name: field.number for message in history for field in message.fields.values()}
    fixed: dict[str, int] = {}
    for field in fields:
        number = field.number if field.number is not None else _before(field, before)
        if number is not None:
            fixed[field.name] = number
    _check_distinct(owner, fixed)
    names = [field.name for field in fields]
    aliases = {alias for field in fields for alias in field.aliases}
    return _numbered(owner, names, fixed, _Past.of(history, before), aliases, _FIELD_MAX)


def _before(field: Field, numbers: Mapping[str, int]) -> int | None:
    """Its number so far, under its name or an earlier one."""
    return next((numbers[name] for name in (field.name, *field.aliases) if name in numbers), None)


def number_constants(owner: str, constants: Sequence[str], history: Sequence[EnumType]) -> Numbers:
    """Number the constants of an enum, of which the first is 0."""
    before = {name: number for enum in history for name, number in enum.values.items()}
    fixed = {name: before[name] for name in constants if name in before}
    fixed[constants[0]] = 0
    return _numbered(owner, constants, fixed, _Past.of(history, before), set(), _CONSTANT_MAX)


@dataclass(frozen=True, slots=True)
class _Past:
    """What earlier versions used or reserved."""

    numbers: frozenset[int]
    names: frozenset[str]
    ranges: tuple[Range, ...]

    @classmethod
    def of(cls, history: Iterable[Message | EnumType], before: Mapping[str, int]) -> _Past:
        names = {name for version in history for name in version.reserved_names}
        return cls(
            frozenset(before.values()),
            frozenset(before) | {name for name in names if not is_mark(name)},
            tuple(found for version in history for found in version.reserved_ranges),
        )


def _numbered(
    owner: str,
    names: Sequence[str],
    fixed: Mapping[str, int],
    past: _Past,
    renamed: set[str],
    maximum: int,
) -> Numbers:
    numbers = dict(fixed)
    highest = max({*past.numbers, *fixed.values()}, default=0)
    for name in names:
        if name not in numbers:
            highest = numbers[name] = _next_free(owner, name, highest, past.ranges, maximum)
    used = set(numbers.values())
    gone = [(number, number) for number in past.numbers if number not in used]
    return Numbers(
        numbers,
        merged([*gone, *(part for found in past.ranges for part in _without(found, used))]),
        tuple(sorted(past.names - numbers.keys() - renamed)),
    )


def _check_distinct(owner: str, numbers: Mapping[str, int]) -> None:
    taken: dict[int, str] = {}
    for name, number in numbers.items():
        other = taken.setdefault(number, name)
        if other != name:
            raise DeclarationError(
                f"{owner}: the Protobuf fields {other} and {name} both have the number {number}; "
                f"give one of them another with Annotated[..., Number(n)]"
            )


def _next_free(owner: str, name: str, highest: int, reserved: Iterable[Range], maximum: int) -> int:
    number = highest + 1
    for first, last in sorted([*reserved, _OF_PROTOBUF]):
        if first <= number <= last:
            number = last + 1
    if number > maximum:
        raise DeclarationError(
            f"{owner}.{name} finds no Protobuf number above those that were used; give it a free "
            f"one with Annotated[..., Number(n)]"
        )
    return number


def _without(found: Range, used: set[int]) -> list[Range]:
    """A reserved range without the numbers in it that are used."""
    first, last = found
    parts = []
    for number in sorted(number for number in used if first <= number <= last):
        if first < number:
            parts.append((first, number - 1))
        first = number + 1
    return [*parts, (first, last)] if first <= last else parts


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges in order, those that touch as one: 4, 5, 5 to 6 and 9 are 4 to 6 and 9."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)
