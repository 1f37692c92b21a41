"""Findings as SARIF 2.1.0, which code scanning of GitHub, GitLab and editors reads.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eventbus.contracts.gates.findings import RULES, Finding
from eventbus.contracts.gates.sources import Location
from eventbus.printable import printable

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """The SARIF log of one run.

    Parameters
    ----------
    version:
        Of eventbus.
    """
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "eventbus",
                        "version": version,
                        "rules": [
                            {
                                "id": rule.id,
                                "shortDescription": {"text": rule.summary},
                                "defaultConfiguration": {"level": rule.severity.value},
                            }
                            for rule in RULES
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding) for finding in findings],
            }
        ],
    }


def _result(finding: Finding) -> dict[str, Any]:
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": RULES.index(finding.rule),
        "level": finding.rule.severity.value,
        "message": {"text": printable(said(finding))},
        "locations": [_location(finding)],
        "partialFingerprints": {"contract/v1": _identity(finding)},
    }


def said(finding: Finding) -> str:
    """The finding in sentences: what is so, who breaks, what to do."""
    breaks = f". It breaks {'; '.join(finding.readers)}" if finding.readers else ""
    remedy = finding.remedy[:1].upper() + finding.remedy[1:]
    return f"{finding.message}{breaks}. {remedy}."


def _location(finding: Finding) -> dict[str, Any]:
    found: dict[str, Any] = {
        "logicalLocations": [{"fullyQualifiedName": printable(finding.subject), "kind": "type"}]
    }
    if finding.location is not None:
        found["physicalLocation"] = {
            "artifactLocation": _artifact(finding.location),
            "region": {"startLine": finding.location.line},
        }
    return found


def _artifact(location: Location) -> dict[str, str]:
    if Path(location.file).is_absolute():
        return {"uri": Path(location.file).as_uri()}
    return {"uri": quote(location.file, errors="surrogatepass"), "uriBaseId": "%SRCROOT%"}


def _identity(finding: Finding) -> str:
    """The same for the same finding in the next run, wherever the class has moved to."""
    one = finding.difference
    parts = [finding.rule.id, finding.subject, *finding.readers]
    if one is not None:
        parts += [one.kind, one.path, one.direction or ""]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
