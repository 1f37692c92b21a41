"""The command line: ``python -m benchmarks [CASES] [OPTIONS]``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from tests.services import ServerError
from tests.waiting import WaitTimeout

from . import report
from .cases import CASES
from .cases.case import SHORT, Case, Size
from .errors import BenchmarkFailed
from .measuring import alternate
from .servers import Servers

RESULT = Path(__file__).parent / "results" / "latest.json"


@click.command()
@click.argument("cases", nargs=-1, type=click.Choice(list(CASES)), metavar="[CASE]...")
@click.option("--short", is_flag=True, help="Few messages and rounds, about two minutes, for CI.")
@click.option("--rounds", type=click.IntRange(1, 100), help="Runs of each contestant.")
@click.option(
    "--messages", type=click.IntRange(1_000, 1_000_000), help="Messages a run, relay and worker."
)
@click.option("--seconds", type=click.IntRange(1, 600), help="How long the latency is measured.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULT,
    help="Where the JSON goes.  [default: benchmarks/results/latest.json]",
)
def main(
    cases: tuple[str, ...],
    short: bool,
    rounds: int | None,
    messages: int | None,
    seconds: int | None,
    output: Path,
) -> None:
    """Measure CASES (all by default) beside others; a wrong name lists them.

    Ends with 1 when a message was lost or doubled or a contestant failed; a goal that is missed is
    reported, and no failure.
    """
    size = _size(SHORT if short else Size(), rounds, messages, seconds)
    console = Console()
    machine = report.describe_machine()
    try:
        results = _measure([CASES[name] for name in cases or CASES], size, console)
    except (BenchmarkFailed, ServerError, WaitTimeout) as error:
        Console(stderr=True).print(f"[red]failed:[/] {error}", highlight=False)
        sys.exit(1)
    report.write(output, results, size, machine)
    console.print(f"\nwritten to {output}", highlight=False)


def _size(size: Size, rounds: int | None, messages: int | None, seconds: int | None) -> Size:
    if messages is not None:
        size = replace(size, relay=messages, relay_single=max(messages // 10, 100), worker=messages)
    return replace(
        size,
        rounds=rounds or size.rounds,
        latency_seconds=seconds or size.latency_seconds,
    )


def _measure(cases: list[Case], size: Size, console: Console) -> list[report.Result]:
    results = []
    with console.status("starting RabbitMQ, PostgreSQL and Redis") as status, Servers() as servers:
        for case in cases:
            contestants = case.contestants(servers, size)

            def began(number: int, name: str, case: Case = case) -> None:
                status.update(f"{case.name}, round {number} of {size.rounds}: {name}")

            samples = alternate(contestants, size.rounds, began)
            results.append(report.Result(case, contestants, samples))
            report.show(console, results[-1])
    return results


main()
