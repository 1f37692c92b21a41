"""What things are called in a derived schema, and how a name leads back to the event."""

from __future__ import annotations

import re

from eventbus.contracts.protobuf.model import EnumType

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9]+", re.ASCII)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_]", re.ASCII)
_MAJOR = re.compile(r"v[0-9]+", re.ASCII)
_ESCAPED = re.compile(r"__u([0-9a-f]{1,6})_")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

#: What the enum's constant 0 is called behind its prefix: no event has it as a value.
UNSPECIFIED = "UNSPECIFIED"


def is_identifier(name: str) -> bool:
    """Whether a field can have this name."""
    return _IDENTIFIER.fullmatch(name) is not None


def package_of(event_name: str) -> str:
    """``order.paid`` is a package of its own: no two events share a name in one program."""
    words = [_NOT_PLAIN.sub("_", word) for word in event_name.split(".")]
    return ".".join(word if word[0].isalpha() else f"n{word}" for word in words)


def message_of(event_name: str) -> str:
    """``OrderPaid`` for ``order.paid``, and for ``order.paid.v2`` in its own package."""
    words = event_name.split(".")
    if len(words) > 1 and _MAJOR.fullmatch(words[-1]):
        words = words[:-1]
    name = "".join(part[0].upper() + part[1:] for word in words for part in _WORD.findall(word))
    return name if name[:1].isalpha() else f"Event{name}"


def upper_snake(name: str) -> str:
    """``ORDER_STATUS`` for ``OrderStatus``."""
    return _HUMP.sub("_", name).upper()


def constant_of(enum: str, value: str) -> str:
    """The constant of an enum's value, as it is written: ``ORDER_STATUS_paid`` for ``paid``.

    Constants of different enums stand beside each other, hence the prefix. The value itself stays,
    so that the schema alone tells it.
    """
    escaped = _NOT_PLAIN.sub(lambda found: f"__u{ord(found[0]):x}_", value)
    return f"{upper_snake(enum)}_{escaped}"


def value_of_constant(enum: EnumType, constant: str) -> str:
    """The value that `constant_of` made the constant of; any other constant is its own value."""
    prefix = f"{upper_snake(enum.name.rpartition('.')[2])}_"
    if not constant.startswith(prefix):
        return constant
    return _ESCAPED.sub(lambda found: _character(found[1]), constant[len(prefix) :])


def _character(digits: str) -> str:
    number = int(digits, 16)
    return chr(number) if number <= 0x10FFFF else f"__u{digits}_"
