"""Whether a registry takes changes: what the Confluent Schema Registry calls its mode."""

from __future__ import annotations

import enum


class Access(enum.Enum):
    """The value is the name over HTTP."""

    READWRITE = "READWRITE"
    READONLY = "READONLY"
