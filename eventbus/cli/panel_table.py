"""Prints a panel in a terminal's width: the columns that are least missed go, then names are cut.

A number is never cut: half of it would be another number.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from eventbus.cli.panels import DIM, Cell, Panel
from eventbus.cli.terminal import escape, print_note, print_table

#: Characters that a name keeps when there is no room for it.
_SHORTEST_NAME = 12
_GAP = 2


def print_panel(panel: Panel, *, empty: str) -> None:
    """Print `panel` in colours and in the terminal's width; to a pipe or a file, plain and whole.

    Parameters
    ----------
    empty:
        Printed, beside the result, where there is no row.
    """
    if not panel.rows or not sys.stdout.isatty():
        print_table(panel.columns, panel.texts, empty=empty)
        return
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    for line in table_lines(panel, empty, console.width):
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    left_out = len(panel.columns) - len(fit(panel, _escaped(panel), console.width))
    if left_out:
        columns = "column is" if left_out == 1 else "columns are"
        print_note(f"{left_out} {columns} left out; a wider terminal and --json show them")


def table_lines(panel: Panel, empty: str, width: int, most: int | None = None) -> Iterator[Text]:
    """A heading and at most `most` lines."""
    rows = _escaped(panel)
    columns = fit(panel, rows, width)
    yield _row([Cell(panel.columns[n].title.upper(), DIM) for n, _ in columns], panel, columns)
    if not rows:
        yield Text(f" {empty}", style=DIM)
        return
    shown = rows if most is None or len(rows) <= most else rows[: max(most - 1, 0)]
    for row in shown:
        yield _row([row[number] for number, _ in columns], panel, columns)
    if len(shown) < len(rows):
        yield Text(f" {len(rows) - len(shown)} more", style=DIM)


def fit(panel: Panel, rows: Sequence[Sequence[Cell]], width: int) -> list[tuple[int, int]]:
    """The columns to show, each with its width: the least missed go first, then names are cut."""
    widths = [
        max([len(column.title), *(cell_len(row[number].text) for row in rows)])
        for number, column in enumerate(panel.columns)
    ]
    name = next(number for number, column in enumerate(panel.columns) if column.fold)
    chosen = list(range(len(panel.columns)))
    while _needed(chosen, widths) > width:
        spare = _needed(chosen, widths) - width
        if widths[name] - spare >= min(_SHORTEST_NAME * 2, widths[name]):
            widths[name] -= spare
            break
        droppable = [number for number in chosen if panel.least[number]]
        if not droppable:
            widths[name] = max(widths[name] - spare, _SHORTEST_NAME)
            break
        chosen.remove(max(droppable, key=lambda number: (panel.least[number], number)))
    return [(number, widths[number]) for number in chosen]


def _needed(chosen: Sequence[int], widths: Sequence[int]) -> int:
    return 1 + sum(widths[number] for number in chosen) + _GAP * (len(chosen) - 1)


def _row(cells: Sequence[Cell], panel: Panel, columns: Sequence[tuple[int, int]]) -> Text:
    line = Text(" ")
    for position, (cell, (number, width)) in enumerate(zip(cells, columns, strict=True)):
        if position:
            line.append(" " * _GAP)
        text = cell.text if cell_len(cell.text) <= width else _shortened(cell.text, width)
        space = " " * (width - cell_len(text))
        right = panel.columns[number].align == "right"
        line.append(space + text if right else text + space, style=cell.style)
    return line


def _shortened(text: str, width: int) -> str:
    return set_cell_size(text, max(width - 2, 0)) + ".."


def _escaped(panel: Panel) -> list[list[Cell]]:
    return [[Cell(escape(cell.text), cell.style) for cell in row] for row in panel.rows]
