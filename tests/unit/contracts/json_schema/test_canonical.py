"""Schemas that differ only in how they are written have one canonical text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.contracts import check_compatibility
from eventbus.contracts.json_schema import SUPPORT
from eventbus.contracts.schema import Schema
from eventbus.errors import InvalidSchema
from tests.unit.contracts.json_schema.random_schemas import DRAFTS, Schemas


def canonical(schema: Any) -> str:
    """The canonical text of a JSON value or a text."""
    return SUPPORT.canonical(Schema.of(schema, "json"))


SAME = {
    "order of keys": ({"type": "string", "maxLength": 5}, {"maxLength": 5, "type": "string"}),
    "spaces": ('{"type": "string"}', '{ "type":\n"string" }'),
    "escapes": ('{"const": "\\u00e9"}', '{"const": "é"}'),
    "a type in a list": ({"type": ["string"]}, {"type": "string"}),
    "order of types": ({"type": ["string", "null"]}, {"type": ["null", "string"]}),
    "order of needed names": ({"required": ["b", "a"]}, {"required": ["a", "b"]}),
    "order of values": ({"enum": [2, "a", 1]}, {"enum": ["a", 1, 2]}),
    "1.0": ({"maxLength": 5.0, "const": 1.0}, {"maxLength": 5, "const": 1}),
    "{} and true": ({"properties": {"a": {}}}, {"properties": {"a": True}}),
    "keywords that say nothing": (
        {"type": "string", "minLength": 0, "required": [], "uniqueItems": False},
        {"type": "string"},
    ),
}
OTHER = {
    "another value": ({"const": 1}, {"const": True}),
    "a text that looks like a schema": (
        {"const": {"type": ["string"]}},
        {"const": {"type": "string"}},
    ),
    "a property called required": (
        {"properties": {"required": {"const": ["b", "a"]}}},
        {"properties": {"required": {"const": ["a", "b"]}}},
    ),
    "order of a tuple": (
        {"prefixItems": [{"type": "string"}, True]},
        {"prefixItems": [True, {"type": "string"}]},
    ),
    "annotations": ({"title": "a"}, {"title": "b"}),
    "false": ({"properties": {"a": False}}, {"properties": {"a": True}}),
    "a draft": ({"$schema": DRAFTS["draft-07"]}, {"$schema": DRAFTS["2019-09"]}),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_spelling_makes_no_difference(one: Any, other: Any) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_meaning_does(one: Any, other: Any) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    "schema", ["{", {"required": [{}]}, {"properties": []}, {"allOf": [{"enum": 3}]}, {"type": {}}]
)
def test_what_is_no_schema_has_no_canonical_text(schema: Any) -> None:
    with pytest.raises(InvalidSchema):
        canonical(schema)


@settings(deadline=None, max_examples=100)
@given(source=st.randoms(use_true_random=False), draft=st.sampled_from(sorted(DRAFTS)))
def test_the_canonical_text_is_its_own_and_means_the_same(source: Any, draft: str) -> None:
    schema = Schemas(source, draft).document()
    try:
        SUPPORT.check(Schema.of(schema, "json"))
    except InvalidSchema:
        return
    text = canonical(schema)
    assert canonical(text) == text
    for reader, writer in ((text, schema), (schema, text)):
        found = check_compatibility(reader=reader, writer=writer, format="json")
        kinds = {one.kind for one in found.differences}
        assert kinds <= {"UNDECIDED"}, schema
