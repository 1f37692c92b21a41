"""Whatever the schemas are: a value that the writer accepts is accepted by a compatible reader.

The judge is the package `jsonschema`, which shares nothing with the checker.
"""

from __future__ import annotations

import random
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventbus.contracts import check_compatibility
from eventbus.contracts.json_schema.evaluating import holds
from eventbus.contracts.json_schema.patterns.automata import Answer, find_text, matches
from eventbus.contracts.json_schema.support import compiled
from eventbus.contracts.schema import Schema
from eventbus.errors import InvalidSchema
from tests.unit.contracts.json_schema.random_schemas import DRAFTS, Schemas, Values
from tests.unit.contracts.json_schema.test_pairs import COMPATIBLE

JUDGES = {
    "2020-12": jsonschema.Draft202012Validator,
    "2019-09": jsonschema.Draft201909Validator,
    "draft-07": jsonschema.Draft7Validator,
}
#: What the judge of 2019-09 gets wrong: it takes keywords for the names of properties.
MISJUDGED = re.compile(r"'additionalProperties': \{.*'unevaluatedProperties'")

bounded = settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
numbers = st.integers(min_value=0, max_value=2**32)


def is_judged(draft: str, *schemas: Any) -> bool:
    """Whether the judge is to be trusted with them."""
    if draft == "2019-09" and any(MISJUDGED.search(str(one)) for one in schemas):
        return False
    try:
        for one in schemas:
            JUDGES[draft].check_schema(one)
    except jsonschema.SchemaError:
        return False
    return True


def judged(judge: Any, value: Any) -> bool | None:
    """What the judge says; None where it fails itself (``items: true`` beside others)."""
    try:
        return bool(judge.is_valid(value))
    except (TypeError, RecursionError):
        return None


@bounded
@given(seed=numbers, draft=st.sampled_from(sorted(DRAFTS)))
def test_a_schema_means_what_a_validator_takes_it_for(seed: int, draft: str) -> None:
    source = random.Random(seed)
    document = Schemas(source, draft).document()
    if not is_judged(draft, document):
        return
    try:
        read = compiled(Schema.of(document, "json"))
    except InvalidSchema:
        return
    judge, values = JUDGES[draft](document), Values(source, document)
    for _ in range(15):
        value = values.fitting(document) if source.random() < 0.7 else values.any()
        meant = holds(read.formula(*read.start), value)
        verdict = judged(judge, value)
        assert None in (meant, verdict) or meant is verdict, (document, value)


@bounded
@given(seed=numbers, draft=st.sampled_from(sorted(DRAFTS)))
def test_a_compatible_reader_accepts_what_the_writer_accepts(seed: int, draft: str) -> None:
    source = random.Random(seed)
    schemas = Schemas(source, draft)
    one = schemas.document()
    other = schemas.varied(one) if source.random() < 0.85 else schemas.document()
    reader, writer = (other, one) if source.random() < 0.7 else (one, other)
    if not is_judged(draft, reader, writer):
        return
    try:
        found = check_compatibility(reader=reader, writer=writer, format="json")
    except InvalidSchema:
        return
    if not found.compatible:
        return
    accepts, writes = JUDGES[draft](reader), JUDGES[draft](writer)
    values = Values(source, writer)
    for _ in range(25):
        value = values.fitting(writer) if source.random() < 0.8 else values.any()
        if judged(writes, value):
            assert judged(accepts, value) is not False, (reader, writer, value)


@pytest.mark.parametrize(("reader", "writer"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_values_that_the_writer_of_a_pair_accepts_are_accepted(reader: Any, writer: Any) -> None:
    drafts = [
        next((d for d, uri in DRAFTS.items() if uri in str(schema)), "2020-12")
        for schema in (reader, writer)
    ]
    accepts, writes = JUDGES[drafts[0]](reader), JUDGES[drafts[1]](writer)
    values = Values(random.Random(0), writer)
    for _ in range(150):
        value = values.fitting(writer)
        if writes.is_valid(value):
            assert accepts.is_valid(value)


class Patterns:
    """A source of regular expressions over a few characters."""

    def __init__(self, source: random.Random) -> None:
        self.random = source

    def part(self, depth: int) -> str:
        r = self.random
        pick = r.random()
        if depth == 0 or pick < 0.3:
            return r.choice(["a", "b", ".", "[ab]", "[^a]", "\\d", "\\w", "\\s", "\\D", "\\n"])
        if pick < 0.5:
            return self.part(depth - 1) + self.part(depth - 1)
        if pick < 0.65:
            return f"({self.part(depth - 1)}|{self.part(depth - 1)})"
        if pick < 0.85:
            times = r.choice(["*", "+", "?", "{1,2}", "{2}", "{2,}", "*?"])
            return f"(?:{self.part(depth - 1)}){times}"
        return f"({self.part(depth - 1)})"

    def pattern(self) -> str:
        r = self.random
        return r.choice(["", "^", "^"]) + self.part(3) + r.choice(["", "$", "$"])


@settings(deadline=None, max_examples=150)
@given(seed=numbers)
def test_a_text_that_is_said_not_to_exist_is_none_that_python_finds(seed: int) -> None:
    source = random.Random(seed)
    wanted, unwanted = Patterns(source).pattern(), Patterns(source).pattern()
    found = find_text(frozenset((wanted,)), frozenset((unwanted,)), longest=4)
    for _ in range(60):
        text = "".join(source.choice("ab1\n٣") for _ in range(source.randrange(5)))
        matched = bool(re.search(wanted, text))
        assert matches(wanted, text) in (None, matched)
        if found is Answer.NONE:
            assert not matched or re.search(unwanted, text), (wanted, unwanted, text)
