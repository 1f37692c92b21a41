"""Protobuf as one of the schema languages (see `eventbus.contracts.formats.FormatSupport`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.protobuf.comparison import differences
from eventbus.contracts.protobuf.compiled import compiled, contract_of, read_ahead
from eventbus.contracts.protobuf.derivation import derived_text
from eventbus.contracts.protobuf.reservations import reserved_again
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import DeclarationError, InvalidSchema
from eventbus.shape import Record


class ProtobufSupport:
    """Reads, compares and derives Protobuf schemas."""

    def check(self, schema: Schema) -> None:
        """Refuse what is no Protobuf schema, or exceeds the bounds: InvalidSchema."""
        contract_of(schema)

    def canonical(self, schema: Schema) -> str:
        """The text that is equal for schemas that differ only in how they are written."""
        return compiled(schema).canonical

    def read_ahead(self, schemas: Iterable[Schema]) -> None:
        """Read many schemas at once, which is quicker than when each is asked for."""
        read_ahead(schemas)

    def compare(self, reader: Schema, writer: Schema) -> Sequence[Difference]:
        """Why `reader` cannot read everything that `writer` may write; empty if it can."""
        return differences(contract_of(reader), contract_of(writer))

    def compare_history(self, new: Schema, earlier: Sequence[Schema]) -> Sequence[Difference]:
        """Why `new` may not come after `earlier`, whoever reads: it uses what they reserved."""
        return reserved_again(contract_of(new), [contract_of(schema) for schema in earlier])

    def derive(self, record: Record, previous: Sequence[str]) -> str:
        """The writer's contract of an event, whose fields keep the numbers of `previous`.

        Raises
        ------
        DeclarationError
            A field has no form in Protobuf; the text says what to use.
        InvalidSchema
            One of `previous` is no Protobuf schema.
        """
        history = [contract_of(Schema(Format.PROTOBUF, text)) for text in previous]
        text = derived_text(record, history)
        try:
            contract_of(Schema(Format.PROTOBUF, text))
        except InvalidSchema as error:
            raise DeclarationError(
                f"{record.name} has no form in Protobuf: {error}; rename what it complains of"
            ) from None
        return text
