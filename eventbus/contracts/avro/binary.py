"""Avro's binary encoding, read strictly (Avro 1.12, "Binary Encoding").

A reader takes the body and a position, and returns the value and where it ends. Whatever the bytes
are, it needs no more time and memory than they are worth: each value takes a byte or more, except
those that the encoding gives none to (null, a record of nothing), which a `Metered` body counts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

#: The body and a position to the value and the position after it.
Read = Callable[[bytes, int], tuple[Any, int]]

INT_MIN, INT_MAX = -(2**31), 2**31 - 1

#: Values that take no bytes, in one body.
FREE_VALUES_MAX = 100_000
#: Levels of a recursive schema; as deep as a schema itself may be.
DEPTH_MAX = 64

_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")


class Malformed(ValueError):
    """The bytes are not what the schema says; `path` names the fields down to them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str] = []


#: What reading past the end of the body and converting a strange value raises.
BROKEN = (ValueError, IndexError, ArithmeticError, RecursionError, struct.error)


class Metered(bytes):
    """A body for schemas in which bytes alone bound neither the values nor the depth."""

    free_values: int = FREE_VALUES_MAX
    depth: int = 0


def malformed(error: Exception) -> Malformed:
    """`error` as a sentence about the body."""
    if isinstance(error, Malformed):
        return error
    if isinstance(error, (IndexError, struct.error)):
        return Malformed("the body ends in the middle of a value")
    if isinstance(error, UnicodeDecodeError):
        return Malformed("a string is not UTF-8")
    if isinstance(error, RecursionError):
        return Malformed("it is nested too deep")
    return Malformed(str(error)[:200] or type(error).__name__)


