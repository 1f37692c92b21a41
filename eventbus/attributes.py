"""What CloudEvents 1.0.2 allows as the name and the value of an attribute."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from eventbus.errors import DeclarationError
from eventbus.fields import format_timestamp

#: §3.1: lower-case letters and digits. That 20 characters suffice is advice, no rule.
_NAME = re.compile(r"[a-z0-9]+", re.ASCII)

#: Type system, String: control characters, lone surrogates and noncharacters are not allowed.
_UNSUITABLE = re.compile(
    "[\0-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(
        f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
    )
    + "]"
)

#: Type system, Integer: 32 bits.
_INTEGER_MIN, _INTEGER_MAX = -(2**31), 2**31 - 1

_URI_CHARACTER = r"(?:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*:"
#: RFC 3986 §4.1; the first part of a relative one has no colon, or it would be a scheme.
_URI_REFERENCE = re.compile(
    rf"(?:{_SCHEME}|(?![^/?#]*:)){_URI_CHARACTER}*(?:#{_URI_CHARACTER}*)?", re.ASCII
)
#: RFC 3986 §4.3: with a scheme, without a fragment.
_ABSOLUTE_URI = re.compile(rf"{_SCHEME}{_URI_CHARACTER}+", re.ASCII)


def is_name(name: str) -> bool:
    """Whether an attribute can have this name; ``data`` is reserved."""
    return _NAME.fullmatch(name) is not None and name != "data"


def is_string(text: str) -> bool:
    """Whether `text` has no control character, lone surrogate or noncharacter."""
    return (text.isascii() and text.isprintable()) or _UNSUITABLE.search(text) is None


@lru_cache(maxsize=1024)
def is_uri_reference(text: str) -> bool:
    """Whether a ``source`` can be `text`: a URI, or a relative one such as ``shop``."""
    return bool(text) and _URI_REFERENCE.fullmatch(text) is not None


def check_source(service: str) -> str:
    """Return `service`, the name of a service, when it can be the ``source`` of its events.

    Raises
    ------
    DeclarationError
        It is no URI reference.
    """
    if not is_uri_reference(service):
        raise DeclarationError(
            f"service name {service!r} cannot be the CloudEvents source of its events, which is a "
            f"URI reference (RFC 3986); use letters, digits, '-', '_' and '.'"
        )
    return service


@lru_cache(maxsize=1024)
def is_absolute_uri(text: str) -> bool:
    """Whether a ``dataschema`` can be `text`."""
    return _ABSOLUTE_URI.fullmatch(text) is not None


def canonical(value: Any) -> str | None:
    """The string that stands for an attribute's value, native or not; None where nothing does.

    A broker's table may hold a number or a moment as such, and readers must take both forms (AMQP
    protocol binding §3.1.3.2).
    """
    if isinstance(value, str):
        return value if is_string(value) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if _INTEGER_MIN <= value <= _INTEGER_MAX else None
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return moment(value)
    return None


def moment(value: datetime) -> str:
    """An AMQP timestamp as RFC 3339; it is in UTC where it does not say."""
    aware = value if value.utcoffset() is not None else value.replace(tzinfo=timezone.utc)
    return format_timestamp(aware)
