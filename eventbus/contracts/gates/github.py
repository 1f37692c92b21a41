"""Findings as workflow commands of GitHub Actions, which shows them at the lines of a change.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from eventbus.contracts.gates.findings import Finding, Severity
from eventbus.contracts.gates.sarif import said
from eventbus.printable import printable

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def annotation(finding: Finding) -> str:
    """The one line that makes the annotation of `finding`."""
    properties = {}
    if finding.location is not None:
        properties = {"file": finding.location.file, "line": str(finding.location.line)}
    properties["title"] = f"{finding.rule.id}: {finding.subject}"
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[finding.rule.severity]} {given}::{_data(said(finding))}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
