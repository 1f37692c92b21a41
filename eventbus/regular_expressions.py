"""Python's regular expressions as JSON Schema has them: ECMA-262, found anywhere in the string.

Where the two languages mean different things by the same text, the pattern is refused with what to
write instead: a reader in another language must not take what this one refuses, or the reverse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from marshmallow import validate

from eventbus.errors import DeclarationError

#: An escape, a class, an extension group, a quantifier in braces, or one other character.
_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[P<]?[<=!:>]?|\{\d*,?\d*\}|.", re.DOTALL | re.ASCII
)
_CLASS_PART = re.compile(r"\\.|.", re.DOTALL)

_SPECIAL = frozenset("^$\\.*+?()[]{}|/")
_LETTERS = frozenset("fnrtvxu")
_ASCII_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": r" \t\n\r\f\v"}
_INSTEAD = {
    "d": "write [0-9], or give re.ASCII",
    "w": "write [A-Za-z0-9_], or give re.ASCII",
    "s": "write the characters, such as [ ], or give re.ASCII",
}


def ending_at_the_end(validator: validate.Regexp) -> validate.Regexp:
    """The same validator with ``$`` for the end of the string, as in JSON Schema.

    In Python it also matches before a last newline, which nobody means who writes
    ``Regexp("^[A-Z]{3}$")``, and no reader in another language takes.
    """
    regex: re.Pattern[Any] = validator.regex
    if not isinstance(regex.pattern, str) or regex.flags & (re.MULTILINE | re.VERBOSE):
        return validator
    tokens = _TOKEN.findall(regex.pattern)
    if "$" not in tokens:
        return validator
    pattern = "".join("\\Z" if token == "$" else token for token in tokens)
    return validate.Regexp(pattern, regex.flags, error=validator.error)


def as_json_schema(regex: re.Pattern[Any], where: str) -> str:
    """The pattern of a marshmallow ``Regexp`` (``re.match``) for the keyword ``pattern``.

    Parameters
    ----------
    where:
        Names the field in errors.

    Raises
    ------
    DeclarationError
        It means something else in ECMA-262, or has no form there.
    """
    if not isinstance(regex.pattern, str):
        raise DeclarationError(f"{where} has a Regexp of bytes, which no string matches")
    if regex.flags & ~(re.UNICODE | re.ASCII):
        raise DeclarationError(
            f"{where} has a Regexp with flags, which have no form in a contract; write them out, "
            f"such as [A-Za-z] for re.IGNORECASE"
        )
    try:
        translated = "".join(_translated(regex.pattern, bool(regex.flags & re.ASCII)))
    except _Untranslatable as problem:
        raise DeclarationError(
            f"{where} has the Regexp {regex.pattern!r:.80}, in which {problem}"
        ) from None
    # `re.match` begins at the start of the string; ECMA's `test` looks everywhere.
    if "|" in translated:
        return f"^(?:{translated})"
    return translated if translated.startswith("^") else f"^{translated}"


class _Untranslatable(Exception):
    """The rest of the sentence "a Regexp in which …"."""


def _translated(pattern: str, ascii_only: bool) -> Iterator[str]:
    repeated = False
    for token in _TOKEN.findall(pattern):
        if repeated and token == "+":
            raise _Untranslatable("a possessive quantifier has no form in a contract")
        repeated = token in ("*", "+", "?") or (len(token) > 1 and token[0] == "{")
        yield _token(token, ascii_only)


def _token(token: str, ascii_only: bool) -> str:
    if token in ("\\Z", "$"):
        return "$"
    if token == "\\A":
        return "^"
    if token == ".":
        return "[^\\n]"
    if token[0] == "[" and len(token) > 1:
        return _class(token, ascii_only)
    if token[0] == "\\":
        return _escape(token[1], ascii_only)
    if token[0] == "{" or token == "}":
        return _braces(token)
    if token == "]":
        return "\\]"
    if token.startswith("(?") and token not in ("(?:", "(?=", "(?!"):
        raise _Untranslatable(f"{token!r} has no form in a contract; use plain groups, (?:…)")
    return token


def _braces(token: str) -> str:
    """A quantifier, or what Python takes for characters."""
    if token.startswith("{,") and len(token) > 3:
        return "{0" + token[1:]
    return token if len(token) > 2 and token[1].isdigit() else re.sub(r"([{}])", r"\\\1", token)


def _class(token: str, ascii_only: bool) -> str:
    opening = "[^" if token.startswith("[^") else "["
    parts = [
        part if part[0] != "\\" else _escape_in_class(part[1], ascii_only)
        for part in _CLASS_PART.findall(token[len(opening) : -1])
    ]
    return opening + "".join("\\" + part if part in ("[", "]") else part for part in parts) + "]"


def _escape_in_class(letter: str, ascii_only: bool) -> str:
    if letter in _ASCII_CLASSES and ascii_only:
        return _ASCII_CLASSES[letter]
    if letter in "-b":
        return "\\" + letter
    return _character(letter)


def _escape(letter: str, ascii_only: bool) -> str:
    if letter in _ASCII_CLASSES and ascii_only:
        return f"[{_ASCII_CLASSES[letter]}]"
    if letter.lower() in _ASCII_CLASSES and ascii_only:
        return f"[^{_ASCII_CLASSES[letter.lower()]}]"
    return _character(letter)


def _character(letter: str) -> str:
    if letter in _SPECIAL or letter in _LETTERS:
        return "\\" + letter
    if not letter.isalnum():
        return letter
    remedy = _INSTEAD.get(letter.lower(), "write the characters themselves")
    raise _Untranslatable(f"\\{letter} means something else in other languages; {remedy}")
