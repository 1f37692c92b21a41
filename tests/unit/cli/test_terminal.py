"""What is printed: text only, whole in a pipe, and a question only where somebody can answer."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import click
import pytest

from eventbus.cli import terminal
from eventbus.cli.terminal import Column

EVIL = "[red]\x1b[31m\u202e\n"
SHOWN = "[red]\\x1b[31m\\u202e\\n"
COLUMNS = (Column("event", style="bold"), Column("count", align="right"), Column("why", fold=True))


def test_a_table_in_a_pipe_is_whole_aligned_and_without_colour(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.print_table(COLUMNS, [("order.paid", 5, "x" * 200), ("注文", 1000, None)])
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "EVENT       COUNT  WHY",
        f"order.paid      5  {'x' * 200}",
        "注文         1000  -",
    ]


def test_records_in_a_pipe_have_their_note_as_last_column(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.print_records(
        COLUMNS[:2], [("a", 1), ("b", 2)], note="reason", notes=["because", None]
    )
    assert capsys.readouterr().out.splitlines() == [
        "EVENT  COUNT  REASON",
        "a          1  because",
        "b          2  -",
    ]


def test_an_empty_table_says_so_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_table(COLUMNS, [], empty="nothing is parked")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "nothing is parked\n")


@pytest.mark.parametrize("kind", ["table", "records", "line", "pairs", "error", "note"])
def test_text_from_outside_is_escaped_wherever_it_is_printed(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    if kind == "table":
        terminal.print_table(COLUMNS, [(EVIL, EVIL, EVIL)])
    elif kind == "records":
        terminal.print_records(COLUMNS, [(EVIL, EVIL, EVIL)], note="n", notes=[EVIL])
    elif kind == "line":
        terminal.print_line(EVIL)
    elif kind == "pairs":
        terminal.print_pairs([("name", EVIL)])
    elif kind == "error":
        terminal.print_error(EVIL)
    else:
        terminal.print_note(EVIL)
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    # Texts of our own may have several lines, so a line feed there only ends one.
    assert (SHOWN if kind not in ("error", "note") else SHOWN.removesuffix("\\n")) in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_json_is_ascii_and_holds_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"key": EVIL})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert json.loads(out) == {"key": EVIL}


def _in_a_terminal(code: str, columns: int = 80) -> str:
    """What `code` prints to a terminal of that width."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=child, stdout=child, stderr=child, env=environment
    ):
        os.close(child)
        output = b""
        while True:
            try:
                chunk = os.read(parent, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            output += chunk
    os.close(parent)
    return output.decode().replace("\r\n", "\n")


TABLE = f"""
from eventbus.cli.terminal import Column, print_table, print_records
columns = (Column("event", style="bold"), Column("why", fold=True))
rows = [({EVIL!r}, "word " * 40)]
"""


def test_a_table_in_a_terminal_folds_into_its_width_and_nothing_is_cut() -> None:
    output = _in_a_terminal(TABLE + "print_table(columns, rows, styles=['green'])")
    plain = click.unstyle(output)
    assert max(len(line) for line in plain.splitlines()) <= 80
    assert plain.count("word") == 40
    assert SHOWN in plain
    assert "\x1b[1m" in output  # in a terminal it has colours
    assert "\x1b[31m" not in output  # not those of the text


def test_records_in_a_terminal_stand_below_each_other_when_it_is_narrow() -> None:
    output = _in_a_terminal(
        TABLE + "print_records(columns * 3, [rows[0] * 3], note='n', notes=['[b]the note'])", 60
    )
    plain = click.unstyle(output)
    assert plain.count("word") == 120
    assert "    [b]the note" in [line.rstrip() for line in plain.splitlines()]
    assert "\x1b[31m" not in output


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, None),
        (0, "0 ms"),
        (999, "999 ms"),
        (119_999, "119 s"),
        (120_000, "2 min"),
        (7_200_000, "2 h"),
        (172_800_000, "2 d"),
    ],
)
def test_an_age_is_told_in_one_unit(milliseconds: int | None, text: str | None) -> None:
    assert terminal.age(milliseconds) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
        (10**30, None),
        (-(10**30), None),
    ],
)
def test_a_moment_is_rfc_3339_and_an_absurd_one_is_none(
    milliseconds: int | None, text: str | None
) -> None:
    assert terminal.moment(milliseconds) == text


def test_without_a_terminal_a_question_is_refused_and_yes_is_named() -> None:
    with pytest.raises(click.UsageError, match="--yes"):
        terminal.confirm("Delete everything?", yes=False)


def test_yes_asks_nothing() -> None:
    terminal.confirm("Delete everything?", yes=True)


@pytest.mark.parametrize(("answer", "done"), [("y", True), ("n", False), ("", False)])
def test_in_a_terminal_only_a_yes_goes_on(answer: str, done: bool) -> None:
    code = "from eventbus.cli.terminal import confirm; confirm('Sure?', False); print('DONE')"
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=child, stdout=subprocess.PIPE, stderr=child
    ) as process:
        os.write(parent, f"{answer}\n".encode())
        output, _ = process.communicate(timeout=30)
    os.close(child)
    os.close(parent)
    assert (b"DONE" in output) is done
