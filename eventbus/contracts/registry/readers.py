"""What a reader may say of itself, and for how long it is believed."""

from __future__ import annotations

from eventbus.contracts.registry.port import Reader
from eventbus.contracts.registry.storable import refuse_unstorable
from eventbus.contracts.registry.subject_names import checked_subject
from eventbus.errors import InvalidSchema

#: A release of a reader that nobody has started for so long is no longer named.
READER_KEPT_MS = 90 * 24 * 3_600_000

_READER_LENGTHS: dict[str, int] = {"service": 100, "release": 100, "queue": 255, "handler": 200}


def checked_reader(reader: Reader) -> Reader:
    """The reader; InvalidSchema says which of its names cannot be kept."""
    checked_subject(reader.subject)
    for name, most in _READER_LENGTHS.items():
        value = getattr(reader, name)
        if not 0 < len(value) <= most or not value.isprintable():
            raise InvalidSchema(
                f"a reader's {name} has 1 to {most} characters that can be shown, not "
                f"{value[:80]!r}"
            )
    refuse_unstorable(reader.schema.text)
    return reader
