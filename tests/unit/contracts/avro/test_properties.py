"""Where we say compatible, a reader reads: with fastavro, and by Apache's own checker."""

from __future__ import annotations

import io
import json
from random import Random
from typing import Any

import avro.compatibility
import avro.schema
import fastavro
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eventbus.contracts import check_compatibility
from eventbus.contracts.avro import SUPPORT
from eventbus.contracts.avro.binary import whole
from eventbus.contracts.avro.parsed import parse
from eventbus.contracts.avro.reading import Reading
from eventbus.contracts.schema import Schema
from eventbus.errors import InvalidSchema
from tests.unit.contracts.avro.generated import Generator, without_logical_types

#: Avro's readers do not look at what the rules here add to them.
STRICTER = {
    "LOGICAL_TYPE_CHANGED",
    "DECIMAL_PRECISION_CHANGED",
    "DECIMAL_SCALE_CHANGED",
    "AMBIGUOUS_ALIAS",
}
chances = st.integers(min_value=0, max_value=2**32)


def is_valid(schema: Any) -> bool:
    try:
        SUPPORT.check(Schema.of(schema, "avro"))
    except InvalidSchema:
        return False
    return True


def pair(seed: int) -> tuple[Generator, dict[str, Any], dict[str, Any]]:
    generator = Generator(Random(seed))
    writer = generator.record()
    reader = generator.changed(writer)
    assume(is_valid(writer))
    assume(is_valid(reader))
    return generator, writer, reader


def written(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(without_logical_types(schema)), value)
    return stream.getvalue()


@settings(max_examples=400, deadline=None)
@given(chances)
def test_what_is_compatible_can_be_read(seed: int) -> None:
    generator, writer, reader = pair(seed)
    assume(check_compatibility(reader=reader, writer=writer, format="avro"))
    encoding = fastavro.parse_schema(without_logical_types(writer))
    resolved = fastavro.parse_schema(without_logical_types(reader))
    for _ in range(3):
        body = written(writer, generator.value(writer))
        fastavro.schemaless_reader(io.BytesIO(body), encoding, resolved)


@settings(max_examples=400, deadline=None)
@given(chances)
def test_apaches_checker_finds_nothing_in_what_is_compatible(seed: int) -> None:
    """And the other way round: what it calls compatible, only our stricter rules refuse."""
    _, writer, reader = pair(seed)
    ours = {
        one.kind
        for one in check_compatibility(reader=reader, writer=writer, format="avro").differences
    }
    theirs = avro.compatibility.ReaderWriterCompatibilityChecker().get_compatibility(
        avro.schema.parse(json.dumps(without_logical_types(reader))),
        avro.schema.parse(json.dumps(without_logical_types(writer))),
    )
    says_compatible = theirs.compatibility.value == "compatible"
    assert says_compatible == (not ours - STRICTER), (reader, writer, ours)


@settings(max_examples=300, deadline=None)
@given(chances)
def test_bodies_are_read_as_fastavro_reads_them(seed: int) -> None:
    generator, writer, _ = pair(seed)
    root = parse(Schema.of(writer, "avro"))
    reading = Reading(root)
    body = written(writer, generator.value(writer))
    read = whole(reading.skip(root), reading.metered)
    encoding = fastavro.parse_schema(without_logical_types(writer))
    assert read(body) == fastavro.schemaless_reader(io.BytesIO(body), encoding, None)


@settings(max_examples=200, deadline=None)
@given(chances)
def test_a_schema_is_compatible_with_itself_and_its_canonical_text(seed: int) -> None:
    """Unless a union has an earlier branch that takes a value by promotion, for another thing."""
    _, schema, _ = pair(seed)
    again = json.loads(SUPPORT.canonical(Schema.of(schema, "avro")))
    for reader, writer in ((schema, again), (again, schema)):
        found = check_compatibility(reader=reader, writer=writer, format="avro").differences
        assert all(
            one.kind == "LOGICAL_TYPE_CHANGED" and one.path.rpartition("/")[2].isdigit()
            for one in found
        )
