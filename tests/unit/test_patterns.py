"""Routing-key patterns against an independent matcher, and against evil input."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventbus.errors import DeclarationError
from eventbus.patterns import check_pattern, matches


def by_brute_force(pattern: list[str], words: list[str]) -> bool:
    """The definition itself: ``*`` is one word, ``#`` any number of them."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(by_brute_force(pattern[1:], words[n:]) for n in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and by_brute_force(pattern[1:], words[1:])


_pattern = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=7)
_words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=8)


@given(_pattern, _words)
@example(["#"], [])
@example(["*"], [])
@example(["#", "a", "#", "b"], ["a", "a", "b", "a", "b"])
def test_a_pattern_matches_what_its_definition_says(pattern: list[str], words: list[str]) -> None:
    assert matches(".".join(pattern), ".".join(words)) == by_brute_force(pattern, words)


@pytest.mark.parametrize(
    ("pattern", "routing_key", "expected"),
    [
        ("order.paid", "order.paid", True),
        ("order.paid", "order.paid.late", False),
        ("order.paid", "orderXpaid", False),
        ("order.*", "order.paid", True),
        ("order.*", "order", False),
        ("order.*", "order.paid.late", False),
        ("order.#", "order", True),
        ("order.#", "order.paid.late", True),
        ("#.paid", "paid", True),
        ("#", "", True),
        ("*", "", False),
        ("*.*", ".", True),
        ("order.[a-z]+", "order.paid", False),
    ],
)
def test_examples(pattern: str, routing_key: str, expected: bool) -> None:
    assert matches(pattern, routing_key) is expected


def test_evil_input_takes_no_time() -> None:
    key = ".".join(["a"] * 10_000)
    started = time.monotonic()
    assert not matches("#.a.#.b", key)
    assert not matches("#.a.a.a.a.a.a.#.a.a.a.a.b", key)
    assert matches("#.a.#", key)
    assert not matches(".".join(["*"] * 10_000 + ["b"]), key)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "pattern",
    ["", ".", "order.", ".order", "a..b", "a b", "a\nb", "**", "order.p*", "#a", "a.#.b.#.c.#",
     "a" * 256, "ü" * 128, "\ud800", ".".join(["a"] * 10_000), "a\0", None, 7, b"order"],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_pattern_that_no_queue_can_be_bound_with_is_refused(pattern: object) -> None:
    with pytest.raises(DeclarationError) as caught:
        check_pattern(pattern)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("pattern", ["order.paid", "*", "#", "a.#.b.#", "*.*.*", "ü.ß", "a" * 255])
def test_a_pattern_of_whole_words_is_accepted(pattern: str) -> None:
    assert check_pattern(pattern) == pattern
