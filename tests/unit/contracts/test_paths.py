"""JSON paths."""

from __future__ import annotations

from typing import Any

import pytest

from eventbus.contracts.paths import json_path, path_of_errors


def test_only_what_needs_quotes_has_some() -> None:
    assert json_path(["lines", 0, "unit price", "it's"]) == r"$.lines[0]['unit price']['it\'s']"
    assert json_path([]) == "$"


@pytest.mark.parametrize(
    ("errors", "path"),
    [
        ({"order_id": ["Not a valid UUID."]}, "$.order_id"),
        ({"lines": {0: {"price": ["no"]}}}, "$.lines[0].price"),
        ({"lines": {"3": ["no"]}}, "$.lines[3]"),
        ({"_schema": ["Invalid input type."]}, "$"),
        ({"address": {"_schema": ["Invalid input type."]}}, "$.address"),
        ({}, "$"),
    ],
)
def test_the_first_error_gives_the_path(errors: Any, path: str) -> None:
    assert path_of_errors(errors) == path
