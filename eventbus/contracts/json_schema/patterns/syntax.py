"""A regular expression to a tree.

What ECMA-262 and Python read differently is read in either way, so that a conclusion can be held to
both; what has no place in an automaton (look-around, back references, word boundaries, Unicode
properties) is read, marked as `Other`, and never reasoned about.
"""

from __future__ import annotations

import enum
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

#: Code points, as sorted inclusive ranges that do not overlap.
Ranges = tuple[tuple[int, int], ...]
MAX_CODE_POINT = 0x10FFFF
#: Characters of a pattern; longer ones are refused.
PATTERN_MAX_LENGTH = 5_000
#: Groups inside each other.
MAX_GROUPS = 50
#: A repetition's bound.
MAX_REPETITIONS = 100_000


class Reading(enum.Enum):
    """Whose rules a pattern is read by."""

    ECMA = "ECMA-262"
    PYTHON = "Python"


class BadPattern(ValueError):
    """It is no regular expression."""


@dataclass(frozen=True)
class Characters:
    """One character out of these."""

    ranges: Ranges


@dataclass(frozen=True)
class Sequence:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of several."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """`inner` at least `least` times and at most `most` times (None: any number)."""

    inner: Node
    least: int
    most: int | None


@dataclass(frozen=True)
class Start:
    """The start of the text."""


@dataclass(frozen=True)
class End:
    """The end of the text (in Python also before a line feed that ends it)."""


@dataclass(frozen=True)
class Other:
    """What no automaton stands for; `inner` is what it may take time with."""

    what: str
    inner: Node | None = None


Node = Characters | Sequence | Choice | Repeat | Start | End | Other

EMPTY = Sequence(())


@lru_cache(maxsize=500)
def parse(pattern: str, reading: Reading) -> Node:
    """Read `pattern`.

    Raises
    ------
    BadPattern
        It is none, or exceeds the bounds.
    """
    if len(pattern) > PATTERN_MAX_LENGTH:
        raise BadPattern(f"it has more than {PATTERN_MAX_LENGTH} characters")
    return _Parser(pattern, reading).whole()


def merged(ranges: list[tuple[int, int]]) -> Ranges:
    """The same code points as sorted ranges without overlap."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def inverted(ranges: Ranges) -> Ranges:
    """All other code points."""
    found, after = [], 0
    for low, high in ranges:
        if low > after:
            found.append((after, low - 1))
        after = high + 1
    if after <= MAX_CODE_POINT:
        found.append((after, MAX_CODE_POINT))
    return tuple(found)


def has(ranges: Ranges, code: int) -> bool:
    """Whether a code point is in one of the ranges."""
    at = bisect_right(ranges, (code, MAX_CODE_POINT)) - 1
    return at >= 0 and code <= ranges[at][1]


ANY_CHARACTER = Characters(((0, MAX_CODE_POINT),))
_ECMA_CLASSES = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": merged(
        [
            (0x09, 0x0D),
            (0x20, 0x20),
            (0xA0, 0xA0),
            (0x1680, 0x1680),
            (0x2000, 0x200A),
            (0x2028, 0x2029),
            (0x202F, 0x202F),
            (0x205F, 0x205F),
            (0x3000, 0x3000),
            (0xFEFF, 0xFEFF),
        ]
    ),
}
#: About what a Unicode property holds, to judge what a pattern may take time with.
_PROPERTY = Characters(((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0x80, MAX_CODE_POINT)))
_LINE_ENDS = {
    Reading.ECMA: merged([(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]),
    Reading.PYTHON: ((0x0A, 0x0A),),
}
_CONTROL = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}


@lru_cache(maxsize=8)
def _class(letter: str, reading: Reading) -> Ranges:
    if letter.isupper():
        return inverted(_class(letter.lower(), reading))
    if reading is Reading.ECMA:
        return _ECMA_CLASSES[letter]
    test = re.compile(rf"\{letter}+")
    text = "".join(map(chr, range(MAX_CODE_POINT + 1)))
    return tuple((match.start(), match.end() - 1) for match in test.finditer(text))