def read_long(body: bytes, at: int) -> tuple[int, int]:
    """A zigzag variable-length integer of at most 64 bits."""
    byte = body[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    number = byte & 0x7F
    shift = 7
    while True:
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise Malformed("an integer takes more than ten bytes")
    if number >> 64:
        raise Malformed("an integer has more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def read_int(body: bytes, at: int) -> tuple[int, int]:
    """An integer of 32 bits."""
    number, at = read_long(body, at)
    if not INT_MIN <= number <= INT_MAX:
        raise Malformed(f"{number} does not fit the 32 bits of an int")
    return number, at


def read_null(body: bytes, at: int) -> tuple[None, int]:
    """Nothing."""
    return None, at


def read_boolean(body: bytes, at: int) -> tuple[bool, int]:
    """One byte, 0 or 1."""
    byte = body[at]
    if byte > 1:
        raise Malformed(f"a boolean is the byte {byte}")
    return byte == 1, at + 1


def read_float(body: bytes, at: int) -> tuple[float, int]:
    """Four bytes."""
    return _FLOAT.unpack_from(body, at)[0], at + 4


def read_double(body: bytes, at: int) -> tuple[float, int]:
    """Eight bytes."""
    return _DOUBLE.unpack_from(body, at)[0], at + 8


def read_bytes(body: bytes, at: int) -> tuple[bytes, int]:
    """A length, and so many bytes."""
    length, at = read_long(body, at)
    end = at + length
    if length < 0 or end > len(body):
        raise Malformed(f"a length of {length} bytes, where {len(body) - at} are left")
    return body[at:end], end


def read_string(body: bytes, at: int) -> tuple[str, int]:
    """A length in bytes, and UTF-8."""
    length, at = read_long(body, at)
    end = at + length
    if length < 0 or end > len(body):
        raise Malformed(f"a length of {length} bytes, where {len(body) - at} are left")
    return body[at:end].decode(), end


PRIMITIVE_READERS: dict[str, Read] = {
    "null": read_null,
    "boolean": read_boolean,
    "int": read_int,
    "long": read_long,
    "float": read_float,
    "double": read_double,
    "bytes": read_bytes,
    "string": read_string,
}


def converted(read: Read, convert: Callable[[Any], Any] | None) -> Read:
    """`read`, and `convert` of the value."""
    if convert is None:
        return read

    def read_converted(body: bytes, at: int) -> tuple[Any, int]:
        value, at = read(body, at)
        return convert(value), at

    return read_converted


def fixed(size: int) -> Read:
    """So many bytes."""

    def read_fixed(body: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        if end > len(body):
            raise Malformed(f"a fixed of {size} bytes, where {len(body) - at} are left")
        return body[at:end], end

    return read_fixed


def one_of(values: Sequence[Any]) -> Read:
    """The value with the position that is read: a symbol of an enum."""
    count = len(values)

    def read_enum(body: bytes, at: int) -> tuple[Any, int]:
        index, at = read_long(body, at)
        if not 0 <= index < count:
            raise Malformed(f"symbol {index} of an enum of {count}")
        return values[index], at

    return read_enum


def union(branches: Sequence[Read]) -> Read:
    """The branch with the position that is read."""
    count = len(branches)

    def read_union(body: bytes, at: int) -> tuple[Any, int]:
        index, at = read_long(body, at)
        if not 0 <= index < count:
            raise Malformed(f"branch {index} of a union of {count}")
        return branches[index](body, at)

    return read_union


def metered_union(branches: Sequence[Read], free_values: Sequence[int]) -> Read:
    """A union of which the branch at the same position has so many values that take no bytes."""

    def metered(read: Read, count: int) -> Read:
        def read_metered(body: bytes, at: int) -> tuple[Any, int]:
            _meter(body, count)
            return read(body, at)

        return read_metered

    return union([metered(read, free) for read, free in zip(branches, free_values, strict=True)])


def array(item: Read, free_values: int) -> Read:
    """Blocks of items; `free_values` is how many values of one item take no bytes."""

    def read_array(body: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        if not body[at]:
            return items, at + 1
        while True:
            count, end, at = _block(body, at, free_values)
            if not count:
                return items, at
            for _ in range(count):
                value, at = item(body, at)
                items.append(value)
            _check_end(at, end)

    return read_array


def mapping(key: Read, value: Read, free_values: int) -> Read:
    """Blocks of keys and values."""

    def read_map(body: bytes, at: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        if not body[at]:
            return found, at + 1
        size = 0
        while True:
            count, end, at = _block(body, at, free_values)
            if not count:
                return found, at
            for _ in range(count):
                name, at = key(body, at)
                found[name], at = value(body, at)
            size += count
            if len(found) < size:
                raise Malformed("a map has the same key twice")
            _check_end(at, end)

    return read_map


def _block(body: bytes, at: int, free_values: int) -> tuple[int, int | None, int]:
    """How many items follow, where they end if that is said, and where they begin."""
    count, at = read_long(body, at)
    end = None
    if count < 0:
        # A negative count is followed by the size, for those who skip the block.
        size, at = read_long(body, at)
        count, end = -count, at + size
    if free_values and count:
        _meter(body, count * free_values)
    elif count > len(body) - at:
        raise Malformed(f"a block of {count} items, where {len(body) - at} bytes are left")
    return count, end, at


def _meter(body: bytes, free_values: int) -> None:
    assert isinstance(body, Metered)
    body.free_values -= free_values
    if body.free_values < 0:
        raise Malformed(f"more than {FREE_VALUES_MAX:,} values that take no bytes")


def _check_end(at: int, end: int | None) -> None:
    if end is not None and at != end:
        raise Malformed(f"a block ends {at - end:+} bytes off the size that it says")


#: The key of what is read and not wanted; no field has this name.
_UNWANTED = ""


def record(
    fields: Sequence[tuple[str, str | None, Read]],
    finish: Callable[[dict[str, Any]], Any] | None = None,
) -> Read:
    """One field after the other.

    Parameters
    ----------
    fields:
        The name in the schema, the name that the value is kept by (None: it is not wanted), and its
        reader.
    finish:
        Makes the record's value of what is kept.
    """
    parts = tuple((name, _UNWANTED if kept is None else kept, read) for name, kept, read in fields)
    drops = any(kept is None for _, kept, _ in fields)

    def read_record(body: bytes, at: int) -> tuple[Any, int]:
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, kept, read in parts:  # noqa: B007 - which it was
                values[kept], at = read(body, at)
            if drops:
                del values[_UNWANTED]
            return (values if finish is None else finish(values)), at
        except BROKEN as error:
            found = malformed(error)
            found.path.insert(0, name)
            raise found from None

    return read_record


def nested(read: Read) -> Read:
    """`read` of a record that contains itself, to a bounded depth."""

    def read_nested(body: bytes, at: int) -> tuple[Any, int]:
        assert isinstance(body, Metered)
        body.depth += 1
        if body.depth > DEPTH_MAX:
            raise Malformed(f"nested more than {DEPTH_MAX} levels deep")
        value, at = read(body, at)
        body.depth -= 1
        return value, at

    return read_nested


def whole(read: Read, metered: bool) -> Callable[[bytes], Any]:
    """What reads a body to its end; `metered` where its schema needs it."""

    def read_whole(body: bytes) -> Any:
        value, end = read(Metered(body) if metered else body, 0)
        if end != len(body):
            raise Malformed(f"{len(body) - end} bytes are left after the value")
        return value

    return read_whole
