"""EVENTBUS_CRASH_AT: a misspelt or impossible point is refused, as it would prove nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from eventbus.errors import ConfigurationError
from eventbus.workers.crash_points import POINTS, _parse


@pytest.mark.parametrize("point", sorted(POINTS))
def test_every_point_can_be_named(point: str) -> None:
    assert _parse(point) == (point, 1)
    assert _parse(f"{point}:12") == (point, 12)


@pytest.mark.parametrize("text", [None, ""])
def test_without_it_nothing_happens(text: str | None) -> None:
    assert _parse(text) == ("", 0)


@pytest.mark.parametrize(
    "text",
    [
        "worker",
        "worker.handeled",
        ":1",
        "worker.handled:",
        "worker.handled:0",
        "worker.handled:-1",
        "worker.handled:x",
        "worker.handled:²",
        "worker.handled:٣",
        "worker.handled:1:2",
    ],
)
def test_anything_else_is_refused_and_the_points_are_listed(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"EVENTBUS_CRASH_AT=.*worker\.settled"):
        _parse(text)


def test_the_process_is_killed_at_that_pass_and_at_no_other_point() -> None:
    program = (
        "from eventbus.workers.crash_points import crash_point as c\n"
        "c('worker.handled'); c('worker.settled'); print('once', flush=True); c('worker.handled')\n"
        "print('twice', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"EVENTBUS_CRASH_AT": "worker.handled:2"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "once\n"
