"""What tells schemas apart, and the numbers that they go by.

Both come from the schema alone: lock files and every registry of ours give the same schema the
same number without asking each other.
"""

from __future__ import annotations

import hashlib
import json

from eventbus.contracts.formats import format_support
from eventbus.contracts.schema import Schema

#: Ids are positive Java ints: what the frame's four bytes hold for clients of every language.
ID_MAX = 2**31 - 1


def fingerprint(schema: Schema) -> str:
    """The SHA-256 of the schema as it reads, however it is written, in 64 hexadecimal digits.

    Schemas of different formats differ, and so do those that refer to different texts.

    Raises
    ------
    InvalidSchema
        It is no schema of its format.
    """
    canonical = format_support(schema.format).canonical(schema)
    parts = [schema.format.value, canonical, sorted(schema.references.items())]
    # Surrogates cannot be in UTF-8; a schema may name one in an escape.
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def schema_id(schema: Schema) -> int:
    """The id that our registries give to `schema` unless another schema has it: from 1 on.

    Raises
    ------
    InvalidSchema
        It is no schema of its format.
    """
    return id_of(fingerprint(schema))


def id_of(fingerprint: str) -> int:
    """The id that belongs to a fingerprint: its first 31 bits, and 1 instead of 0."""
    return (int(fingerprint[:8], 16) >> 1) or 1


def next_id(id: int) -> int:
    """The id to take where another schema has `id`."""
    return id % ID_MAX + 1
