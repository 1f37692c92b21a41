"""Names and namespaces (Avro 1.12, "Names")."""

from __future__ import annotations

import re

from eventbus.contracts.avro.types import PRIMITIVES

#: As long as a name in any schema language or database; an error shows it whole.
NAME_MAX_CHARACTERS = 512

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FOREIGN = re.compile(r"[^A-Za-z0-9_]", re.ASCII)


def is_name(text: object) -> bool:
    """Whether it can be the name of a field or of an enum's symbol."""
    return (
        isinstance(text, str)
        and len(text) <= NAME_MAX_CHARACTERS
        and _WORD.fullmatch(text) is not None
    )


def is_full_name(text: object) -> bool:
    """Whether it is names separated by dots."""
    return (
        isinstance(text, str)
        and len(text) <= NAME_MAX_CHARACTERS
        and all(_WORD.fullmatch(word) for word in text.split("."))
    )


def full_name(name: str, namespace: str) -> str:
    """`name` in `namespace`, unless it says its own."""
    return f"{namespace}.{name}" if namespace and "." not in name else name


def namespace_of(full: str) -> str:
    """Where the names inside a type called `full` are looked for."""
    return full.rpartition(".")[0]


def is_reserved(full: str) -> bool:
    """Whether the name belongs to a primitive type, in whichever namespace."""
    return full.rpartition(".")[2] in PRIMITIVES


def as_name(text: str) -> str:
    """A name for `text`: foreign characters become underscores."""
    name = _FOREIGN.sub("_", text) or "_"
    if name[0].isdigit() or name in PRIMITIVES:
        name = f"_{name}"
    return name
