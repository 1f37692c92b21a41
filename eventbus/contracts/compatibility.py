"""Whether a reader can read what a writer writes, for one pair of schemas or for a history."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eventbus.contracts.formats import HistorySupport, format_support
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import ConfigurationError


class Mode(enum.Enum):
    """What a new version of a schema is compared with (the Confluent Schema Registry's levels)."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @classmethod
    def of(cls, name: str | Mode) -> Mode:
        """The mode called `name`; ConfigurationError lists the modes if there is none."""
        if isinstance(name, cls):
            return name
        try:
            # Nothing at all must not become "None", which is a mode.
            return cls(name.upper() if isinstance(name, str) else "")
        except ValueError:
            raise ConfigurationError(
                f"there is no compatibility mode {str(name)[:80]!r}; use "
                f"{', '.join(mode.value for mode in cls)}"
            ) from None

    @property
    def backward(self) -> bool:
        """The new schema must read what the old ones wrote."""
        return self.value.startswith(("BACKWARD", "FULL"))

    @property
    def forward(self) -> bool:
        """The old schemas must read what the new one writes."""
        return self.value.startswith(("FORWARD", "FULL"))

    @property
    def transitive(self) -> bool:
        """With all earlier versions, not with the last alone."""
        return self.value.endswith("_TRANSITIVE")


#: Events are read late (backlog, dead letters, replays) and by consumers that are deployed late.
DEFAULT_MODE = Mode.FULL_TRANSITIVE


@dataclass(frozen=True, slots=True)
class Difference:
    """One reason why a reader cannot read everything that a writer may write.

    Parameters
    ----------
    kind:
        What it is, in upper case with underscores; each checker lists its own.
    path:
        Where: a JSON Pointer (RFC 6901) into the reader's schema for JSON Schema and Avro, a dotted
        name for Protobuf.
    message:
        One sentence for a person, with the values that differ.
    version:
        In a history: the earlier version that it was compared with, 1 for the oldest.
    direction:
        In a history: ``backward`` where the new schema is the reader, ``forward`` where the
        earlier one is.
    """

    kind: str
    path: str
    message: str
    version: int | None = None
    direction: str | None = None


@dataclass(frozen=True, slots=True)
class Compatibility:
    """The answer of a check: compatible where there is no difference."""

    differences: tuple[Difference, ...] = ()

    @property
    def compatible(self) -> bool:
        """Whether there is no difference."""
        return not self.differences

    def __bool__(self) -> bool:
        return self.compatible


def check_compatibility(*, reader: Any, writer: Any, format: str | Format) -> Compatibility:
    """Tell whether `reader` can read everything that `writer` may write.

    Never a wrong "compatible": what cannot be decided is a difference, with the reason.

    Parameters
    ----------
    reader, writer:
        Schemas: a `Schema`, the text, or the JSON value (dict, list) of one.
    format:
        ``"json"``, ``"avro"`` or ``"protobuf"``.

    Raises
    ------
    InvalidSchema
        One of the two is no schema of this format, or exceeds the bounds.
    MissingDependency
        The package that reads this format is not installed; the text names the extra.
    """
    support = format_support(format)
    found = support.compare(Schema.of(reader, format), Schema.of(writer, format))
    return Compatibility(tuple(found))


def check_evolution(
    *,
    new: Any,
    previous: Sequence[Any],
    mode: str | Mode = DEFAULT_MODE,
    format: str | Format,
) -> Compatibility:
    """Tell whether `new` may follow the versions in `previous`.

    A JSON Schema that was derived from an event (it carries ``x-eventbus``) says what is written;
    where it is the reader, its reader's side counts: open, with defaults and earlier names.

    Parameters
    ----------
    new:
        The schema that is to become the next version.
    previous:
        The versions so far, the oldest first.
    mode:
        Which of them are compared, and in which direction.
    format:
        ``"json"``, ``"avro"`` or ``"protobuf"``.

    Raises
    ------
    InvalidSchema
        One of them is no schema of this format.
    ConfigurationError
        There is no such mode.
    """
    chosen = Mode.of(mode)
    latest = Schema.of(new, format)
    earlier = [Schema.of(schema, format) for schema in previous]
    support = format_support(format)
    support.check(latest)
    found: list[Difference] = []
    first = 0 if chosen.transitive else max(len(earlier) - 1, 0)
    if chosen is not Mode.NONE and isinstance(support, HistorySupport):
        history = support.compare_history(latest, earlier)
        found += [one for one in history if one.version is None or one.version > first]
    for number, schema in list(enumerate(earlier, start=1))[first:]:
        if chosen.backward:
            found += _told(support.compare(_as_reader(latest), schema), number, "backward")
        if chosen.forward:
            found += _told(support.compare(_as_reader(schema), latest), number, "forward")
    return Compatibility(tuple(found))


def _as_reader(schema: Schema) -> Schema:
    """Return the reader's side of a contract that was derived from an event as JSON Schema.

    Such a document says what is written. Any other says of itself what is read.
    """
    if schema.format is not Format.JSON:
        return schema
    from eventbus.contracts.json_schema.support import as_reader

    return as_reader(schema)


def _told(differences: Sequence[Difference], version: int, direction: str) -> list[Difference]:
    return [replace(one, version=version, direction=direction) for one in differences]
