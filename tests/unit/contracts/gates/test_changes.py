"""A change is named by its field."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from eventbus.contracts import Difference, Schema
from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.gates.changes import change_between

from .conftest import Shop


@pytest.mark.parametrize("format", ["json", "avro", "protobuf"])
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": int, "total": int}, {"a": int}, "removing `total`"),
        ({"a": int}, {"a": int, "total": int}, "adding `total`"),
        ({"a": int, "total": int}, {"a": int, "total": UUID}, "changing `total`"),
        ({"a": int, "b": int}, {}, "removing `a` and 1 more"),
        ({"a": int}, {"a": int}, "the change"),
    ],
)
def test_the_field_is_named(
    shop: Shop, format: str, before: dict[str, Any], after: dict[str, Any], said: str
) -> None:
    old = writer_contract(shop.event(_format=format, **before))
    new = writer_contract(shop.event(_format=format, **after), [old])

    assert change_between(old, new) == said


def test_of_several_changes_the_one_that_a_difference_is_about_is_named() -> None:
    def schema(*names: str) -> Schema:
        return Schema.of({"properties": {name: {} for name in names}}, "json")

    old, new = schema("a", "total", "b"), schema("c")

    def said(path: str, message: str) -> str:
        return change_between(old, new, Difference("KIND", path, message))

    assert said("/properties/total/type", "") == "removing `total`"
    assert said("/required", 'needs the property "b"') == "removing `b`"
    assert said("/required", 'needs the property "c"') == "adding `c`"
    assert said("/required", "nothing that is known") == "removing `a`"


@pytest.mark.parametrize("value", [True, [], "x", {"properties": 7}, {"fields": [7, {"type": 1}]}])
def test_a_schema_of_others_has_no_fields_that_are_told(value: Any) -> None:
    old = Schema.of(json.dumps(value), "json")

    assert change_between(old, old) == "the change"
