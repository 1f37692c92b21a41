"""The command line in this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventbus import database

from .calls import CommandLine, make_bus


@pytest.fixture
def eventbus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """``eventbus`` for the service ``shop`` on a SQLite file with its tables, in its folder."""
    for name in [name for name in os.environ if name.startswith("EVENTBUS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    bus = make_bus(database_url="sqlite:///eventbus.db")
    database.upgrade(bus.engine)
    return CommandLine(capsys, bus)
