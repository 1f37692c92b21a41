"""Which change of a field's type keeps every value that may be written.

Source: the Protocol Buffers language guide, "Updating A Message Type": which types share an
encoding. That a value is parsed is not enough: an int64 is cut off by an int32 reader.
"""

from __future__ import annotations

from eventbus.contracts.protobuf.model import EnumType

_INT32 = (-(2**31), 2**31 - 1)

#: The types that are written as one varint without zigzag, and the numbers that they hold.
_VARINTS = {
    "bool": (0, 1),
    "int32": _INT32,
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}


def keeps_values(
    reader: str,
    writer: str,
    reader_enum: EnumType | None = None,
    writer_enum: EnumType | None = None,
) -> bool:
    """Whether every value of the type `writer` is the same value to a reader with type `reader`."""
    if reader == writer != "enum":
        return True
    if reader == "bytes" and writer == "string":
        return True
    written = _numbers(writer, writer_enum)
    if written is None:
        return False
    if reader == "enum":
        return reader_enum is not None and _enum_keeps(reader_enum, written, writer_enum)
    read = _VARINTS.get(reader)
    return read is not None and read[0] <= written[0] and written[1] <= read[1]


def _numbers(type_: str, enum: EnumType | None) -> tuple[int, int] | None:
    """The least and the greatest number that may be written."""
    if type_ == "enum" and enum is not None:
        if enum.closed and enum.numbers:
            return min(enum.numbers), max(enum.numbers)
        # Whoever passes on an open enum writes numbers that it has no name for.
        return _INT32
    return _VARINTS.get(type_)


def _enum_keeps(reader: EnumType, written: tuple[int, int], writer: EnumType | None) -> bool:
    if not reader.closed:
        return _INT32[0] <= written[0] and written[1] <= _INT32[1]
    if writer is not None and writer.closed:
        return writer.numbers <= reader.numbers
    # Few enough to look at one by one: a bool's, or none.
    return written[1] - written[0] < 2 and set(range(written[0], written[1] + 1)) <= reader.numbers
