"""JSON Schema behind the interface of the schema languages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.json_schema.candidates import GaveUp
from eventbus.contracts.json_schema.canonical import canonical_text
from eventbus.contracts.json_schema.compiling import Compiler
from eventbus.contracts.json_schema.documents import Documents
from eventbus.contracts.json_schema.explaining import explain
from eventbus.contracts.json_schema.plain import is_plainly_included
from eventbus.contracts.json_schema.reading import read_schema
from eventbus.contracts.json_schema.satisfying import Search
from eventbus.contracts.json_schema.views import MARK, reader_view
from eventbus.contracts.json_schema.wording import UNDECIDED
from eventbus.contracts.schema import Schema

if TYPE_CHECKING:
    from eventbus.shape import Record

#: Schemas kept as formulas; one is some ten kilobytes.
MAX_KEPT = 256


class JsonSchemaSupport:
    """Checks, compares and derives JSON Schemas."""

    def check(self, schema: Schema) -> None:
        """Refuse what is no JSON Schema of a draft that is read, or exceeds the bounds."""
        compiled(schema)

    def canonical(self, schema: Schema) -> str:
        """The schema with sorted keys, and equal spellings made one."""
        return canonical_text(schema.text)

    def compare(self, reader: Schema, writer: Schema) -> list[Difference]:
        """Why `reader` does not accept all that `writer` does; empty if it does."""
        wanted, given = compiled(reader), compiled(writer)
        if wanted is given:
            return []
        search = Search()
        try:
            written, accepted = given.formula(*given.start), wanted.formula(*wanted.start)
            if is_plainly_included(search, written, accepted):
                return []
            refused = search.satisfy(written, accepted.complement)
        except RecursionError as reason:
            return [_undecided(reason)]
        except GaveUp as reason:
            # Keyword by keyword it may be found where the difficulty is.
            return explain(Search(), wanted, written) or [_undecided(reason)]
        return [] if refused is None else explain(search, wanted, written)

    def derive(self, record: Record, previous: Sequence[str]) -> str:
        """The writer's contract of an event, as draft 2020-12."""
        from eventbus.contracts.json_schema.derive import derive

        return derive(record, previous)


def _undecided(reason: Exception) -> Difference:
    return Difference(UNDECIDED, "", f"it cannot be decided: {reason}")


def as_reader(schema: Schema) -> Schema:
    """What reads by the contract `schema`: itself, if it was not derived from an event."""
    if MARK not in schema.text:
        return schema
    return replace(schema, text=_reader_text(schema.text))


@lru_cache(maxsize=MAX_KEPT)
def _reader_text(text: str) -> str:
    written = read_schema(text)
    read = reader_view(written)
    return text if read is written else json.dumps(read, ensure_ascii=False)


def compiled(schema: Schema) -> Compiler:
    """The formulas of a schema; InvalidSchema if it is none."""
    return _kept(schema.text, tuple(sorted(schema.references.items())))


@lru_cache(maxsize=MAX_KEPT)
def _kept(text: str, references: tuple[tuple[str, str], ...]) -> Compiler:
    return Compiler(Documents(read_schema(text), dict(references)))


SUPPORT = JsonSchemaSupport()
