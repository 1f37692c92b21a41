"""What proto2, proto3 and the editions differ in, resolved for each element.

Source: "Feature Settings for Editions", the defaults of each edition and of the two syntaxes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from eventbus.errors import InvalidSchema


@dataclass(frozen=True, slots=True)
class Features:
    """The features that decide what is on the wire and how it is read.

    Parameters
    ----------
    presence:
        ``EXPLICIT``, ``IMPLICIT`` or ``LEGACY_REQUIRED``.
    """

    presence: str = "EXPLICIT"
    closed_enums: bool = False
    delimited: bool = False


_PROTO2 = Features("EXPLICIT", closed_enums=True)
_PROTO3 = Features("IMPLICIT")
_EDITIONS = Features("EXPLICIT")

#: Edition.EDITION_2023 and EDITION_2024 of descriptor.proto.
_KNOWN_EDITIONS = (1000, 1001)

_PRESENCE = {1: "EXPLICIT", 2: "IMPLICIT", 3: "LEGACY_REQUIRED"}
_ENUM_CLOSED = 2
_DELIMITED = 2


def of_file(file: Any) -> Features:
    """The features that a file's elements begin with.

    Raises
    ------
    InvalidSchema
        Its edition is not known here.
    """
    if file.syntax in ("", "proto2"):
        return _PROTO2
    if file.syntax == "proto3":
        return _PROTO3
    if getattr(file, "edition", 0) not in _KNOWN_EDITIONS:
        raise InvalidSchema(
            "the edition of this Protobuf schema is not read; use edition 2023 or 2024 with a "
            'current protobuf package, or syntax = "proto3"'
        )
    return refined(_EDITIONS, file)


def refined(inherited: Features, element: Any) -> Features:
    """The features of an element: its own, else those of what it stands in."""
    options = element.options
    if "features" not in options.DESCRIPTOR.fields_by_name or not options.HasField("features"):
        return inherited
    own = options.features
    found = inherited
    if own.HasField("field_presence"):
        found = replace(found, presence=_PRESENCE.get(own.field_presence, "EXPLICIT"))
    if own.HasField("enum_type"):
        found = replace(found, closed_enums=own.enum_type == _ENUM_CLOSED)
    if own.HasField("message_encoding"):
        found = replace(found, delimited=own.message_encoding == _DELIMITED)
    return found
