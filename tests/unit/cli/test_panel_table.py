"""A table in any width: columns go, names are shortened, numbers stay whole."""

from __future__ import annotations

import pytest

from eventbus.cli.panel_table import table_lines
from eventbus.cli.panels import Cell, queue_panel
from eventbus.workers.monitoring.snapshot import QueueState

QUEUE = QueueState(
    "shop.billing-of-the-northern-branch",
    ready=1_234_567,
    consumers=3,
    retrying=22,
    dead_letters=98_765,
    overflow=0,
    exists=True,
)


def lines(width: int, most: int | None = None, queues: int = 1) -> list[str]:
    panel = queue_panel([QUEUE] * queues)
    return [line.plain for line in table_lines(panel, "none", width, most)]


@pytest.mark.parametrize("width", [200, 110, 90, 80, 70, 60, 50])
def test_the_numbers_that_matter_stay_whole(width: int) -> None:
    heading, row = lines(width)
    assert max(len(heading), len(row)) <= width
    assert "1234567" in row
    assert "98765" in row
    assert "shop.bill" in row


def test_what_is_least_missed_goes_first() -> None:
    assert "MEAN RUN" in lines(140)[0]
    assert "MEAN RUN" not in lines(100)[0]
    assert "OVERFLOW" in lines(100)[0]
    assert "OVERFLOW" not in lines(70)[0]


def test_a_long_list_is_cut_only_where_there_is_a_limit() -> None:
    assert len(lines(200, queues=30)) == 31
    cut = lines(200, most=5, queues=30)
    assert len(cut) == 6
    assert cut[-1] == " 26 more"


def test_nothing_says_so() -> None:
    assert [line.plain for line in table_lines(queue_panel([]), "no queue", 80)][-1] == " no queue"


def test_a_cell_shows_as_text() -> None:
    panel = queue_panel([QueueState("evil\x1b[2J\u202e")])
    assert Cell("evil\x1b[2J\u202e", "bold") == panel.rows[0][0]
    (row,) = [line.plain for line in table_lines(panel, "", 120)][1:]
    assert row.isprintable()
