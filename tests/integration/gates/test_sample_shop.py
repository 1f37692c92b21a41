"""The sample shop keeps to its own contracts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CALL = "from eventbus.cli import main; main()"


@pytest.mark.parametrize("service", ["checkout", "billing", "inventory", "email"])
def test_each_service_is_as_locked_and_reads_what_the_others_send(
    service: str, tmp_path: Path
) -> None:
    app = f"eventbus.sample_app.{service}.app:bus"
    done = subprocess.run(
        [sys.executable, "-c", _CALL, "-A", app, "schema", "check"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if "EVENTBUS" not in name},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
