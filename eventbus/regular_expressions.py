"""Python's regular expressions as JSON Schema has them: ECMA-262, found anywhere in the string.

Where the two languages mean different things by the same text, the pattern is refused with what to
write instead: a reader in another language must not take what this one refuses, or the reverse.
"""

from __future__ import annotations

import re

from eventbus.errors import DeclarationError

#: An escape, a class, an extension group, or one other character.
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[P<]?[<=!:>]?|.", re.DOTALL)
_ESCAPE_IN_CLASS = re.compile(r"\\.", re.DOTALL)


#: Escapes that are the same in both.
_SHARED = frozenset("fnrtv\\.^$*+?()[]{}|/-")
_ASCII_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": r" \t\n\r\f\v"}
_INSTEAD = {"d": "[0-9]", "w": "[A-Za-z0-9_]", "s": "[ ]", "b": "the characters around it"}


def as_json_schema(regex: re.Pattern[str], where: str) -> str:
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
    if regex.flags & ~(re.UNICODE | re.ASCII):
        raise DeclarationError(
            f"{where} has a Regexp with flags, which have no form in a contract; write them out, "
            f"such as [A-Za-z] for re.IGNORECASE"
        )
    ascii_only = bool(regex.flags & re.ASCII)
    translated = "".join(
        _translated(token, regex.pattern, ascii_only, where)
        for token in _TOKEN.findall(regex.pattern)
    )
    # `re.match` begins at the start of the string; ECMA's `test` looks everywhere.
    if "|" in translated:
        return f"^(?:{translated})"
    return translated if translated.startswith("^") else f"^{translated}"


def _translated(token: str, pattern: str, ascii_only: bool, where: str) -> str:
    if token in ("\\Z", "$"):
        return "$"
    if token == "\\A":
        return "^"
    if token.startswith("["):
        return _ESCAPE_IN_CLASS.sub(
            lambda match: _escape(match[0][1], pattern, ascii_only, where, inside=True), token
        )
    if token.startswith("\\"):
        return _escape(token[1], pattern, ascii_only, where, inside=False)
    if token.startswith("(?") and token not in ("(?:", "(?=", "(?!"):
        raise DeclarationError(
            f"{where} has the Regexp {pattern!r:.80} with {token!r}, which has no form in a "
            f"contract; use plain groups, (?:…)"
        )
    return "[^\\n]" if token == "." else token


def _escape(letter: str, pattern: str, ascii_only: bool, where: str, *, inside: bool) -> str:
    if letter in _SHARED:
        return "\\" + letter
    if letter in _ASCII_CLASSES and ascii_only:
        members = _ASCII_CLASSES[letter]
        return members if inside else f"[{members}]"
    remedy = f"write {_INSTEAD[letter]}, or give re.ASCII" if letter in _INSTEAD else "write it out"
    raise DeclarationError(
        f"{where} has the Regexp {pattern!r:.80}, where \\{letter} means something else in other "
        f"languages; {remedy}"
    )
