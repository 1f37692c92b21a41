"""Findings in formats that other tools read: valid, escaped, and pointing to the class."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.contracts import Difference
from eventbus.contracts.gates.findings import (
    CHANGED,
    DEPRECATED,
    INCOMPATIBLE,
    MISSING,
    RULES,
    UNREGISTERED,
    Finding,
    Severity,
    breaks,
    worst,
)
from eventbus.contracts.gates.github import annotation
from eventbus.contracts.gates.sarif import sarif
from eventbus.contracts.gates.sources import Location, location_of

OFFICIAL = json.loads((Path(__file__).parent / "sarif-2.1.0-rtm.5.json").read_text())

REMOVED_FIELD = Difference(
    "REQUIRED_MISSING", "/properties/total", "'total' is needed", 2, "forward"
)
FINDING = Finding(
    INCOMPATIBLE,
    "order.paid",
    "readers with version 2 cannot read it: 'total' is needed",
    "take it back",
    Location("shop/events.py", 12),
    REMOVED_FIELD,
    (2,),
    ("shop.billing 1.4, handler charge",),
)


def checked(findings: list[Finding]) -> list[dict[str, Any]]:
    """The results of the SARIF log, which the official schema accepts."""
    log = json.loads(json.dumps(sarif(findings, "1.2")))
    jsonschema.Draft4Validator(OFFICIAL).validate(log)
    results: list[dict[str, Any]] = log["runs"][0]["results"]
    return results


def test_sarif_names_rule_place_and_who_breaks() -> None:
    (result,) = checked([FINDING])

    assert result["ruleId"] == "contract-incompatible"
    assert RULES[result["ruleIndex"]] is INCOMPATIBLE
    assert result["level"] == "error"
    assert "breaks shop.billing 1.4, handler charge" in result["message"]["text"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "shop/events.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 12}


def test_sarif_of_nothing_is_valid() -> None:
    assert checked([]) == []


def test_the_official_schema_would_refuse_a_wrong_level() -> None:
    log = copy.deepcopy(sarif([FINDING], "1.2"))
    log["runs"][0]["results"][0]["level"] = "fatal"

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(OFFICIAL).validate(log)


def test_a_finding_keeps_its_fingerprint_when_its_class_moves() -> None:
    moved = Finding(
        FINDING.rule,
        FINDING.subject,
        "said in other words",
        FINDING.remedy,
        Location("elsewhere.py", 99),
        FINDING.difference,
        FINDING.versions,
        FINDING.readers,
    )
    other = Finding(MISSING, "order.paid", "", "")

    marks = [result["partialFingerprints"] for result in checked([FINDING, moved, other])]

    assert marks[0] == marks[1] != marks[2]


@settings(max_examples=100, deadline=None)
@given(
    subject=st.text(min_size=1),
    message=st.text(),
    file=st.text(st.characters(blacklist_characters="\0"), min_size=1),
    reader=st.text(),
)
def test_whatever_the_names_are_sarif_is_valid_and_github_gets_one_line(
    subject: str, message: str, file: str, reader: str
) -> None:
    finding = Finding(DEPRECATED, subject, message, "do it", Location(file, 3), None, (), (reader,))

    checked([finding])
    line = annotation(finding)
    assert line.isprintable() or "\u200c" in line or "\u200d" in line
    properties, _, _ = line.removeprefix("::warning ").partition("::")
    assert [part.partition("=")[0] for part in properties.split(",")] == ["file", "line", "title"]


def test_a_github_annotation_is_escaped_as_the_runner_reads_it() -> None:
    finding = Finding(CHANGED, "a:b,c%", "100 %\nbroken::error", "run it", Location("a,b:c.py", 1))

    assert annotation(finding) == (
        "::error file=a%2Cb%3Ac.py,line=1,title=contract-changed%3A a%3Ab%2Cc%25::"
        "100 %25\\nbroken::error. Run it."
    )


def test_severities_become_commands_of_github() -> None:
    assert annotation(Finding(UNREGISTERED, "a", "b", "c")).startswith("::notice title=")
    assert annotation(Finding(DEPRECATED, "a", "b", "c")).startswith("::warning title=")


def test_the_worst_finding_decides() -> None:
    assert worst([]) is None
    assert worst([Finding(DEPRECATED, "a", "b", "c")]) is Severity.WARNING
    assert worst([Finding(DEPRECATED, "a", "b", "c"), FINDING]) is Severity.ERROR


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ((3,), "who has version 3 of order.paid cannot read it"),
        ((1, 2), "versions 1 and 2"),
        ((1, 2, 3, 4), "versions 1 to 4"),
        ((1, 3, 4), "versions 1, 3 and 4"),
    ],
)
def test_the_same_difference_to_several_versions_is_said_once(
    versions: tuple[int, ...], said: str
) -> None:
    found = breaks(
        [Difference("KIND", "/a", f"text {version}", version, "forward") for version in versions]
    )

    assert len(found) == 1
    assert said in found[0].said("order.paid")
    assert "[KIND at /a]" in found[0].said("order.paid")


def test_the_two_directions_are_told_apart() -> None:
    found = breaks(
        [Difference("KIND", "", "text", 1, direction) for direction in ("backward", "forward")]
    )

    assert ["cannot read version 1" in one.said("order.paid") for one in found] == [True, False]


class Here:
    class Inner:
        pass


def test_a_class_is_found_in_its_file() -> None:
    class Local:
        pass

    lines = Path(__file__).read_text().splitlines()
    for cls, text in ((Here, "class Here:"), (Here.Inner, "class Inner:"), (Local, "class Local:")):
        found = location_of(cls)
        assert found is not None
        assert lines[found.line - 1].strip() == text
        assert found.file.endswith("gates/test_reports.py")


def test_a_class_without_a_file_has_no_place() -> None:
    assert location_of(type("Made", (), {"__module__": "nowhere"})) is None
    assert location_of(int) is None
