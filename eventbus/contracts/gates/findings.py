"""What a check finds, as values; how it is printed is another matter."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.gates.sources import Location


class Severity(enum.Enum):
    """How bad a finding is; an error ends the check with exit code 4."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of finding.

    Parameters
    ----------
    id:
        What it is called in every output.
    summary:
        One sentence.
    """

    id: str
    severity: Severity
    summary: str


MISSING = Rule("contract-missing", Severity.ERROR, "An event has no lock file.")
CHANGED = Rule(
    "contract-changed", Severity.ERROR, "An event's contract is not the newest in its lock file."
)
INCOMPATIBLE = Rule(
    "contract-incompatible", Severity.ERROR, "A contract would break a reader of its event."
)
HISTORY = Rule(
    "history-incompatible",
    Severity.ERROR,
    "Versions in a lock file are not compatible with each other.",
)
REMOVED = Rule("contract-removed", Severity.ERROR, "An event that is locked is no longer declared.")
READER = Rule(
    "reader-breaks", Severity.ERROR, "A handler cannot read what is published as its event."
)
UNREGISTERED = Rule(
    "contract-unregistered", Severity.NOTE, "A locked version is not yet registered."
)
DIVERGED = Rule(
    "registry-diverged", Severity.ERROR, "The registry has another contract under a version."
)
IN_FLIGHT = Rule(
    "in-flight-unreadable", Severity.ERROR, "Events that are under way could not be read."
)
IN_FLIGHT_DOUBTFUL = Rule(
    "in-flight-doubtful",
    Severity.WARNING,
    "Events that are kept could not be read if somebody asked for them, or never could be.",
)
DEPRECATED = Rule(
    "deprecation-due", Severity.WARNING, "An event or a field is past the date of its end."
)
NOT_THIN = Rule(
    "not-thin", Severity.ERROR, "A thin event holds what belongs to its source of truth."
)
UNEXPLAINED = Rule(
    "snapshot-unexplained", Severity.ERROR, "A snapshot does not say why its consumers need a copy."
)
DEPRECATED_USE = Rule("deprecated-use", Severity.NOTE, "A handler reads what is to go away.")

RULES = (
    MISSING,
    CHANGED,
    INCOMPATIBLE,
    HISTORY,
    REMOVED,
    READER,
    UNREGISTERED,
    DIVERGED,
    IN_FLIGHT,
    IN_FLIGHT_DOUBTFUL,
    DEPRECATED,
    NOT_THIN,
    UNEXPLAINED,
    DEPRECATED_USE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check has found.

    Parameters
    ----------
    subject:
        The event's name.
    message:
        One sentence: what is so.
    remedy:
        What to do.
    location:
        The class, or the lock file where there is no class.
    difference:
        What a checker says, for the rules that come from one.
    versions:
        Those that it concerns, in ascending order.
    readers:
        Who would break, as `Reader` is called by people.
    """

    rule: Rule
    subject: str
    message: str
    remedy: str
    location: Location | None = None
    difference: Difference | None = None
    versions: tuple[int, ...] = ()
    readers: tuple[str, ...] = ()


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The worst severity among `findings`."""
    order = list(Severity)
    found = {finding.rule.severity for finding in findings}
    return min(found, key=order.index, default=None)


@dataclass(frozen=True, slots=True)
class Break:
    """The same difference to one or several versions."""

    difference: Difference
    versions: tuple[int, ...]

    def said(self, subject: str) -> str:
        """It as a sentence: who cannot read what, why, and where."""
        one = self.difference
        who = (
            f"{subject} as it is now cannot read {counted(self.versions)}"
            if one.direction == "backward"
            else f"who has {counted(self.versions)} of {subject} cannot read it as it is now"
        )
        return f"{who}: {located(one)}"


def located(one: Difference) -> str:
    """The message of a difference with its kind and path."""
    return f"{one.message} [{one.kind} at {one.path or '/'}]"


def breaks(differences: Sequence[Difference]) -> list[Break]:
    """`differences`, those put together that differ in the version only."""
    found: dict[tuple[str, str, str | None], list[Difference]] = {}
    for one in differences:
        found.setdefault((one.kind, one.path, one.direction), []).append(one)
    return [
        Break(same[-1], tuple(sorted({one.version for one in same if one.version is not None})))
        for same in found.values()
    ]


def counted(versions: Sequence[int]) -> str:
    """``version 3``, ``versions 1 and 2``, ``versions 1 to 4``."""
    if len(versions) <= 1:
        return f"version {versions[0]}" if versions else "another version"
    if len(versions) > 2 and versions[-1] - versions[0] == len(versions) - 1:
        return f"versions {versions[0]} to {versions[-1]}"
    *first, last = (str(version) for version in versions)
    return f"versions {', '.join(first)} and {last}"
