"""Kinds of values that options take, and options that several commands share.

An option that is out of range is refused with the range, before anything starts.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from eventbus.settings import parse_duration
from eventbus.workers.options import POOLS, START_METHODS, THREADS

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # not generic in click 8.1
    _ParamType = click.ParamType

_Function = TypeVar("_Function", bound=Callable[..., Any])

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


class Number(_ParamType):
    """A whole number from `lowest` to `highest`."""

    name = "number"

    def __init__(self, lowest: int, highest: int) -> None:
        self.lowest = lowest
        self.highest = highest

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            number = int(str(value))
        except ValueError:
            number = None
        if number is None or not self.lowest <= number <= self.highest:
            self.fail(
                f"{str(value)!r} cannot be used; give a whole number from {self.lowest} to "
                f"{self.highest}",
                param,
                ctx,
            )
        return number


class Duration(_ParamType):
    """A length of time such as ``500ms``, ``30s`` or ``5m``, from `shortest` to `longest`."""

    name = "duration"

    def __init__(self, shortest: str, longest: str) -> None:
        self.shortest = shortest
        self.longest = longest

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        try:
            duration = parse_duration(value)
        except ValueError:
            duration = timedelta(0)
        if not parse_duration(self.shortest) <= duration <= parse_duration(self.longest):
            self.fail(
                f"{str(value)!r} cannot be used; give a duration from {self.shortest} to "
                f"{self.longest}, such as '500ms', '30s' or '5m'",
                param,
                ctx,
            )
        return duration


class Moment(_ParamType):
    """A time: RFC 3339, in UTC where it names no zone, or how long ago, such as ``2h``.

    The value is epoch milliseconds.
    """

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip()
        if text[-1:].isalpha():
            with contextlib.suppress(ValueError, OverflowError):
                return int((time.time() - parse_duration(text).total_seconds()) * 1000)
        try:
            # Python 3.10 reads no "Z".
            found = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "Zz" else text)
            if found.tzinfo is None:
                found = found.replace(tzinfo=timezone.utc)
            return int(found.timestamp() * 1000)
        except (ValueError, OverflowError):
            self.fail(
                f"{text!r:.100} cannot be used; give a time such as '2026-11-24T09:30:00Z' or "
                f"'2026-11-24', or how long ago it was, such as '90m', '2h' or '7d'",
                param,
                ctx,
            )


class Rate(_ParamType):
    """Messages per second, more than zero: ``500``, ``500/s`` or ``30/m``."""

    name = "rate"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        number, _, unit = str(value).partition("/")
        try:
            rate = float(number) / {"": 1, "s": 1, "m": 60, "h": 3600}[unit.strip()]
        except (ValueError, KeyError):
            rate = 0.0
        if not 0.001 <= rate <= 1_000_000:
            self.fail(
                f"{str(value)!r:.100} cannot be used; give messages per second, more than zero, "
                f"such as '500' or '500/s', or '30/m'",
                param,
                ctx,
            )
        return rate


class Size(_ParamType):
    """An amount of memory such as ``200MB`` or ``1.5GB``, in bytes, from `lowest` to `highest`."""

    name = "size"

    _FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)\s*", re.ASCII | re.IGNORECASE)
    _UNITS: ClassVar[dict[str, int]] = {
        "kb": 10**3,
        "mb": 10**6,
        "gb": 10**9,
        "kib": 2**10,
        "mib": 2**20,
        "gib": 2**30,
    }

    def __init__(self, lowest: str, highest: str) -> None:
        self.lowest = lowest
        self.highest = highest

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        size = self._bytes(str(value))
        if not self._bytes(self.lowest) <= size <= self._bytes(self.highest):
            self.fail(
                f"{str(value)[:100]!r} cannot be used; give a size from {self.lowest} to "
                f"{self.highest}, such as '200MB' or '1.5GB'",
                param,
                ctx,
            )
        return size

    def _bytes(self, text: str) -> int:
        found = self._FORM.fullmatch(text)
        return -1 if found is None else int(float(found[1]) * self._UNITS[found[2].lower()])


class Ratio(_ParamType):
    """A share from 0 to 1: ``0.1`` or ``10%``."""

    name = "ratio"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        text = str(value).strip()
        try:
            ratio = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            self.fail(
                f"{str(value)!r:.100} cannot be used; give a share from 0 to 1, such as '0.1' or "
                f"'10%'",
                param,
                ctx,
            )
        return ratio


class Pool(_ParamType):
    """How a worker runs its handlers."""

    name = "pool"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        name = str(value).lower()
        if name not in POOLS:
            self.fail(f"{str(value)!r} is no pool; use one of {', '.join(POOLS)}", param, ctx)
        return name


class Name(_ParamType):
    """A name that goes into logs and to the servers: short, printable, no white space."""

    name = "name"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        text = str(value)
        if not 0 < len(text) <= 100 or not text.isprintable() or any(c.isspace() for c in text):
            self.fail(
                f"{text[:120]!r} cannot be used; give 1 to 100 characters without white space",
                param,
                ctx,
            )
        return text


def split_list(ctx: click.Context, parameter: click.Parameter, values: Iterable[str]) -> list[str]:
    """An option that may be repeated and may be a comma list: ``-Q billing,ledger -Q mail``."""
    items = [item.strip() for value in values for item in value.split(",")]
    if not all(items):
        raise click.BadParameter("an item of the list is empty", ctx, parameter)
    return list(dict.fromkeys(items))


def given_options(ctx: click.Context, names: Mapping[str, str]) -> list[str]:
    """Which of the parameters `names` were given on the command line, as they are called there."""
    commandline = click.core.ParameterSource.COMMANDLINE
    return [
        called
        for parameter, called in names.items()
        if ctx.get_parameter_source(parameter) is commandline
    ]


def log_level_option(command: _Function) -> _Function:
    """Add ``-l/--log-level``, which goes before the setting ``log_level``."""
    return click.option(
        "-l",
        "--log-level",
        type=click.Choice(LOG_LEVELS, case_sensitive=False),
        help="Default: the setting log_level.",
    )(command)


def worker_options(command: _Function) -> _Function:
    """Add the options of a worker, which ``run`` and ``worker`` share."""
    for option in reversed(
        (
            click.option(
                "-Q",
                "--queues",
                multiple=True,
                metavar="NAMES",
                callback=split_list,
                help="Queues to consume, as a comma list or repeated. Default: all.",
            ),
            click.option(
                "-c",
                "--concurrency",
                type=Number(1, 1000),
                help="Handlers that run at the same time, 1 to 1000: threads, or processes with "
                "prefork. Default: 8, with prefork the number of processors.",
            ),
            click.option(
                "-P",
                "--pool",
                type=Pool(),
                default=THREADS,
                show_default=True,
                metavar="|".join(POOLS),
                help="How handlers run: in processes, on threads, or one at a time.",
            ),
            click.option(
                "--coroutines",
                type=Number(1, 100_000),
                default=64,
                show_default=True,
                help="Coroutine handlers that run at the same time in a process, 1 to 100000.",
            ),
            click.option(
                "--prefetch",
                type=Number(1, 10_000),
                help="Unsettled messages a queue may send ahead, 1 to 10000.",
            ),
            click.option("-n", "--name", type=Name(), help="The process's name on the servers."),
            click.option(
                "--shutdown-timeout",
                type=Duration("100ms", "1h"),
                default="30s",
                show_default=True,
                help="What running handlers get to finish when the process is stopped.",
            ),
            click.option(
                "--soft-time-limit",
                type=Duration("1ms", "30d"),
                help="Raise SoftTimeLimitExceeded in a handler that runs so long.",
            ),
            click.option(
                "--time-limit",
                type=Duration("1ms", "30d"),
                help="End a handler that runs so long, which is a failed attempt. Plain functions "
                "need the pool prefork.",
            ),
            click.option(
                "--max-tasks-per-child",
                type=Number(1, 1_000_000_000),
                help="Replace a process of prefork after so many runs of handlers.",
            ),
            click.option(
                "--max-memory-per-child",
                type=Size("10MB", "1000GB"),
                help="Replace a process of prefork that has so much resident memory, as 200MB.",
            ),
            click.option(
                "--start-method",
                type=click.Choice(START_METHODS, case_sensitive=False),
                default=START_METHODS[0],
                show_default=True,
                help="How the processes of prefork are made.",
            ),
        )
    ):
        command = option(command)
    return command


def dispatcher_options(command: _Function) -> _Function:
    """Add the options of a dispatcher, which ``run`` and ``dispatcher`` share."""
    for option in reversed(
        (
            click.option(
                "--batch-size",
                type=Number(1, 10_000),
                default=500,
                show_default=True,
                help="Rows that are read from the outbox at once, 1 to 10000.",
            ),
            click.option(
                "--poll-interval",
                type=Duration("10ms", "10m"),
                default="1s",
                show_default=True,
                help="How often to look where no notification wakes the dispatcher.",
            ),
        )
    ):
        command = option(command)
    return command


def json_option(command: _Function) -> _Function:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def yes_option(command: _Function) -> _Function:
    """Add ``--yes``."""
    return click.option("-y", "--yes", is_flag=True, help="Do it without asking.")(command)
