"""Avro among the formats: what `eventbus.contracts.formats` asks of each."""

from __future__ import annotations

from collections.abc import Sequence

from eventbus.contracts.avro.canonical import canonical_text
from eventbus.contracts.avro.derive import derived
from eventbus.contracts.avro.parsed import parse
from eventbus.contracts.avro.resolution import resolve
from eventbus.contracts.compatibility import Difference
from eventbus.contracts.schema import Schema
from eventbus.shape import Record


class AvroSupport:
    """Reads, compares and derives Avro schemas; needs no other package."""

    def check(self, schema: Schema) -> None:
        """Refuse what is no Avro schema, or exceeds the bounds."""
        parse(schema)

    def canonical(self, schema: Schema) -> str:
        """One text for all schemas that every reader treats the same."""
        return canonical_text(parse(schema))

    def compare(self, reader: Schema, writer: Schema) -> Sequence[Difference]:
        """Why `reader` cannot read everything that `writer` may write."""
        return resolve(parse(reader), parse(writer))

    def derive(self, record: Record, previous: Sequence[str]) -> str:
        """The contract of an event; earlier versions make no difference to it."""
        return derived(record)
