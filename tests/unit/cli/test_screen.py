"""The picture of `top`: it fits any terminal, and says first what matters."""

from __future__ import annotations

import time
from typing import Any

import pytest

from eventbus.cli import screen
from eventbus.cli.screen import Frame, History, chart, draw, share
from eventbus.outbox.store import OutboxDepth
from eventbus.workers.monitoring.problems import find_problems
from eventbus.workers.monitoring.processes import ProcessRow
from eventbus.workers.monitoring.rates import QueueRates, Rates
from eventbus.workers.monitoring.report import DISPATCHER, WORKER, Report
from eventbus.workers.monitoring.snapshot import QueueState, Snapshot

EVIL = "evil\x1b[2J\u202e\nname"


def queue(name: str, **values: Any) -> QueueState:
    known = {"ready": 1, "consumers": 1, "retrying": 0, "dead_letters": 0, "overflow": 0}
    rates = QueueRates(handled=12.5, runs=12.5, busy=0.5)
    return QueueState(name, **{**known, "exists": True, "declared": True, "rates": rates, **values})


def process(kind: str = WORKER, name: str = "shop.worker", **values: Any) -> ProcessRow:
    report = Report(kind, "shop", name, state="running", ready=True, host="shop-3", pid=77)
    report.started_at = time.time() - 300
    return ProcessRow("id", report, Rates(3.0), 0, values.get("seen_ms", 100), False)


def frame(snapshot: Snapshot, **values: Any) -> Frame:
    history = History()
    history.add(snapshot)
    return Frame(snapshot, find_problems(snapshot), history, **values)


def snapshot(queues: int = 2, processes: int = 2, **values: Any) -> Snapshot:
    defaults: dict[str, Any] = {
        "outbox": OutboxDepth(3, 0, 0, 0, 1_200, 0),
        "processes": (
            *(process(name=f"shop.worker-{n}") for n in range(processes)),
            process(DISPATCHER, "shop.dispatcher"),
        ),
        "queues": tuple(queue(f"shop.queue-{n}") for n in range(queues)),
    }
    return Snapshot("shop", time.time(), **{**defaults, **values})


def text_of(lines: list[Any]) -> str:
    return "\n".join(line.plain for line in lines)


@pytest.mark.parametrize("size", [(80, 24), (160, 40), (40, 12), (300, 100), (20, 5), (1, 1)])
@pytest.mark.parametrize("many", [0, 1, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_it_fits_any_terminal(size: tuple[int, int], many: int, unicode: bool) -> None:
    width, height = size
    shown = snapshot(
        many,
        many,
        away={"broker": "refused " * 50},
        outbox=OutboxDepth(123_456_789, 5, 5, 5, 10**10, 5),
    )
    lines = draw(frame(shown, unicode=unicode), width, height)
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width
    if not unicode:
        assert text_of(lines).isascii()


def test_eighty_columns_hold_what_matters() -> None:
    text = text_of(draw(frame(snapshot()), 80, 24))
    for word in ("all is well", "pending 3", "shop.queue-0", "consumed", "12.5", "shop.worker-1"):
        assert word in text
    for heading in ("QUEUE", "STATE", "READY", "HANDLED/S", "DEAD", "KIND", "NAME"):
        assert heading in text


def test_a_wide_terminal_shows_every_column() -> None:
    text = text_of(draw(frame(snapshot()), 160, 40))
    for heading in ("CONSUMERS", "MEAN RUN", "OVERFLOW", "HOST", "PID", "POOL", "WAITING", "SEEN"):
        assert heading in text
    assert "40 ms" in text


def test_long_lists_are_cut_and_say_so() -> None:
    text = text_of(draw(frame(snapshot(50, 30)), 80, 24))
    assert "more" in text
    assert "shop.queue-0" in text
    assert "DISPATCHER" not in text  # of the processes, too, there is only a part


def test_a_queue_with_trouble_comes_first() -> None:
    queues = (*(queue(f"shop.a{n}") for n in range(50)), queue("shop.z", consumers=0))
    lines = [line.plain for line in draw(frame(snapshot(queues=0, processes=0)), 80, 24)]
    assert "no queue is known" in "\n".join(lines)
    shown = text_of(draw(frame(Snapshot("shop", time.time(), queues=queues)), 80, 24))
    assert shown.index("shop.z") < shown.index("shop.a0")


def test_problems_are_told_at_the_top() -> None:
    lines = draw(frame(snapshot(queues=0)), 80, 24)
    assert "all is well" in lines[0].plain
    troubled = Snapshot("shop", time.time(), queues=(queue("shop.z", dead_letters=4),))
    lines = draw(frame(troubled), 80, 24)
    assert "1 problem" in lines[0].plain
    assert "4 messages in shop.z.dlq" in lines[1].plain


def test_a_picture_that_is_old_says_so() -> None:
    assert "as of 9 s ago" in draw(frame(snapshot(), age_seconds=9.0), 80, 24)[0].plain
    assert "as of" not in draw(frame(snapshot(), age_seconds=1.0), 80, 24)[0].plain


def test_names_from_outside_only_show() -> None:
    report = Report(WORKER, "shop", EVIL, state="running", trouble=EVIL, host=EVIL)
    shown = Snapshot(
        EVIL,
        time.time(),
        processes=(ProcessRow("id", report, Rates(), 0, 0, False),),
        queues=(queue(EVIL, dead_letters=1),),
        away={"broker": EVIL},
    )
    text = text_of(draw(frame(shown), 160, 40))
    assert text.replace("\n", "").isprintable()
    assert "evil\\x1b[2J\\u202e\\nname" in text


def test_a_name_that_is_too_long_is_shortened_before_the_numbers_are() -> None:
    long = Snapshot("shop", time.time(), queues=(queue("shop." + "x" * 200, ready=77),))
    line = next(line for line in draw(frame(long), 80, 24) if "shop.xxx" in line.plain)
    assert "xx.." in line.plain
    assert "77" in line.plain


@pytest.mark.parametrize(
    ("room", "first", "second", "expected"),
    [
        (10, 2, 2, (2, 2)),
        (10, 20, 2, (8, 2)),
        (10, 2, 20, (2, 8)),
        (10, 20, 20, (5, 5)),
        (2, 20, 20, (1, 1)),
        (10, 0, 0, (1, 1)),
    ],
)
def test_two_lists_share_the_room(
    room: int, first: int, second: int, expected: tuple[int, int]
) -> None:
    assert share(room, first, second) == expected


@pytest.mark.parametrize(
    ("values", "width", "high", "drawn"),
    [
        ([], 3, 1, ["   "]),
        ([0, 0], 3, 1, [" ▁▁"]),
        ([0, 1, 100], 3, 1, ["▁▁█"]),
        ([9, 1, 2, 4], 2, 1, ["▂▄"]),
        ([0, 1, 4, 8], 4, 2, ["   █", "▁▂██"]),
        ([1], 0, 1, [""]),
    ],
)
def test_a_course_as_bars(values: list[float], width: int, high: int, drawn: list[str]) -> None:
    assert chart(values, width, high) == drawn


def test_a_high_terminal_has_high_courses() -> None:
    low, high = (text_of(draw(frame(snapshot()), 100, height)) for height in (24, 60))
    assert low.count("█") < high.count("█")


def test_what_cannot_be_read_leaves_no_mark_in_the_history() -> None:
    history = History()
    history.add(Snapshot("shop", 0.0, away={"database": "", "broker": ""}))
    assert not any((history.published, history.handled, history.failed, history.waiting))
    history.add(snapshot())
    assert list(history.waiting) == [5]
    assert history.waiting.maxlen == screen.HISTORY
