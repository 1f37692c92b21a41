"""The schema languages behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from eventbus.contracts.schema import Format, Schema

if TYPE_CHECKING:
    from eventbus.contracts.compatibility import Difference
    from eventbus.shape import Record


class FormatSupport(Protocol):
    """What each of the packages `json_schema`, `avro` and `protobuf` offers as ``SUPPORT``."""

    def check(self, schema: Schema) -> None:
        """Refuse what is no schema of this format, or exceeds the bounds: InvalidSchema."""

    def canonical(self, schema: Schema) -> str:
        """The text that is equal for schemas that differ only in how they are written."""

    def compare(self, reader: Schema, writer: Schema) -> Sequence[Difference]:
        """Why `reader` cannot read everything that `writer` may write; empty if it can."""

    def derive(self, record: Record, previous: Sequence[str]) -> str:
        """The writer's contract of an event.

        Parameters
        ----------
        record:
            The event's fields.
        previous:
            The texts of its earlier versions, the oldest first: a Protobuf field keeps its number.

        Raises
        ------
        DeclarationError
            A field has no form in this format; the text says what to use.
        """


def format_support(format: str | Format) -> FormatSupport:
    """What reads and compares schemas of `format`.

    Raises
    ------
    ConfigurationError
        There is no such format.
    MissingDependency
        Its package is not installed; the text names the extra.
    """
    found = Format.of(format)
    package = "json_schema" if found is Format.JSON else found.value
    support: FormatSupport = import_module(f"eventbus.contracts.{package}").SUPPORT
    return support
