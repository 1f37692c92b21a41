"""Patterns: the same in Python and in a contract, or refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import validate

from eventbus.errors import DeclarationError
from eventbus.regular_expressions import as_json_schema, ending_at_the_end


def regex_of(validator: validate.Regexp) -> re.Pattern[Any]:
    """For the type checker, which holds a pattern of bytes for possible."""
    return validator.regex


@pytest.mark.parametrize(
    ("pattern", "flags", "expected"),
    [
        (r"[A-Z]{3}", 0, r"^[A-Z]{3}"),
        (r"^[A-Z]{3}$", 0, r"^[A-Z]{3}$"),
        (r"\A[A-Z]{3}\Z", 0, r"^[A-Z]{3}$"),
        (r"a|b$", 0, r"^(?:a|b$)"),
        (r"(a|b)+", 0, r"^(?:(a|b)+)"),
        (r"\d{2,}-\w\s\D", re.ASCII, r"^[0-9]{2,}-[A-Za-z0-9_][ \t\n\r\f\v][^0-9]"),
        (r"[\d.-]+", re.ASCII, r"^[0-9.-]+"),
        (r"a.c", 0, r"^a[^\n]c"),
        (r"a{,3}", 0, r"^a{0,3}"),
        (r"a{x}", 0, r"^a\{x\}"),
        (r"a{}", 0, r"^a\{\}"),
        (r"[]a]", 0, r"^[\]a]"),
        (r"[^]a[]", 0, r"^[^\]a\[]"),
        (r"[\]a\-z]", 0, r"^[\]a\-z]"),
        (r"\@\ \#\-", 0, r"^@ #-"),
        (r"\x41é", 0, r"^\x41é"),
        (r"(?:ab)?(?=c)(?!d)", 0, r"^(?:ab)?(?=c)(?!d)"),
    ],
)
def test_a_pattern_has_the_same_meaning_in_a_contract(
    pattern: str, flags: int, expected: str
) -> None:
    assert as_json_schema(re.compile(pattern, flags), "x") == expected


@pytest.mark.parametrize(
    ("pattern", "flags", "remedy"),
    [
        (r"\d", 0, r"\[0-9\]"),
        (r"[\w-]", 0, r"A-Za-z0-9_"),
        (r"\s", 0, "re.ASCII"),
        (r"\b", 0, "characters themselves"),
        (r"[\D]", re.ASCII, "0-9"),
        (r"a", re.IGNORECASE, "A-Za-z"),
        (r"a b", re.VERBOSE, "flags"),
        (r"^a$", re.MULTILINE, "flags"),
        (r"(?i:a)", 0, "groups"),
        (r"(?P<x>a)", 0, "groups"),
        (r"(?<=a)b", 0, "groups"),
        (r"(a)\1", 0, "means something else"),
        (r"\N{BULLET}", 0, "means something else"),
        (rb"a", 0, "bytes"),
    ],
)
def test_what_means_something_else_elsewhere_is_refused_with_the_remedy(
    pattern: str | bytes, flags: int, remedy: str
) -> None:
    with pytest.raises(DeclarationError, match=remedy) as caught:
        as_json_schema(re.compile(pattern, flags), "Order.code")
    assert str(caught.value).startswith("Order.code has ")


@pytest.mark.parametrize("pattern", ["a++", "a*+", "a{2}+", "(?>a)"])
def test_possessive_and_atomic_patterns_are_refused(pattern: str) -> None:
    try:
        regex = re.compile(pattern)
    except re.error:
        pytest.skip("this Python has none")
    with pytest.raises(DeclarationError):
        as_json_schema(regex, "x")


def test_the_end_is_the_end_and_not_the_line_before_it() -> None:
    for pattern in ("^[A-Z]$", "^A$|^B$", r"[$A-Z]$", r"\$*A$"):
        assert re.match(pattern, "A\n")
        sharpened = ending_at_the_end(validate.Regexp(pattern, error="no"))
        regex = regex_of(sharpened)
        assert regex.match("A")
        assert not regex.match("A\n")
        assert sharpened.error == "no"
    assert regex_of(ending_at_the_end(validate.Regexp(r"[$]\$"))).match("$$")


_DOLLAR = re.compile(r"\\.|\[\^?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)
_pieces = st.sampled_from(
    [*"ab01.*+?|()[]{}^$-\n", "\\d", "\\w", "\\s", "[^a]", "[]b]", "{1,2}", "{,2}", "\\Z", "(?:"]
)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@settings(max_examples=400, deadline=None)
@given(st.lists(_pieces, max_size=8).map("".join), st.text("ab01.\n^$-[]{}", max_size=5))
def test_a_translated_pattern_matches_what_the_class_accepts(pattern: str, text: str) -> None:
    try:
        regex = regex_of(ending_at_the_end(validate.Regexp(pattern, re.ASCII)))
        translated = as_json_schema(regex, "x")
    except (re.error, DeclarationError):
        return
    # Python reads the translation as ECMA-262 does, the end of the string aside.
    searched = re.search(_DOLLAR.sub(lambda m: r"\Z" if m[0] == "$" else m[0], translated), text)
    assert bool(searched) == bool(regex.match(text)), translated
