"""What a search for a value returns."""

from __future__ import annotations

from typing import Any, NamedTuple


class GaveUp(Exception):
    """The search was given up; the text says why. The answer is then unknown."""


class Candidate(NamedTuple):
    """A value that may be the one; where `known` is False, only that there may be one is known."""

    value: Any
    known: bool = True


#: That there may be one.
SOMETHING = Candidate(None, known=False)
