"""Names that every store can keep, and that never become one another."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.workers.idempotency.names import bounded, handler_name

_text = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    ["", " ", "a", "a ", "A", "\0", "\ud800", "x" * 80, "x" * 81]
)


@given(_text, _text)
def test_two_names_never_become_one(first: str, second: str) -> None:
    assert (bounded(first, 80) == bounded(second, 80)) == (first == second)


@given(_text)
def test_a_name_fits_and_is_printable_ascii(text: str) -> None:
    name = bounded(text, 80)
    assert len(name) <= 80
    assert name.isascii()
    assert name.isprintable()
    assert not name.endswith(" ")


def test_an_ordinary_name_stays_readable() -> None:
    assert bounded("/shop 0190c3a2", 200) == "/shop 0190c3a2"


def test_nobody_can_choose_the_digest_of_another_name() -> None:
    digest = bounded("ä", 80)
    assert digest == "sha256-" + hashlib.sha256("ä".encode()).hexdigest()
    assert bounded(digest, 80) != digest


@pytest.mark.parametrize(
    ("first", "second"), [(("a", "b:c"), ("a:b", "c")), (("a%3A", "b"), ("a:", "b"))]
)
def test_service_and_handler_are_kept_apart(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    assert handler_name(*first) != handler_name(*second)
