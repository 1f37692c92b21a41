"""JSON paths (RFC 9535) of what is wrong with the data of an event."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

ROOT = "$"
#: What needs no quotes (RFC 9535 §2.5.1.1, member-name-shorthand).
_PLAIN = re.compile(r"[A-Za-z_\u0080-\U0010ffff][0-9A-Za-z_\u0080-\U0010ffff]*")
#: marshmallow's key for what concerns an object as a whole.
_WHOLE = "_schema"


def json_path(parts: Iterable[str | int]) -> str:
    """``$.lines[0]['unit price']``."""
    return ROOT + "".join(map(_step, parts))


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if _PLAIN.fullmatch(part):
        return f".{part}"
    escaped = part.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"


def path_of_errors(errors: Any) -> str:
    """The path of the first of marshmallow's nested messages."""
    parts: list[str | int] = []
    while isinstance(errors, dict) and errors:
        key, errors = next(iter(errors.items()))
        if key != _WHOLE:
            parts.append(int(key) if str(key).isdigit() else str(key))
    return json_path(parts)
