"""Tracebacks as text, quickly: a storm of failures formats thousands a second.

`traceback.format_exception` asks the file system for each frame whether its source has changed,
which costs more than all the rest of a failed run.
"""

from __future__ import annotations

import linecache
import traceback
from collections import deque
from types import TracebackType

#: The innermost frames that are shown of each error, and the errors of a chain.
FRAMES = 8
CHAIN = 4

_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"


def formatted(error: BaseException) -> str:
    """The error with its frames and with those that led to it, in Python's own form."""
    if isinstance(getattr(error, "exceptions", None), tuple):  # a group
        return "".join(traceback.format_exception(error, limit=-FRAMES))
    text = _one(error)
    seen = {id(error)}
    for _ in range(CHAIN - 1):
        joint = _CAUSED if error.__cause__ is not None else _DURING
        before = error.__cause__
        if before is None and not error.__suppress_context__:
            before = error.__context__
        if before is None or id(before) in seen:
            break
        seen.add(id(before))
        error = before
        text = _one(error) + joint + text
    return text


def _one(error: BaseException) -> str:
    lines = ["Traceback (most recent call last):\n"] if error.__traceback__ else []
    lines += _frames(error.__traceback__)
    lines += traceback.format_exception_only(type(error), error)
    return "".join(lines)


def _frames(tb: TracebackType | None) -> list[str]:
    lines = []
    for frame, number in deque(traceback.walk_tb(tb), maxlen=FRAMES):
        code = frame.f_code
        source = linecache.getline(code.co_filename, number, frame.f_globals).strip()
        lines.append(f'  File "{code.co_filename}", line {number}, in {code.co_name}\n')
        if source:
            lines.append(f"    {source}\n")
    return lines
