"""What no database keeps in a text."""

from __future__ import annotations

from eventbus.errors import InvalidSchema


def refuse_unstorable(text: str) -> None:
    """Raise InvalidSchema for a schema's text that cannot be stored, whatever it says."""
    if "\0" in text:
        # PostgreSQL's text ends there.
        raise InvalidSchema("the schema has a NUL character in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidSchema("the schema has half of a surrogate pair in it") from None
