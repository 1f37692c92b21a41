"""How long a string may be that a pattern lets through."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.thin.texts import width_of


@pytest.mark.parametrize(
    ("pattern", "characters"),
    [
        (r"[A-Z]{3}\Z", 3),
        (r"^[A-Z]{3}$", 5),
        (r"INV-[0-9]{4,8}\Z", 12),
        (r"[a-z][a-z0-9_.-]{0,63}\Z", 64),
        (r"[A-Za-z0-9_.:/+=~-]{1,128}\Z", 128),
        (r"a?b\.c\Z", 4),
        (r"[0-9]+\Z", None),
        (r"[0-9]{3,}\Z", None),
        (r"\Z", 0),
    ],
)
def test_a_plain_pattern_has_a_width(pattern: str, characters: int | None) -> None:
    width = width_of(pattern, re.compile(pattern).flags)
    assert width is not None
    assert width.characters == characters


@pytest.mark.parametrize(
    "pattern",
    [
        r"[A-Z]{3}",  # anything may follow
        r".{3}\Z",
        r"\d{3}\Z",  # digits of every script
        r"\w{3}\Z",
        r"[^a]{3}\Z",
        r"[A-z]{3}\Z",  # holds a backslash, which JSON escapes
        r"[ -~]{3}\Z",
        r"[+-z]{3}\Z",
        r"(a|b)\Z",
        r"a|b\Z",
        r"(?i)[a-z]\Z",
        "[a-z]\\Z\n",
    ],
)
def test_a_clever_pattern_is_not_judged(pattern: str) -> None:
    assert width_of(pattern, re.compile(pattern).flags) is None


def test_flags_that_change_what_a_class_holds_or_where_the_end_is_are_not_judged() -> None:
    for flag in (re.IGNORECASE, re.MULTILINE, re.VERBOSE):
        assert width_of(r"[a-k]{3}$", flag) is None


_pieces = st.sampled_from(
    ["a", "Z", "_", r"\.", "[0-9]", "[a-z]", "[A-Z0-9-]", "[_.:/+=~-]", "[a-f0-9]", r"\-"]
)
_quantifiers = st.sampled_from(["", "?", "{2}", "{0,3}", "{1,4}"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_text_that_a_plain_pattern_lets_through_is_wider(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.tuples(_pieces, _quantifiers), max_size=5))
    pattern = "".join(piece + quantifier for piece, quantifier in parts)
    pattern += data.draw(st.sampled_from([r"\Z", "$"]))
    width = width_of(pattern, re.compile(pattern).flags)
    assert width is not None
    assert width.characters is not None
    text = data.draw(st.from_regex(re.compile(r"\A(?:" + pattern + ")"), fullmatch=True))
    assert re.match(pattern, text)
    assert len(json.dumps(text, ensure_ascii=False).encode()) <= 2 + width.characters
