"""Where a result goes: a file, which is not overwritten by mistake, or the standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click


def check_destination(path: str | None, force: bool) -> None:
    """Refuse a file that must not, or cannot, be written; before anything is done.

    Parameters
    ----------
    path:
        None and ``-`` are the standard output.

    Raises
    ------
    click.UsageError
        It exists and `force` is not given, is a folder, or its folder does not exist.
    """
    if path in (None, "-"):
        return
    file = Path(str(path))
    if file.is_dir():
        raise click.UsageError(f"{path!r} is a folder; name a file in it")
    if not file.parent.is_dir():
        raise click.UsageError(f"the folder {str(file.parent)!r} does not exist; create it first")
    if file.exists() and not force:
        raise click.UsageError(f"{path!r} exists; --force overwrites it, or name another file")


@contextmanager
def destination(path: str | None, force: bool) -> Iterator[TextIO]:
    """What writes to `path`, checked by `check_destination`; on the disk when it ends.

    Raises
    ------
    click.UsageError
        It cannot be written, or another process has created it meanwhile.
    """
    if path in (None, "-"):
        yield sys.stdout
        return
    try:
        stream = open(str(path), "w" if force else "x", encoding="utf-8", newline="")  # noqa: SIM115
    except OSError as error:
        raise click.UsageError(f"{path!r} cannot be written: {error.strerror}") from None
    with stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
