"""The schema languages behind one small interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, runtime_checkable

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


@runtime_checkable
class HistorySupport(Protocol):
    """What a format offers in which the order of the versions tells more than each pair."""

    def compare_history(self, new: Schema, earlier: Sequence[Schema]) -> Sequence[Difference]:
        """Why `new` may not come after `earlier`, the oldest first, whoever reads.

        Each difference says the version, 1 for the oldest.
        """


@runtime_checkable
class BatchSupport(Protocol):
    """What a format offers that reads many schemas at once in less time than one by one."""

    def read_ahead(self, schemas: Iterable[Schema]) -> None:
        """Read them; what is no schema is refused when it is asked for."""


def read_ahead(schemas: Iterable[Schema]) -> None:
    """Prepare for schemas that will all be asked for.

    Raises
    ------
    MissingDependency
        The package of their format is not installed.
    """
    by_format: dict[Format, list[Schema]] = {}
    for schema in schemas:
        by_format.setdefault(schema.format, []).append(schema)
    for format, found in by_format.items():
        support = format_support(format)
        if isinstance(support, BatchSupport):
            support.read_ahead(found)


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
