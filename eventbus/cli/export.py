"""Parked messages in a file or on the standard output: a JSON object a line, or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from eventbus.cli.destination import destination
from eventbus.cli.parked import details_of
from eventbus.message import WORKER_HEADERS
from eventbus.printable import printable

if TYPE_CHECKING:
    from eventbus.cli.bodies import Bodies
    from eventbus.workers.operations.parked import Parked

FORMATS = ("jsonl", "csv")

#: What a spreadsheet takes for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

_COLUMNS = (
    "id", "event", "queue", "handler", "attempts", "error", "reason", "parked_at", "routing_key",
    "content_type", "headers", "body", "body_base64", "contract", "path", "data",
)  # fmt: skip


class Exporter:
    """Writes one message after the other; each is with the operating system when it returns.

    Parameters
    ----------
    format:
        ``jsonl`` or ``csv``.
    """

    def __init__(self, stream: TextIO, format: str, bodies: Bodies) -> None:
        self._stream = stream
        self._bodies = bodies
        self._csv = csv.writer(stream) if format == "csv" else None
        # Whatever the messages hold must not act on a terminal.
        self._shown = stream.isatty()
        if self._csv is not None:
            self._csv.writerow(_COLUMNS)

    def write(self, parked: Parked) -> None:
        """Write one message, with its traceback, headers and body."""
        details = details_of(parked, self._bodies)
        if self._csv is None:
            self._stream.write(json.dumps(details, default=str) + "\n")
        else:
            # Those of the worker have columns of their own, or are long.
            headers = {k: v for k, v in details["headers"].items() if k not in WORKER_HEADERS}
            details["headers"] = json.dumps(headers, default=str)
            if details["data"] is not None:
                details["data"] = json.dumps(details["data"], ensure_ascii=False)
            self._csv.writerow([self._cell(details[name]) for name in _COLUMNS])
        self._stream.flush()

    def _cell(self, value: Any) -> str:
        text = "" if value is None else str(value)
        text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        if text.startswith(_FORMULA_STARTS):
            # An apostrophe in front: spreadsheets show it as text.
            text = f"'{text}"
        return printable(text) if self._shown else text


@contextmanager
def exporting(path: str | None, format: str, force: bool, bodies: Bodies) -> Iterator[Exporter]:
    """An exporter that writes to `path`, as `destination` opens it."""
    with destination(path, force) as stream:
        yield Exporter(stream, format, bodies)
