"""Log lines: one a record, nothing in it can forge another, no password in it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from eventbus import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def log(stream: io.StringIO, log_format: str, message: str, *args: object, **options: Any) -> str:
    logs.configure("INFO", log_format, stream)
    logging.getLogger("eventbus.test").warning(message, *args, **options)
    return stream.getvalue()


def test_text_is_one_line_with_time_level_logger_message_and_extra(stream: io.StringIO) -> None:
    line = log(stream, "text", "queue %s is full", "shop.billing", extra={"depth": 5})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING eventbus\.test  "
        r"queue shop\.billing is full depth=5\n",
        line,
    )


def test_json_is_one_object_a_line_with_the_extra_fields(stream: io.StringIO) -> None:
    line = log(stream, "json", "queue %s is full", "shop.billing", extra={"depth": 5})
    record = json.loads(line)
    assert line.count("\n") == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record == {
        "level": "WARNING",
        "logger": "eventbus.test",
        "message": "queue shop.billing is full",
        "depth": 5,
    }


def test_an_extra_field_replaces_none_of_ours(stream: io.StringIO) -> None:
    assert json.loads(log(stream, "json", "hello", extra={"level": "x"}))["level"] == "WARNING"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_record_carries_cannot_begin_a_line_nor_reach_the_terminal(
    stream: io.StringIO, log_format: str
) -> None:
    evil = "a\n2026-01-01T00:00:00.000Z ERROR forged\x1b[2J\u202e"
    text = log(stream, log_format, "event %s", evil, extra={"key": evil})
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_passwords_of_urls_are_masked_in_messages_extras_and_tracebacks(
    stream: io.StringIO, log_format: str
) -> None:
    url = "amqp://shop:hunter2@rabbit/"
    try:
        raise RuntimeError(f"cannot reach {url}")
    except RuntimeError:
        text = log(stream, log_format, "lost %s", url, extra={"url": url}, exc_info=True)
    assert "hunter2" not in text
    assert text.count("shop:***@rabbit") == 3


def test_a_traceback_is_indented_so_that_its_lines_are_no_records(stream: io.StringIO) -> None:
    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        lines = log(stream, "text", "failed", exc_info=True).splitlines()
    assert lines[1] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in lines[1:])


def test_the_level_leaves_out_what_is_below(stream: io.StringIO) -> None:
    logs.configure("ERROR", "text", stream)
    logging.getLogger("eventbus.test").warning("not shown")
    assert stream.getvalue() == ""


def test_the_clients_of_the_servers_stay_quiet_at_debug(stream: io.StringIO) -> None:
    logs.configure("DEBUG", "text", stream)
    logging.getLogger("pika.adapters").info("not shown")
    logging.getLogger("eventbus.test").debug("shown")
    assert "not shown" not in stream.getvalue()
    assert "shown" in stream.getvalue()


def test_pika_speaks_only_at_debug(stream: io.StringIO) -> None:
    """It logs a traceback for each connection that fails."""
    logs.configure("INFO", "text", stream)
    logging.getLogger("pika.adapters").error("not shown")
    assert stream.getvalue() == ""
    logs.configure("DEBUG", "text", stream)
    logging.getLogger("pika.adapters").error("shown")
    assert "shown" in stream.getvalue()
