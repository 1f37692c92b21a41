"""Whether two contracts of an event differ in nothing but fields that a reader can do without.

Nearly all versions do. It is told from the text of the fields, some hundred times as fast as the
checker works, which has to be asked about everything else.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from eventbus.contracts.json_schema.reading import read_schema
from eventbus.contracts.json_schema.views import MARK, is_writers, reader_view
from eventbus.contracts.schema import Schema

#: What an object has that `derive` has written, and nothing else; the first say nothing of values.
_SILENT = frozenset(("title", "description", "deprecated", MARK))
_FORM = {"$schema", "type", "properties", "required", "additionalProperties"}


def reads_all_of(reader: Schema, writer: Schema) -> bool:
    """Whether it is plain that `reader`'s class reads all that `writer`'s class writes.

    So it is where both were derived from an event, every field that both have is the same, and
    every other field of the reader has a default. False says nothing: ask the checker.
    """
    wanted, given = _fields(reader.text), _fields(writer.text)
    if wanted is None or given is None or reader.references or writer.references:
        return False
    if wanted.dialect != given.dialect:
        return False
    written = given.fields
    return all(written.get(name, text) == text for name, text in wanted.fields.items()) and (
        wanted.needed <= written.keys()
    )


class _Fields:
    """The fields of one contract.

    Parameters
    ----------
    fields:
        Name to the text of its schema.
    needed:
        Those without which an event is not read.
    """

    __slots__ = ("dialect", "fields", "needed")

    def __init__(self, dialect: str, fields: dict[str, str], needed: frozenset[str]) -> None:
        self.dialect = dialect
        self.fields = fields
        self.needed = needed


@lru_cache(maxsize=10_000)
def _fields(text: str) -> _Fields | None:
    """None where it is not such a contract, or has fields with earlier names."""
    schema = read_schema(text)
    if not is_writers(schema) or set(schema) - _SILENT != _FORM:
        return None
    read = reader_view(schema)
    properties: Any = schema["properties"]
    if (
        set(read) - _SILENT != _FORM - {"additionalProperties"}
        or schema["additionalProperties"] is not False
        or schema["type"] != "object"
        or set(schema["required"]) != set(properties)
    ):
        return None
    fields = {name: json.dumps(one, sort_keys=True) for name, one in properties.items()}
    # What has earlier names, at whatever depth, takes the values of other fields for its own; what
    # refers to another place means what is there.
    if any('"aliases"' in text or '"$' in text for text in fields.values()):
        return None
    return _Fields(str(schema["$schema"]), fields, frozenset(read["required"]))
