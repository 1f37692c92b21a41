"""Results as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .cases.case import Case, Size
from .measuring import Contestant, Goal, Samples, Spread

PACKAGES = ("eventbus", "pika", "celery", "kombu", "faststream", "aio-pika", "redis", "sqlalchemy")


@dataclass(frozen=True)
class Result:
    """What one case found."""

    case: Case
    contestants: list[Contestant]
    samples: Samples

    @property
    def goals(self) -> list[Goal]:
        """The goals, with what was reached."""
        return self.case.goals(self.samples)


def show(console: Console, result: Result) -> None:
    """Print the tables of one case."""
    case = result.case
    console.print()
    console.print(_measured(result))
    console.print(_reached(result.goals))
    console.print(case.notes, style="dim", width=min(console.width, 100))


def _measured(result: Result) -> Table:
    table = Table(title=result.case.title, title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("median", justify="right")
    table.add_column("range", justify="right")
    table.add_column("measure")
    table.add_column("note", style="dim")
    for contestant in result.contestants:
        name, note = contestant.name, contestant.note
        for measure in result.samples.measures(contestant.name):
            spread = result.samples.of(contestant.name, measure)
            table.add_row(name, _number(spread.median), _range(spread), measure, note)
            name = note = ""
    return table


def _reached(goals: list[Goal]) -> Table:
    table = Table()
    table.add_column("goal")
    table.add_column("aimed at", justify="right")
    table.add_column("median", justify="right")
    table.add_column("range", justify="right")
    table.add_column("")
    for goal in goals:
        sign = "<" if goal.below else "≥"
        table.add_row(
            goal.text,
            f"{sign} {goal.limit:g} {goal.unit}",
            f"{_number(goal.reached.median)} {goal.unit}",
            _range(goal.reached),
            "[green]met[/]" if goal.met else "[red]missed[/]",
        )
    return table


def _range(spread: Spread) -> str:
    return f"{_number(spread.low)} – {_number(spread.high)}"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(path: Path, results: list[Result], size: Size, machine: dict[str, Any]) -> None:
    """Write everything, the single rounds included, as JSON."""
    document = {
        "machine": machine,
        "rounds": size.rounds,
        "cases": {result.case.name: _as_json(result) for result in results},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "title": result.case.title,
        "notes": result.case.notes,
        "contestants": {
            one.name: {
                "note": one.note,
                "measures": {
                    measure: _spread_as_json(result.samples.of(one.name, measure))
                    for measure in result.samples.measures(one.name)
                },
            }
            for one in result.contestants
        },
        "goals": [
            {
                "goal": goal.text,
                "unit": goal.unit,
                "below" if goal.below else "at least": goal.limit,
                "met": goal.met,
                **_spread_as_json(goal.reached),
            }
            for goal in result.goals
        ],
    }


def _spread_as_json(spread: Spread) -> dict[str, Any]:
    return {
        "median": round(spread.median, 3),
        "low": round(spread.low, 3),
        "high": round(spread.high, 3),
        "rounds": [round(value, 3) for value in spread.values],
    }


def describe_machine() -> dict[str, Any]:
    """What the figures depend on; the load says whether others were busy."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
