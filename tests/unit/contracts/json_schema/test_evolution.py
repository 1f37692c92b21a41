"""A history of JSON Schemas: which versions are compared, in which direction, and how quickly."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest

from eventbus.contracts import check_evolution
from eventbus.errors import ConfigurationError, InvalidSchema

CLOSED = {"type": "object", "additionalProperties": False}


def version(*names: str, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """An open object with text properties."""
    made: dict[str, Any] = {"type": "object", "properties": {n: {"type": "string"} for n in names}}
    return {**made, "required": list(needed)} if needed else made


def contract(*names: str, defaults: tuple[str, ...] = (), aliases: Any = None) -> dict[str, Any]:
    """A document as it is derived from an event."""
    properties: dict[str, Any] = {name: {"type": "string"} for name in names}
    for name in defaults:
        properties[name] = {"type": "string", "default": ""}
    for name, earlier in (aliases or {}).items():
        properties[name]["x-eventbus"] = {"aliases": [earlier]}
    return {
        **CLOSED,
        "x-eventbus": {"contract": "writer"},
        "properties": properties,
        "required": sorted(properties),
    }


A, AB, NEEDS_B = version("a"), version("a", "b"), version("a", "b", needed=("b",))


@pytest.mark.parametrize(
    ("mode", "compared"),
    [
        ("NONE", []),
        ("BACKWARD", [(3, "backward")]),
        ("FORWARD", []),
        ("FULL", [(3, "backward")]),
        ("BACKWARD_TRANSITIVE", [(1, "backward"), (3, "backward")]),
        ("FORWARD_TRANSITIVE", []),
        ("full_transitive", [(1, "backward"), (3, "backward")]),
    ],
)
def test_the_mode_says_which_versions_are_compared(mode: str, compared: list[Any]) -> None:
    found = check_evolution(new=NEEDS_B, previous=[A, NEEDS_B, AB], mode=mode, format="json")
    pairs = dict.fromkeys((one.version, one.direction) for one in found.differences)
    assert list(pairs) == compared


def test_forward_asks_whether_the_old_version_reads_the_new_one() -> None:
    found = check_evolution(new=AB, previous=[NEEDS_B], mode="FORWARD", format="json")
    assert [(one.kind, one.direction) for one in found.differences] == [
        ("REQUIRED_PROPERTY_ADDED", "forward")
    ]


def test_the_first_version_follows_nothing() -> None:
    assert check_evolution(new=A, previous=[], format="json").compatible


def test_the_first_version_has_to_be_a_schema() -> None:
    with pytest.raises(InvalidSchema):
        check_evolution(new={"type": "text"}, previous=[], mode="NONE", format="json")


def test_an_unknown_mode_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="FULL_TRANSITIVE"):
        check_evolution(new=A, previous=[], mode="SIDEWAYS", format="json")


def test_a_field_with_a_default_may_be_added_and_removed() -> None:
    without, with_default = contract("a"), contract("a", defaults=("b",))
    assert check_evolution(new=with_default, previous=[without], mode="FULL", format="json")
    assert check_evolution(new=without, previous=[with_default], mode="FULL", format="json")


def test_a_field_without_a_default_may_not_be_added_for_old_events() -> None:
    found = check_evolution(new=contract("a", "b"), previous=[contract("a")], format="json")
    assert [(one.kind, one.direction) for one in found.differences] == [
        ("REQUIRED_PROPERTY_ADDED", "backward")
    ]


def test_a_field_without_a_default_may_not_be_removed_for_old_readers() -> None:
    found = check_evolution(new=contract("a"), previous=[contract("a", "b")], format="json")
    assert [(one.kind, one.direction) for one in found.differences] == [
        ("REQUIRED_PROPERTY_ADDED", "forward")
    ]


def test_a_renamed_field_that_knows_its_earlier_name_reads_old_events() -> None:
    renamed = contract("b", aliases={"b": "a"})
    assert check_evolution(new=renamed, previous=[contract("a")], mode="BACKWARD", format="json")
    assert not check_evolution(
        new=contract("b"), previous=[contract("a")], mode="BACKWARD", format="json"
    )


def test_a_document_without_the_mark_is_taken_as_it_is() -> None:
    plain = {**contract("a", defaults=("b",))}
    del plain["x-eventbus"]
    assert not check_evolution(new=plain, previous=[contract("a")], mode="BACKWARD", format="json")


def test_a_document_follows_itself_however_it_is_written() -> None:
    text = json.dumps(contract("a", "b"), indent=4)
    turned = json.dumps(dict(reversed(contract("a", "b").items())))
    assert check_evolution(new=text, previous=[turned], format="json")


def history(event: int) -> list[dict[str, Any]]:
    """Ten versions, each with one more field that has a default."""
    first = contract(*(f"field{n}" for n in range(10)))
    first["properties"]["field0"] = {"type": "integer", "minimum": event}
    found = [first]
    for number in range(9):
        following = copy.deepcopy(found[-1])
        following["properties"][f"more{number}"] = {
            "type": "string",
            "default": "",
            "maxLength": event,
        }
        following["required"].append(f"more{number}")
        found.append(following)
    return found


def test_500_events_with_10_versions_each_are_compared_in_a_few_seconds() -> None:
    histories = [history(event) for event in range(500)]
    began = time.perf_counter()
    for versions in histories:
        assert check_evolution(new=versions[-1], previous=versions[:-1], format="json")
    # About three seconds on a quiet machine, for all of the comparisons.
    assert time.perf_counter() - began < 30
