"""How long a string may be that a regular expression lets through."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A plain pattern: ASCII characters that JSON writes as one byte each, and classes of them, each
# with a quantifier or without. Anything cleverer is not judged; a Length beside it bounds it.
_PIECE = re.compile(
    r"(?:[A-Za-z0-9_:/-]|\\[.+-]"
    r"|\[(?:0-9|a-z|A-Z|a-f|A-F|[A-Za-z0-9_.:/+=~-](?!-[^\]]))+\])"
    r"(?P<quantifier>\*|\+|\?|\{(?P<least>[0-9]{1,4})(?P<comma>,)?(?P<most>[0-9]{1,4})?\})?"
)
_END = re.compile(r"\\Z|\$")


@dataclass(frozen=True, slots=True)
class Width:
    """What a plain pattern lets through: ASCII without anything that JSON escapes.

    Parameters
    ----------
    characters:
        At most; None where the pattern has no bound.
    """

    characters: int | None


def width_of(pattern: str, flags: int) -> Width | None:
    """How wide a text may be that `pattern` matches from its start; None where it is not plain."""
    # Under these flags a class has more members, or the end is somewhere else.
    if flags & (re.IGNORECASE | re.MULTILINE | re.VERBOSE):
        return None
    position = 1 if pattern.startswith("^") else 0
    characters: int | None = 0
    while piece := _PIECE.match(pattern, position):
        most = _repetitions(piece)
        characters = None if characters is None or most is None else characters + most
        position = piece.end()
    end = _END.fullmatch(pattern, position)
    if end is None:
        return None
    # A dollar also matches before a last line feed, which JSON writes as two characters.
    if characters is not None and end[0] == "$":
        characters += 2
    return Width(characters)


def _repetitions(piece: re.Match[str]) -> int | None:
    quantifier = piece["quantifier"]
    if quantifier is None or quantifier == "?":
        return 1
    if quantifier in "*+":
        return None
    if piece["comma"]:
        return int(piece["most"]) if piece["most"] else None
    # "{12}": the expression has its digits in the first group, none after a comma.
    return int(piece["least"]) if piece["most"] is None else None
