"""Tracebacks: as Python writes them, bounded, whatever the error is."""

from __future__ import annotations

import builtins
import sys
import traceback

import pytest

from eventbus.workers.tracebacks import CHAIN, FRAMES, formatted


def fail() -> None:
    raise ValueError("no\nsecond line")


def fail_because() -> None:
    try:
        fail()
    except ValueError as error:
        raise KeyError("because") from error


def fail_while() -> None:
    try:
        fail()
    except ValueError:
        raise KeyError("while")  # noqa: B904


def fail_hiding() -> None:
    try:
        fail()
    except ValueError:
        raise KeyError("alone") from None


def fail_in_code_without_source() -> None:
    exec(compile("1 / 0", "<nowhere>", "exec"))


@pytest.mark.parametrize(
    "function",
    [fail, fail_because, fail_while, fail_hiding, fail_in_code_without_source],
)
def test_it_reads_like_pythons_own(function: object) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function()  # type: ignore[operator]
    expected = "".join(traceback.format_exception(caught.value))
    # Python also underlines the part of a line that failed.
    marked = [line for line in expected.splitlines() if set(line) - set(" ~^")]
    assert formatted(caught.value).splitlines() == [line for line in marked if line] or (
        formatted(caught.value).split() == " ".join(marked).split()
    )


def test_of_a_deep_one_only_the_innermost_frames_are_kept() -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            fail()
        deep(levels - 1)

    with pytest.raises(ValueError, match="no") as caught:
        deep(100)
    text = formatted(caught.value)
    assert text.count("  File ") == FRAMES
    assert "in fail\n" in text


def test_a_long_chain_and_one_that_bites_its_tail_end() -> None:
    error = ValueError(0)
    first = error
    for number in range(1, 50):
        error.__cause__ = ValueError(number)
        error = error.__cause__
    assert formatted(first).count("ValueError") == CHAIN
    error.__cause__ = first
    assert formatted(error).count("ValueError") == CHAIN
    alone = ValueError("tail")
    alone.__context__ = alone
    assert formatted(alone) == "ValueError: tail\n"


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_without_a_text_or_without_frames_is_told_all_the_same() -> None:
    assert "_Unprintable" in formatted(_Unprintable())
    assert formatted(SystemExit(3)) == "SystemExit: 3\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups")
def test_a_group_shows_its_errors() -> None:
    group = builtins.ExceptionGroup("both", [ValueError("one"), KeyError("other")])
    text = formatted(group)
    assert "ValueError: one" in text
    assert "KeyError: 'other'" in text
