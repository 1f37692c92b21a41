"""Logging of our own processes: one line a record, as text for people or as JSON for machines.

Only the command line calls `configure`: a library leaves the application's logging alone. Records
go to the standard error output, which leaves the standard output to what a command prints.

    2026-03-01T12:00:00.123Z INFO    eventbus.worker  consuming shop.billing
    {"time": "2026-03-01T12:00:00.123Z", "level": "INFO", "logger": "eventbus.worker", ...}
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

from eventbus.printable import printable, without_passwords

#: What every record has; the rest was given as ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: They log each frame and each query; who wants that sets their level.
_CHATTY = ("amqp", "asyncio", "kombu", "sqlalchemy", "urllib3")
#: It logs a traceback for each connection that fails; our adapter says in a sentence what failed.
_NOISY = "pika"


def configure(level: str = "INFO", log_format: str = "text", stream: TextIO | None = None) -> None:
    """Send all records of `level` and above to `stream` (default: standard error), once each.

    Parameters
    ----------
    level:
        ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
    log_format:
        ``text`` or ``json``.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    noise = logging.WARNING if root.level <= logging.DEBUG else logging.CRITICAL
    logging.getLogger(_NOISY).setLevel(noise)


class TextFormatter(logging.Formatter):
    """One line a record; a traceback follows on lines of its own, indented.

    Nothing in a record can begin a line: control characters are escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = printable(without_passwords(record.getMessage()))
        extra = "".join(
            f" {name}={printable(without_passwords(str(value)))}"
            for name, value in _extra(record).items()
        )
        head = f"{_time(record)} {record.levelname:<7} {record.name}  {message}{extra}"
        return "\n".join([head, *(f"    {line}" for line in _traceback(self, record))])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": without_passwords(record.getMessage()),
        }
        for name, value in _extra(record).items():
            fields.setdefault(name, without_passwords(value) if isinstance(value, str) else value)
        if traceback := _traceback(self, record):
            fields["traceback"] = "\n".join(traceback)
        return json.dumps(fields, default=_jsonable)


def _time(record: logging.LogRecord) -> str:
    # UTC, so that the lines of several machines sort.
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    text = formatter.formatException(record.exc_info) if record.exc_info else ""
    if record.stack_info:
        text += "\n" + formatter.formatStack(record.stack_info)
    return [printable(line) for line in without_passwords(text).splitlines() if line]


def _jsonable(value: object) -> str:
    return without_passwords(str(value))
