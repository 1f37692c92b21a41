"""Prints: errors, tables, JSON, questions. Nothing that came from outside can act on a terminal.

A terminal gets a table with colours, folded into its width; a pipe or a file gets plain columns of
full width. What is printed is text, never markup: an event called ``[red]`` shows as that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

import click

from eventbus.printable import age as age
from eventbus.printable import printable, without_passwords

#: One key of 255 characters must not push the columns of all other rows out of the terminal.
_WIDEST_IN_RECORD = 40


def escape(value: object) -> str:
    """`value` as one line of text that only shows, with the passwords of URLs masked.

    `None` shows as ``-``.
    """
    return "-" if value is None else printable(without_passwords(str(value)))


def safe_lines(text: str) -> str:
    """`text` with each of its lines escaped, for texts of our own that have several."""
    return "\n".join(escape(line) for line in text.splitlines())


def print_error(text: str) -> None:
    """Print why a command failed."""
    click.echo(f"error: {safe_lines(text)}", err=True)


def print_note(text: str) -> None:
    """Print what accompanies a result, where it does not get into a pipe."""
    click.echo(safe_lines(text), err=True)


def print_line(text: str) -> None:
    """Print one line of a result."""
    click.echo(escape(text))


def print_styled(text: str, style: str, indent: int = 0) -> None:
    """Print one line of a result, in a terminal with the `style`, as rich has them.

    Parameters
    ----------
    indent:
        Columns before it, also of the lines into which a narrow terminal folds it, and two more.
    """
    if not sys.stdout.isatty():
        print_line(" " * indent + text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, emoji=False, markup=False)
    first, *others = Text(escape(text)).wrap(console, max(console.width - indent - 2, 10))
    for number, line in enumerate([first, *others]):
        line.rstrip()
        console.print(Text(" " * (indent + (2 if number else 0)) + line.plain, style=style))


def print_json(value: Any) -> None:
    """Print `value` as JSON, in ASCII: what is not shows as ``\\u....``, to a terminal as well."""
    click.echo(json.dumps(value, indent=2, default=str))


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    fold:
        Where a terminal is too narrow, this column is broken into several lines.
    style:
        Of the whole column, as rich has them; a terminal's only.
    """

    title: str
    align: Literal["left", "right"] = "left"
    fold: bool = False
    style: str = ""


def print_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    styles: Sequence[str] = (),
    empty: str = "nothing to show",
) -> None:
    """Print `rows` under `columns`.

    Parameters
    ----------
    styles:
        One for each row, a terminal's only.
    empty:
        Printed, beside the result, where there is no row.
    """
    if not rows:
        print_note(empty)
        return
    cells = [[escape(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells, styles)
    else:
        _print_plain(columns, cells)


def print_records(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    note: str,
    notes: Sequence[str | None],
    empty: str = "nothing to show",
) -> None:
    """Print `rows`, each with a long text: below it in a terminal, else as last column `note`."""
    if not sys.stdout.isatty():
        full = [(*row, text) for row, text in zip(rows, notes, strict=True)]
        print_table([*columns, Column(note)], full, empty=empty)
        return
    if not rows:
        print_note(empty)
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False, emoji=False, markup=False)
    cells = [[escape(value) for value in row] for row in rows]
    head, *lines = _aligned(
        [[column.title for column in columns], *cells], columns, _WIDEST_IN_RECORD
    )
    layout = _lines_of_columns([_width(cell) for cell in head], console.width)
    _print_record(console, head, columns, layout, style="bold")
    for line, text in zip(lines, notes, strict=True):
        _print_record(console, line, columns, layout)
        if text is not None:
            console.print(Padding(Text(escape(text), style="yellow"), (0, 0, 0, 4)))


def _lines_of_columns(widths: Sequence[int], room: int) -> list[list[int]]:
    """Which columns to print on which line: as many as fit, later lines indented by two."""
    lines: list[list[int]] = [[]]
    used = 0
    for number, width in enumerate(widths):
        if lines[-1] and used + width > room:
            lines.append([])
            used = 2
        lines[-1].append(number)
        used += width + 2
    return lines


def _print_record(
    console: Any,
    cells: Sequence[str],
    columns: Sequence[Column],
    layout: Sequence[Sequence[int]],
    style: str = "",
) -> None:
    from rich.text import Text

    for indent, numbers in enumerate(layout):
        line = Text("  " if indent else "", style=style)
        for position, number in enumerate(numbers):
            line.append("  " if position else "")
            line.append(cells[number], style=columns[number].style or None)
        line.rstrip()
        console.print(line)


def _aligned(
    lines: Sequence[Sequence[str]], columns: Sequence[Column], widest: int | None = None
) -> list[list[str]]:
    """The cells of `lines`, padded so that columns stand below each other, up to `widest`."""
    widths = [max(_width(line[number]) for line in lines) for number in range(len(columns))]
    if widest is not None:
        widths = [min(width, widest) for width in widths]
    return [
        [
            _pad(cell, width, column.align)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        for line in lines
    ]


def _print_rich(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], styles: Sequence[str]
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify=column.align,
            no_wrap=not column.fold,
            overflow="fold",
            style=column.style,
        )
    for number, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in row), style=styles[number] if styles else None)
    Console(highlight=False, emoji=False, markup=False).print(table)


def _print_plain(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    for line in _aligned([[column.title.upper() for column in columns], *rows], columns):
        click.echo("  ".join(line).rstrip())


def _pad(text: str, width: int, align: str) -> str:
    space = " " * (width - _width(text))
    return space + text if align == "right" else text + space


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one pair a line, the values below each other."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {escape(value)}")


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone.

    Raises
    ------
    click.UsageError
        There is no terminal to ask on, and `yes` is not given: exit code 2, nothing done.
    click.Abort
        The answer was no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{escape(question)} There is no terminal to ask; give --yes")
    click.confirm(escape(question), abort=True, err=True)


def moment(milliseconds: int | None) -> str | None:
    """Epoch milliseconds as RFC 3339 in UTC; None for none, and for what no calendar holds."""
    if milliseconds is None:
        return None
    try:
        time = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"
