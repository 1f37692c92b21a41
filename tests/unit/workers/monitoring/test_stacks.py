"""Stacks of threads and of coroutines."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading

import pytest

from eventbus import logs
from eventbus.workers.monitoring import stacks
from tests.waiting import wait_until


def test_a_thread_shows_what_it_does_and_no_values() -> None:
    started, end = threading.Event(), threading.Event()

    def handler_that_waits(password: str) -> None:
        started.set()
        end.wait(30)

    thread = threading.Thread(target=handler_that_waits, args=("hunter2",), name="a-handler")
    thread.start()
    started.wait(10)
    try:
        text = stacks.text()
    finally:
        end.set()
        thread.join()
    assert "thread 'a-handler':" in text
    assert "in handler_that_waits" in text
    assert "hunter2" not in text
    assert "_bootstrap" not in text.partition("'a-handler'")[2].partition("thread '")[0]


def test_a_coroutine_shows_where_it_waits() -> None:
    loop = asyncio.new_event_loop()
    stacks.watch_loop(loop)

    async def a_slow_answer() -> None:
        await asyncio.sleep(30)

    async def a_handler() -> None:
        await a_slow_answer()

    async def main() -> None:
        task = asyncio.create_task(a_handler(), name="charge")
        await asyncio.sleep(0)
        seen.append(stacks.text())
        task.cancel()

    seen: list[str] = []
    loop.run_until_complete(main())
    loop.close()
    assert "task 'charge':" in seen[0]
    assert "in a_slow_answer" in seen[0].partition("in a_handler")[2]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_stacks_are_logged_at_every_level(log_format: str) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        logs.configure("CRITICAL", log_format, stream)
        thread = threading.Thread(target=stacks.dump)
        thread.start()
        thread.join(10)
    finally:
        root.handlers[:], root.level = before
    if log_format == "json":
        (line,) = stream.getvalue().splitlines()
        assert "thread 'MainThread'" in json.loads(line)["traceback"]
    else:
        assert "\n    thread 'MainThread'" in stream.getvalue()


def test_loops_that_are_gone_are_forgotten() -> None:
    loop = asyncio.new_event_loop()
    stacks.watch_loop(loop)
    loop.close()
    del loop
    wait_until(lambda: "task" not in stacks.text().splitlines(), 5)
