"""Text that came from outside, made safe to show.

An event's name, a routing key or an error's text may hold anything: an escape sequence that
rewrites the terminal, a newline that forges a log line, a control that turns the reading direction
round, a URL with a password. Whatever shows such text, terminal and log alike, uses these two.
"""

from __future__ import annotations

import re

from eventbus.settings import mask

#: Joiners of emoji and of Persian and Indic scripts: not printable by themselves, and harmless.
_HARMLESS = "\u200c\u200d"
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: To the end of the word: a password may hold any other character.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\S+")


def printable(value: object) -> str:
    """`value` as text on one line, every character of which shows as itself.

    Control characters, escape sequences, bidirectional controls, line separators and lone
    surrogates are written as Python writes them: ``\\x1b``, ``\\u202e``.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _HARMLESS else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def without_passwords(text: str) -> str:
    """`text` with the password of every URL in it replaced by ``***``."""
    if "://" not in text:
        return text
    return _URL.sub(lambda match: mask(match[0]), text)


def age(milliseconds: int | None) -> str | None:
    """A length of time for people: ``350 ms``, ``12 s``, ``5 min``, ``3 h``, ``9 d``."""
    if milliseconds is None:
        return None
    for unit, size, limit in (
        ("ms", 1, 1_000),
        ("s", 1_000, 120_000),
        ("min", 60_000, 7_200_000),
        ("h", 3_600_000, 172_800_000),
    ):
        if milliseconds < limit:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds // 86_400_000} d"
