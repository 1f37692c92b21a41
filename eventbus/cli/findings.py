"""Prints what a check of contracts has found, in the format that was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventbus.contracts.gates.findings import Finding

FORMATS = ("text", "json", "sarif", "github")

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_findings(
    findings: Sequence[Finding],
    checked: str,
    format: str,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Print `findings`.

    Parameters
    ----------
    checked:
        What was looked at, in words: ``12 events``.
    format:
        One of `FORMATS`.
    extra:
        What else the JSON object is to have.
    """
    if format == "text":
        _print_text(findings, checked)
    elif format == "json":
        _print_json(findings, extra or {})
    elif format == "sarif":
        _print_sarif(findings)
    else:
        _print_github(findings, checked)


def _print_text(findings: Sequence[Finding], checked: str) -> None:
    from eventbus.cli.terminal import print_styled

    for finding in findings:
        severity = finding.rule.severity.value
        place = finding.location
        where = f"{place.file}:{place.line}: " if place else ""
        head = f"{where}{severity}: {finding.subject}: {finding.rule.id}"
        print_styled(head, _STYLES[severity])
        print_styled(finding.message, "", indent=4)
        for reader in finding.readers:
            print_styled(f"breaks {reader}", "bold", indent=4)
        print_styled(finding.remedy, "dim", indent=4)
    print_styled(summary(findings, checked), "" if findings else "green")


def summary(findings: Sequence[Finding], checked: str) -> str:
    """``12 events checked: 2 errors, 1 warning``."""
    counts = Counter(finding.rule.severity.value for finding in findings)
    said = ", ".join(
        f"{counts[name]} {name}{'' if counts[name] == 1 else 's'}"
        for name in _STYLES
        if counts[name]
    )
    return f"{checked} checked: {said or 'nothing found'}"


def _print_json(findings: Sequence[Finding], extra: Mapping[str, Any]) -> None:
    from eventbus.cli.terminal import print_json
    from eventbus.contracts.gates.findings import Severity, worst

    print_json(
        {
            "ok": worst(findings) is not Severity.ERROR,
            "findings": [finding_shape(finding) for finding in findings],
            **extra,
        }
    )


def finding_shape(finding: Finding) -> dict[str, Any]:
    """`finding` as JSON."""
    place, one = finding.location, finding.difference
    return {
        "rule": finding.rule.id,
        "severity": finding.rule.severity.value,
        "event": finding.subject,
        "message": finding.message,
        "remedy": finding.remedy,
        "file": place and place.file,
        "line": place and place.line,
        "kind": one and one.kind,
        "path": one and one.path,
        "direction": one and one.direction,
        "versions": list(finding.versions),
        "readers": list(finding.readers),
    }


def _print_sarif(findings: Sequence[Finding]) -> None:
    from eventbus import __version__
    from eventbus.cli.terminal import print_json
    from eventbus.contracts.gates.sarif import sarif

    print_json(sarif(findings, __version__))


def _print_github(findings: Sequence[Finding], checked: str) -> None:
    import click

    from eventbus.cli.terminal import print_line
    from eventbus.contracts.gates.github import annotation

    for finding in findings:
        click.echo(annotation(finding))
    print_line(summary(findings, checked))
