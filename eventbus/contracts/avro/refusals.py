"""How a schema is refused: where, and what is wrong there."""

from __future__ import annotations

from typing import Any

from eventbus.errors import InvalidSchema

_SHOWN_MAX_CHARACTERS = 80


def refusal(path: str, problem: str) -> InvalidSchema:
    """The error for a `problem` ("is …", "has …") of what stands at `path`, a JSON Pointer."""
    where = f"Avro schema, at {path[:500]}:" if path else "the Avro schema"
    return InvalidSchema(f"{where} {problem}")


def shown(value: Any) -> str:
    """A JSON value in an error, short."""
    if isinstance(value, (dict, list)):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX_CHARACTERS else f"{text[:_SHOWN_MAX_CHARACTERS]}..."