class _Parser:
    def __init__(self, pattern: str, reading: Reading) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0
        self._reading = reading

    def whole(self) -> Node:
        found = self._choice()
        if self._at < len(self._text):
            raise BadPattern("a ')' has no '('")
        return found

    def _peek(self, length: int = 1) -> str:
        return self._text[self._at : self._at + length]

    def _take(self, length: int = 1) -> str:
        taken = self._peek(length)
        if len(taken) < length:
            raise BadPattern("it ends in the middle")
        self._at += length
        return taken

    def _choice(self) -> Node:
        parts = [self._sequence()]
        while self._peek() == "|":
            self._take()
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._one()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, inner: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return inner
        if isinstance(inner, (Start, End)):
            inner = Other("a repeated anchor")
        least, most = bounds
        if most is not None and least > most:
            raise BadPattern(f"{{{least},{most}}} ends before it begins")
        if max(least, most or 0) > MAX_REPETITIONS:
            raise BadPattern(f"it repeats something more than {MAX_REPETITIONS:,} times")
        if self._peek() == "?":
            self._take()
        elif self._peek() == "+":
            self._take()
            return Other("a possessive repetition", Repeat(inner, least, most))
        if self._bounds() is not None:
            raise BadPattern("a repetition is repeated")
        return Repeat(inner, least, most)

    def _bounds(self) -> tuple[int, int | None] | None:
        sign = self._peek()
        if sign in ("*", "+", "?") and sign:
            self._take()
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        if sign != "{":
            return None
        found = _COUNTED.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        least = int(found[1])
        return least, least if found[2] is None else int(found[3]) if found[3] else None

    def _one(self) -> Node:
        sign = self._take()
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._set()
        if sign == "\\":
            return self._escape()
        if sign == ".":
            return Characters(inverted(_LINE_ENDS[self._reading]))
        if sign == "^":
            return Start()
        if sign == "$":
            return End()
        if sign in "*+?":
            raise BadPattern(f"there is nothing to repeat before {sign!r}")
        if sign in "{}]":
            # Python takes it as itself; ECMA-262 refuses it where Unicode is meant.
            return Other(f"a {sign!r} that is not escaped", _single(ord(sign)))
        return _single(ord(sign))

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > MAX_GROUPS:
            raise BadPattern(f"its groups are nested more than {MAX_GROUPS} deep")
        other = None
        if self._peek() == "?":
            other = self._group_kind()
        inner = self._choice()
        if self._peek() != ")":
            raise BadPattern("a '(' has no ')'")
        self._take()
        self._depth -= 1
        return inner if other is None else Other(other, inner)

    def _group_kind(self) -> str | None:
        for sign in ("?:", "?=", "?!", "?<=", "?<!"):
            if self._peek(len(sign)) == sign:
                self._take(len(sign))
                return None if sign == "?:" else "a look-around"
        flags = _FLAGS.match(self._text, self._at)
        if flags is not None:
            self._at = flags.end()
            return "a flag"
        named = _GROUP_NAME.match(self._text, self._at)
        if named is None:
            raise BadPattern(f"a group begins with {self._peek(4)!r}")
        self._at = named.end()
        return "a named group"

    def _escape(self) -> Node:
        sign = self._take()
        if sign in "dDwWsS":
            return Characters(_class(sign, self._reading))
        if sign in "bB":
            return Other("a word boundary")
        if sign.isdigit() and sign != "0":
            return Other("a back reference")
        if sign in "pP" and self._peek() == "{":
            self._skip_to("}")
            return Other("a Unicode property", _PROPERTY)
        if sign == "k" and self._peek() == "<":
            self._skip_to(">")
            return Other("a back reference")
        code = self._code(sign)
        return Other(f"\\{sign}", ANY_CHARACTER) if code is None else _single(code)

    def _skip_to(self, sign: str) -> None:
        end = self._text.find(sign, self._at)
        if end < 0:
            raise BadPattern(f"a {sign!r} is missing")
        self._at = end + 1

    def _code(self, sign: str) -> int | None:
        """Return the code point that an escape means; None where readers differ."""
        if sign in _CONTROL:
            return _CONTROL[sign]
        if sign in ("x", "u"):
            digits = _HEXADECIMAL[sign].match(self._text, self._at)
            if digits is None:
                return None
            self._at = digits.end()
            code = int(digits[0], 16)
            # Two escapes may mean one character beyond the basic plane.
            return None if 0xD800 <= code <= 0xDFFF else code
        if sign.isalnum() or sign == "_":
            return None
        return ord(sign)

    def _set(self) -> Node:
        negative = self._peek() == "^"
        if negative:
            self._take()
        if self._peek() == "]":
            return self._odd_set()
        ranges: list[tuple[int, int]] = []
        odd = False
        while self._peek() != "]":
            low = self._set_member()
            if self._peek() == "-" and self._peek(2) != "-]" and len(self._peek(2)) == 2:
                self._take()
                high = self._set_member()
                if not isinstance(low, int) or not isinstance(high, int):
                    odd = True
                elif low > high:
                    raise BadPattern(f"the range {chr(low)!r}-{chr(high)!r} is the wrong way")
                else:
                    ranges.append((low, high))
            elif isinstance(low, int):
                ranges.append((low, low))
            elif low is None:
                odd = True
            else:
                ranges += low
        self._take()
        found = merged(ranges)
        if odd:
            return Other("an unusual character class", ANY_CHARACTER)
        return Characters(inverted(found) if negative else found)

    def _odd_set(self) -> Node:
        """Read what ECMA-262 takes as an empty class, and Python as one that holds a ']'."""
        self._take()
        end = self._text.find("]", self._at)
        if end >= 0 and self._reading is Reading.PYTHON:
            self._at = end + 1
        return Other("an empty character class", ANY_CHARACTER)

    def _set_member(self) -> int | Ranges | None:
        sign = self._take()
        if sign != "\\":
            return ord(sign)
        sign = self._take()
        if sign in "dDwWsS":
            return _class(sign, self._reading)
        if sign == "b":
            return 0x08
        if sign == "-":
            return ord("-")
        if sign in "pP" and self._peek() == "{":
            self._skip_to("}")
            return None
        return self._code(sign)


_COUNTED = re.compile(r"\{([0-9]{1,6})(,([0-9]{1,6})?)?\}")
_FLAGS = re.compile(r"\?[aimsux]*(-[imsx]+)?(:|(?=\)))")
_GROUP_NAME = re.compile(r"\?P?<[A-Za-z_][A-Za-z0-9_]*>")
_HEXADECIMAL = {"x": re.compile(r"[0-9A-Fa-f]{2}"), "u": re.compile(r"[0-9A-Fa-f]{4}")}


def _single(code: int) -> Characters:
    return Characters(((code, code),))
